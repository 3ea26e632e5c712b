#include "libcommon/identity.h"

#include <stdio.h>
#include <string.h>

#define FIRST_LINE "littlebird member 1"

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool network_name_is_valid(const char *name)
{
    size_t size = strnlen(name, NETWORK_NAME_SIZE);

    if (size == 0 || size >= NETWORK_NAME_SIZE || !is_letter_or_digit(name[0])) {
        return false;
    }
    for (size_t i = 1; i < size; i++) {
        if (!is_letter_or_digit(name[i]) && name[i] != '-' && name[i] != '_' && name[i] != '.') {
            return false;
        }
    }
    return true;
}

/* Take the next line, which is to begin with prefix: the rest of it, as text, or false. */
static bool next_line(struct bytes *rest, const char *prefix, char *ret_text, size_t capacity)
{
    const uint8_t *end =
        rest->size > 0 ? memchr(rest->data, '\n', rest->size) : NULL; /* the last has one too */
    size_t prefix_size = strlen(prefix), size;

    if (!end) {
        return false;
    }
    size = (size_t)(end - rest->data);
    if (size < prefix_size || memcmp(rest->data, prefix, prefix_size) != 0 ||
        size - prefix_size >= capacity) {
        return false;
    }
    memcpy(ret_text, rest->data + prefix_size, size - prefix_size);
    ret_text[size - prefix_size] = '\0';
    *rest = bytes_of(end + 1, rest->size - size - 1);
    return strlen(ret_text) == size - prefix_size; /* no NUL inside */
}

lb_err identity_parse(struct bytes text, struct identity *ret_self)
{
    struct identity self = { 0 };
    char first[1], network[2 * NETWORK_ID_SIZE + 1], node[NODE_ID_TEXT_SIZE];

    if (!next_line(&text, FIRST_LINE, first, sizeof(first)) ||
        !next_line(&text, "network ", self.network_name, sizeof(self.network_name)) ||
        !next_line(&text, "network-id ", network, sizeof(network)) ||
        !next_line(&text, "node-id ", node, sizeof(node)) || text.size > 0) {
        return LB_INVALID;
    }
    if (!network_name_is_valid(self.network_name) ||
        hex_decode(network, self.network, NETWORK_ID_SIZE) != LB_OK ||
        node_id_parse(node, &self.node) != LB_OK) {
        return LB_INVALID;
    }
    *ret_self = self;
    return LB_OK;
}

size_t identity_write(const struct identity *self, char ret_text[IDENTITY_FILE_MAX])
{
    char network[2 * NETWORK_ID_SIZE + 1], node[NODE_ID_TEXT_SIZE];

    hex_encode(self->network, NETWORK_ID_SIZE, network);
    node_id_format(&self->node, node);
    return (size_t)snprintf(ret_text, IDENTITY_FILE_MAX,
                            FIRST_LINE "\nnetwork %s\nnetwork-id %s\nnode-id %s\n",
                            self->network_name, network, node);
}
