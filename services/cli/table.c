#include "services/cli/table.h"

#include "libcommon/memory.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct table {
    const struct table_column *columns;
    size_t columns_count;
    char **cells;
    size_t cells_count, cells_capacity;
};

struct table *table_new(const struct table_column *columns)
{
    struct table *self = xcalloc(1, sizeof *self);

    self->columns = columns;
    while (columns[self->columns_count].title != NULL && self->columns_count < TABLE_COLUMNS_MAX)
        self->columns_count++;
    return self;
}

void table_sanitize(char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;

        /* 0xc2 0x80 to 0xc2 0x9f are control characters, too (C1): break the pair. */
        if (byte < 0x20 || byte == 0x7f ||
            (byte == 0xc2 && (unsigned char)text[1] >= 0x80 && (unsigned char)text[1] < 0xa0))
            *text = '?';
    }
}

void table_add(struct table *self, const char *format, ...)
{
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    table_sanitize(text);
    if (self->cells_count == self->cells_capacity) {
        self->cells_capacity = self->cells_capacity == 0 ? 64 : 2 * self->cells_capacity;
        self->cells = xrealloc(self->cells, self->cells_capacity * sizeof *self->cells);
    }
    self->cells[self->cells_count++] = xstrdup(text);
}

/* Characters of UTF-8 text: bytes that do not continue one. */
static size_t text_width(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* Blanks are owed until something follows them: no line ends in blanks. */
static void print_row(const struct table *self, char *const *cells, const size_t *widths, FILE *to)
{
    size_t owed = 0;

    for (size_t column = 0; column < self->columns_count; column++) {
        const char *text = cells != NULL ? cells[column] : self->columns[column].title;
        size_t pad = widths[column] - text_width(text);

        owed += column > 0 ? 2 : 0;
        owed += self->columns[column].right ? pad : 0;
        if (text[0] != '\0') {
            fprintf(to, "%*s%s", (int)owed, "", text);
            owed = 0;
        }
        owed += self->columns[column].right ? 0 : pad;
    }
    fputc('\n', to);
}

void table_print(const struct table *self, FILE *to)
{
    size_t widths[TABLE_COLUMNS_MAX];

    for (size_t column = 0; column < self->columns_count; column++)
        widths[column] = text_width(self->columns[column].title);
    for (size_t i = 0; i < self->cells_count; i++) {
        size_t width = text_width(self->cells[i]), column = i % self->columns_count;

        if (width > widths[column])
            widths[column] = width;
    }
    print_row(self, NULL, widths, to);
    for (size_t i = 0; i + self->columns_count <= self->cells_count; i += self->columns_count)
        print_row(self, self->cells + i, widths, to);
}

void table_free(struct table **self)
{
    if (*self == NULL)
        return;
    for (size_t i = 0; i < (*self)->cells_count; i++)
        free((*self)->cells[i]);
    free((*self)->cells);
    free(*self);
    *self = NULL;
}
