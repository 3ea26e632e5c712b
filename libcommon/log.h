/*
 * Logging, for shells only: one event, one line on stderr, "routing: contact refused bucket=7".
 *
 * Under systemd (JOURNAL_STREAM) and under lb-supervisor (LB_LOG_PRIORITY=1) lines start with the
 * syslog priority "<N>" of sd-daemon(3); otherwise with the time. Lines are at most 1000 bytes;
 * control bytes are written as '?'. Never secrets, never raw input.
 */
#pragma once

#include "libcommon/error.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_init(const char *who, enum log_level level);
void log_set_level(enum log_level level);
const char *log_level_text(enum log_level level);
LB_MUST_CHECK lb_err log_level_parse(const char *text, enum log_level *ret_level);

void log_error(const char *format, ...)
    __attribute__((format(printf, 1, 2)));                                    /* someone must act */
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2))); /* we coped */
void log_info(const char *format, ...)
    __attribute__((format(printf, 1, 2))); /* life of the service */
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2))); /* every message */
