/* Numbers with units, for a person. Reading them back is config_parse_size() and _time(). */
#pragma once

#include <stdint.h>

#define UNITS_SIZE 24 /* bytes of any text made here */

/* "999 B", "1.5 KiB", "12.3 MiB", "512 MiB": three digits. Returns ret_text. */
const char *units_bytes(uint64_t bytes, char ret_text[UNITS_SIZE]);

/* As units_bytes, a second: "12.3 MiB/s". */
const char *units_rate(uint64_t bytes_per_s, char ret_text[UNITS_SIZE]);

/* The two largest units: "42s", "5m 12s", "2h 14m", "3d 4h". */
const char *units_duration(uint64_t seconds, char ret_text[UNITS_SIZE]);

/* "43.2 %"; "100 %" only when it is all. A whole of 0 is "-". */
const char *units_percent(uint64_t part, uint64_t whole, char ret_text[UNITS_SIZE]);

/* A moment in local time, to the minute: "2026-11-27 10:12"; 0 is "-". */
const char *units_moment(uint64_t unix_s, char ret_text[UNITS_SIZE]);
