/*
 * Columns of text for a person: as wide as their widest cell. What the cells hold may come from
 * other machines, so control bytes are never printed.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 12

struct table_column {
    const char *title;
    bool right; /* numbers */
};

struct table; /* opaque */

/* columns: borrowed for the life of the table; a title of NULL ends them. */
struct table *table_new(const struct table_column *columns);

/* The next cell, row by row. */
void table_add(struct table *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_print(const struct table *self, FILE *to);
void table_free(struct table **self);

/* Replace control bytes by '?', in place. */
void table_sanitize(char *text);
