#include "services/cli/text.h"

#include <jansson.h>
#include <string.h>

bool text_is_utf8(const uint8_t *text, size_t size)
{
    json_t *string = json_stringn((const char *)text, size); /* it refuses what is no UTF-8 */
    bool is_utf8 = string != NULL && memchr(text, '\0', size) == NULL;

    json_decref(string);
    return is_utf8;
}

static bool is_control(const uint8_t *text, size_t left)
{
    if (text[0] == '\t' || text[0] == '\n')
        return false;
    /* 0xc2 0x80 to 0xc2 0x9f are C1: terminals obey these, too. */
    return text[0] < 0x20 || text[0] == 0x7f || (text[0] == 0xc2 && left > 1 && text[1] < 0xa0);
}

bool text_is_harmless(const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (is_control(text + i, size - i))
            return false;
    }
    return size == 0 || text_is_utf8(text, size);
}

/* How many bytes the character there has by its first one; 1 for what is none. */
static size_t size_of_character(uint8_t first)
{
    if (first < 0xc0 || first > 0xf7)
        return 1;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

void text_make_harmless(uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t character = size_of_character(text[i]);

        if (character > size - i || is_control(text + i, size - i) ||
            !text_is_utf8(text + i, character)) {
            text[i] = '?';
            character = 1;
        }
        i += character;
    }
}

const char *text_plural(uint64_t number)
{
    return number == 1 ? "" : "s";
}
