/* Frames, and HOST:PORT. */
#include "services/coordinator/frames.h"
#include "services/coordinator/host_port.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <string.h>

/* ---- frames: '|' where the stream is cut; then what comes out, ',' after each, '!' too big ----
 */

static const struct row {
    const char *what, *in;
    size_t size;
    const char *out;
} rows[] = {
    { "one", "\0\0\0\3abc", 7, "abc," },
    { "two at once", "\0\0\0\1a\0\0\0\1b", 10, "a,b," },
    { "an empty one", "\0\0\0\0\0\0\0\1x", 9, ",x," },
    { "one in pieces", "\0|\0\0|\3a|bc", 10, "abc," },
    { "the end of one and the beginning of the next", "\0\0\0\2a|b\0\0|\0\1c", 13, "ab,c," },
    { "one that is not whole", "\0\0\0\5abc", 7, "" },
    { "one at the limit", "\0\0\0\10abcdefgh", 12, "abcdefgh," },
    { "one above it", "\0\0\0\11abcdefghi", 13, "!" },
    { "one far above it is refused by its size alone", "\377\377\377\377", 4, "!" },
};

static void test_frames(void **state)
{
    const struct row *row = *state;
    size_t size = row->size;
    struct frames frames;
    struct bytes frame;
    char out[64] = "";

    frames_init(&frames, 8);
    for (size_t i = 0; i < size && strchr(out, '!') == NULL;) {
        const char *cut = memchr(row->in + i, '|', size - i);
        size_t piece = cut != NULL ? (size_t)(cut - row->in) - i : size - i;
        lb_err err;

        frames_add(&frames, bytes_of(row->in + i, piece));
        while ((err = frames_next(&frames, &frame)) == LB_OK) {
            snprintf(out + strlen(out), sizeof out - strlen(out), "%.*s,", (int)frame.size,
                     (const char *)frame.data);
        }
        if (err == LB_TOO_BIG) {
            strcat(out, "!");
        }
        i += piece + 1;
    }
    assert_string_equal(out, row->out);
    frames_done(&frames);
}

/* ---- HOST:PORT ---- */

static const struct address_row {
    const char *what, *text, *host, *port; /* host NULL: it is none */
} address_rows[] = {
    { "a name", "lab.example:6891", "lab.example", "6891" },
    { "IPv4", "10.0.0.1:1", "10.0.0.1", "1" },
    { "IPv6", "[2001:db8::1]:65535", "2001:db8::1", "65535" },
    { "no port", "lab", NULL, NULL },
    { "an empty port", "lab:", NULL, NULL },
    { "no host", ":5", NULL, NULL },
    { "port 0", "lab:0", NULL, NULL },
    { "a port that is too big", "lab:65536", NULL, NULL },
    { "a port with a sign", "lab:+5", NULL, NULL },
    { "a blank", "lab :5", NULL, NULL },
    { "a host that does not fit", "abcdefghijklmnopqrstuvwxyz.example.org:5", NULL, NULL },
};

static void test_address(void **state)
{
    const struct address_row *row = *state;
    char host[32], port[HOST_PORT_PORT_SIZE];
    bool is = host_port_split(row->text, host, sizeof host, port);

    assert_int_equal(is, row->host != NULL);
    if (is) {
        assert_string_equal(host, row->host);
        assert_string_equal(port, row->port);
    }
}

int main(void)
{
    return RUN_ROWS(rows, test_frames) + RUN_ROWS(address_rows, test_address);
}
