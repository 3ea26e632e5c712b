#include "libcommon/rate.h"

#include <stdio.h>
#include <string.h>

#define TEXT_SIZE 128 /* of one item, with the NUL */

struct unit {
    const char *name;
    uint64_t bits;
};

static const struct unit units[] = {
    { "", 8 },
    { "bit", 1 },
    { "kbit", 1000 },
    { "Mbit", 1000000 },
    { "Gbit", 1000000000 },
    { "B", 8 },
    { "kB", 8 * UINT64_C(1000) },
    { "KB", 8 * UINT64_C(1000) },
    { "KiB", 8 * (UINT64_C(1) << 10) },
    { "MB", 8 * UINT64_C(1000000) },
    { "MiB", 8 * (UINT64_C(1) << 20) },
    { "GB", 8 * UINT64_C(1000000000) },
    { "GiB", 8 * (UINT64_C(1) << 30) },
};

/* Thousandths: three digits behind the point count, more are read and left out. */
static bool read_number(const char **at, uint64_t *ret_thousandths)
{
    const char *start = *at;
    uint64_t number = 0, place = 1000;

    for (; **at >= '0' && **at <= '9'; (*at)++)
        if (__builtin_mul_overflow(number, UINT64_C(10), &number) ||
            __builtin_add_overflow(number, (uint64_t)(**at - '0'), &number))
            return false;
    if (*at == start || __builtin_mul_overflow(number, UINT64_C(1000), &number))
        return false;
    if (**at != '.') {
        *ret_thousandths = number;
        return true;
    }
    start = ++*at;
    for (; **at >= '0' && **at <= '9'; (*at)++) {
        place /= 10;
        if (__builtin_add_overflow(number, (uint64_t)(**at - '0') * place, &number))
            return false;
    }
    *ret_thousandths = number;
    return *at > start;
}

static const struct unit *find_unit(const char *text)
{
    size_t size = strlen(text);

    if (size >= 2 && strcmp(text + size - 2, "/s") == 0 && size > 2)
        size -= 2;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strlen(units[i].name) == size && memcmp(units[i].name, text, size) == 0)
            return &units[i];
    return NULL;
}

lb_err rate_parse(const char *text, uint64_t *ret_bytes_per_s)
{
    const struct unit *unit;
    uint64_t number;

    if (strcmp(text, "none") == 0) {
        *ret_bytes_per_s = 0;
        return LB_OK;
    }
    if (!read_number(&text, &number))
        return LB_INVALID;
    text += strspn(text, " ");
    unit = find_unit(text);
    if (!unit || __builtin_mul_overflow(number, unit->bits, &number) || number / 8000 > RATE_MAX)
        return LB_INVALID;
    /* What is said to be more than nothing is not "no limit". */
    *ret_bytes_per_s = number > 0 && number < 8000 ? 1 : number / 8000;
    return LB_OK;
}

bool subnet_has(const struct subnet *self, const struct address *address)
{
    const unsigned whole = self->prefix_bits / 8, rest = self->prefix_bits % 8;
    const uint8_t mask = (uint8_t)(0xff00u >> rest);

    return memcmp(self->ip, address->ip, whole) == 0 &&
           (rest == 0 || ((self->ip[whole] ^ address->ip[whole]) & mask) == 0);
}

/* "10.2.0.0/16", "fd00:2::/32". */
static lb_err parse_subnet(char *text, struct subnet *ret_subnet)
{
    char *slash = strchr(text, '/'), with_port[TEXT_SIZE + 8];
    const bool v6 = strchr(text, ':') != NULL;
    struct address address;
    unsigned bits = 0;

    if (!slash || slash[1] == '\0' || strlen(slash + 1) > 3)
        return LB_INVALID;
    *slash = '\0';
    for (const char *digit = slash + 1; *digit != '\0'; digit++) {
        if (*digit < '0' || *digit > '9')
            return LB_INVALID;
        bits = 10 * bits + (unsigned)(*digit - '0');
    }
    snprintf(with_port, sizeof(with_port), v6 ? "[%s]:1" : "%s:1", text);
    if (bits > (v6 ? 128u : 32u) || address_parse(with_port, &address) != LB_OK)
        return LB_INVALID;
    memcpy(ret_subnet->ip, address.ip, sizeof(address.ip));
    ret_subnet->prefix_bits = (uint8_t)(v6 ? bits : bits + 96); /* of ::ffff:0:0 */
    return LB_OK;
}

static lb_err parse_item(const char *text, size_t size, struct subnet_rate *ret_rate)
{
    char copy[TEXT_SIZE], *rest;

    while (size > 0 && strchr(" \t", text[size - 1]))
        size--;
    if (size == 0 || size >= sizeof(copy))
        return LB_INVALID;
    memcpy(copy, text, size);
    copy[size] = '\0';
    rest = copy + strcspn(copy, " \t");
    if (*rest == '\0')
        return LB_INVALID;
    *rest++ = '\0';
    rest += strspn(rest, " \t");
    if (rate_parse(rest, &ret_rate->bytes_per_s) != LB_OK || ret_rate->bytes_per_s == 0)
        return LB_INVALID;
    return parse_subnet(copy, &ret_rate->subnet);
}

lb_err subnet_rates_parse(const char *text, struct subnet_rate ret_rates[SUBNET_RATE_MAX],
                          unsigned *ret_count)
{
    unsigned count = 0;

    text += strspn(text, " \t");
    while (*text != '\0') {
        const size_t size = strcspn(text, ",");

        if (count == SUBNET_RATE_MAX)
            return LB_TOO_BIG;
        if (parse_item(text, size, &ret_rates[count++]) != LB_OK)
            return LB_INVALID;
        text += size;
        if (*text == ',') {
            text++;
            text += strspn(text, " \t");
            if (*text == '\0')
                return LB_INVALID;
        }
    }
    *ret_count = count;
    return LB_OK;
}
