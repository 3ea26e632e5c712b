/*
 * Allocation that does not fail: out of memory aborts, and the supervisor restarts the process.
 * Sizes that come from outside are bounded by the caller before they reach these.
 */
#pragma once

#include <stddef.h>

void *xcalloc(size_t count, size_t size);
void *xmalloc(size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *text);
void *xmemdup(const void *data, size_t size);

/* printf into fresh memory; the caller frees. */
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));
