#include "services/swarm/uri.h"

#include <stdbool.h>
#include <string.h>

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           strchr("-._~", c) != NULL;
}

void uri_put(struct writer *to, const char *text, const char *also)
{
    static const char digits[] = "0123456789ABCDEF";

    for (; *text != '\0'; text++) {
        const uint8_t byte = (uint8_t)*text;

        if (is_unreserved(*text) || strchr(also, *text) != NULL) {
            writer_u8(to, byte);
            continue;
        }
        writer_u8(to, '%');
        writer_u8(to, (uint8_t)digits[byte >> 4]);
        writer_u8(to, (uint8_t)digits[byte & 15]);
    }
}
