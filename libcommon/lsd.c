#include "libcommon/lsd.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

static struct bytes trim(struct bytes text)
{
    while (text.size > 0 && is_space(text.data[0]))
        text = bytes_of(text.data + 1, text.size - 1);
    while (text.size > 0 && is_space(text.data[text.size - 1]))
        text.size--;
    return text;
}

/* The next line without its end; what is left is a line too, empty at the end of the data. */
static struct bytes take_line(struct bytes *data)
{
    const uint8_t *end = data->size > 0 ? memchr(data->data, '\n', data->size) : NULL;
    size_t size = end ? (size_t)(end - data->data) : data->size;
    struct bytes line = trim(bytes_of(data->data, size));

    size += end ? 1 : 0;
    *data = bytes_of(data->data + size, data->size - size);
    return line;
}

static bool equals_ignoring_case(struct bytes text, const char *word)
{
    size_t i = 0;

    for (; i < text.size && word[i]; i++) {
        uint8_t byte = text.data[i];

        if ((byte >= 'A' && byte <= 'Z' ? byte + 32 : byte) != word[i])
            return false;
    }
    return i == text.size && !word[i];
}

static bool read_port(struct bytes text, uint16_t *ret_port)
{
    unsigned port = 0;

    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        port = 10 * port + (unsigned)(text.data[i] - '0');
        if (port > UINT16_MAX)
            return false;
    }
    *ret_port = (uint16_t)port;
    return port > 0;
}

static bool read_hash(struct bytes text, struct lsd_message *message)
{
    char digits[2 * LSD_HASH_SIZE + 1] = "";
    uint8_t hash[LSD_HASH_SIZE];

    if (text.size != 2 * LSD_HASH_SIZE)
        return false;
    memcpy(digits, text.data, text.size);
    if (hex_decode(digits, hash, sizeof(hash)) != LB_OK)
        return false;
    if (message->hashes_count < LSD_HASHES_MAX)
        memcpy(message->hashes[message->hashes_count++], hash, sizeof(hash));
    return true;
}

/* Nothing that would break a line, a log or a comparison. */
static struct bytes printable(struct bytes text, size_t size_max)
{
    if (text.size > size_max)
        return bytes_of(NULL, 0);
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < ' ' || text.data[i] > '~')
            return bytes_of(NULL, 0);
    }
    return text;
}

static bool read_header(struct bytes line, struct lsd_message *message)
{
    const uint8_t *colon = memchr(line.data, ':', line.size);
    struct bytes name, value;

    if (!colon)
        return false;
    name = trim(bytes_of(line.data, (size_t)(colon - line.data)));
    value = trim(bytes_of(colon + 1, line.size - (size_t)(colon + 1 - line.data)));
    if (equals_ignoring_case(name, "port"))
        return read_port(value, &message->port);
    if (equals_ignoring_case(name, "infohash"))
        return read_hash(value, message);
    if (equals_ignoring_case(name, "cookie"))
        message->cookie = printable(value, LSD_COOKIE_MAX);
    else if (equals_ignoring_case(name, "x-littlebird"))
        message->remark = printable(value, LSD_REMARK_MAX);
    return true;
}

lb_err lsd_decode(struct bytes data, struct lsd_message *ret_message)
{
    struct lsd_message message = { 0 };
    struct bytes line;

    if (data.size > LSD_SIZE_MAX || !bytes_equal_text(take_line(&data), "BT-SEARCH * HTTP/1.1"))
        return LB_INVALID;
    for (line = take_line(&data); line.size > 0; line = take_line(&data)) {
        if (!read_header(line, &message))
            return LB_INVALID;
    }
    if (message.port == 0 || message.hashes_count == 0)
        return LB_INVALID;
    *ret_message = message;
    return LB_OK;
}

bool lsd_remarks(const struct lsd_message *message, const char *word)
{
    size_t size = strlen(word), begin = 0;

    for (size_t i = 0; i <= message->remark.size; i++) {
        if (i < message->remark.size && message->remark.data[i] != ' ')
            continue;
        if (i - begin == size && memcmp(message->remark.data + begin, word, size) == 0)
            return true;
        begin = i + 1;
    }
    return false;
}

/* ---- writing ---- */

static void put_text(struct writer *to, const char *text)
{
    writer_put(to, text, strlen(text));
}

static void put_header(struct writer *to, const char *name, struct bytes value)
{
    put_text(to, name);
    put_text(to, ": ");
    writer_put(to, value.data, value.size);
    put_text(to, "\r\n");
}

size_t lsd_encode(const struct lsd_message *message, uint8_t *ret_data, size_t capacity)
{
    char text[2 * LSD_HASH_SIZE + 1];
    struct writer to;

    assert(message->hashes_count > 0 && message->hashes_count <= LSD_HASHES_MAX);
    writer_init(&to, ret_data, capacity < LSD_SIZE_MAX ? capacity : LSD_SIZE_MAX);
    put_text(&to, "BT-SEARCH * HTTP/1.1\r\n");
    put_header(&to, "Host",
               bytes_of_text(message->over_v6 ? "[" LSD_GROUP_V6 "]:6771" : LSD_GROUP_V4 ":6771"));
    snprintf(text, sizeof(text), "%u", (unsigned)message->port);
    put_header(&to, "Port", bytes_of_text(text));
    for (size_t i = 0; i < message->hashes_count; i++) {
        hex_encode(message->hashes[i], LSD_HASH_SIZE, text);
        put_header(&to, "Infohash", bytes_of_text(text));
    }
    if (message->cookie.size > 0)
        put_header(&to, "cookie", message->cookie);
    if (message->remark.size > 0)
        put_header(&to, "X-Littlebird", message->remark);
    put_text(&to, "\r\n\r\n");
    return to.overflow ? 0 : to.size;
}
