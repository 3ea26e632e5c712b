#include "services/cli/member_name.h"

#include "libcommon/bytes.h"

#include <string.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
}

static bool is_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

bool member_name_parse(const char *text, struct member_name *ret_self)
{
    struct member_name self = { .is_whole = false };
    size_t size = strlen(text);

    if (size < MEMBER_DIGITS_MIN || size >= NODE_ID_TEXT_SIZE)
        return false;
    for (size_t i = 0; i < size; i++) {
        self.digits[i] = lower(text[i]);
        if (!is_digit(self.digits[i]))
            return false;
    }
    self.is_whole = node_id_parse(self.digits, &self.node) == LB_OK;
    *ret_self = self;
    return true;
}

bool member_name_matches(const struct member_name *self, const uint8_t *id, size_t size)
{
    char digits[NODE_ID_TEXT_SIZE];

    if (size != NODE_ID_SIZE)
        return false;
    hex_encode(id, NODE_ID_SIZE, digits);
    return strncmp(digits, self->digits, strlen(self->digits)) == 0;
}

bool member_fingerprint_equal(const char *text, const char *fingerprint)
{
    while (*text != '\0' || *fingerprint != '\0') {
        if (*fingerprint == '-') {
            fingerprint++;
            text += *text == '-';
        } else if (*fingerprint == '\0' || lower(*text) != lower(*fingerprint)) {
            return false;
        } else {
            text++;
            fingerprint++;
        }
    }
    return true;
}
