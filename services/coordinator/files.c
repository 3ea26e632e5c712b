#include "services/coordinator/files.h"

#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/stored.h"
#include "services/coordinator/create.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GROUP_FILE "group"
#define GROUP_HEAD "littlebird group 1\n"
#define FILE_MAX   8192

static lb_err read_file(const char *folder, const char *name, size_t most, struct stored *ret_file)
{
    char path[PATHS_SIZE + 32];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return stored_read(path, most, STORED_TRUSTED, ret_file);
}

void files_remove(const char *folder, const char *name)
{
    char path[PATHS_SIZE + 32];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (unlink(path) != 0 && errno != ENOENT) {
        log_warn("%s: %s", path, strerror(errno));
    }
}

/* ---- the group ---- */

static bool take_line(struct coordinator *self, const char *line)
{
    struct known_server known = { 0 };
    char node[NODE_ID_TEXT_SIZE], digest[2 * REGISTER_DIGEST_SIZE + 1];
    uint64_t number;
    char address[REGISTER_ADDRESS_SIZE];

    if (sscanf(line, "server %" SCNu64 " %263s", &number, address) == 2) {
        self->number = number;
        memcpy(self->address, address, sizeof address);
        return number > 0;
    }
    if (sscanf(line, "known %" SCNu64 " %40s %64s %263s", &known.number, node, digest,
               known.address) != 4 ||
        node_id_parse(node, &known.node) != LB_OK ||
        hex_decode(digest, known.key_digest, sizeof known.key_digest) != LB_OK ||
        self->known_count == REGISTER_SERVERS_MAX) {
        return false;
    }
    self->known[self->known_count++] = known;
    return true;
}

lb_err files_read_group(struct coordinator *self, const char *folder)
{
    struct stored file;
    lb_err err = read_file(folder, GROUP_FILE, FILE_MAX, &file);
    char *text, *save = NULL;

    if (err != LB_OK) {
        return err;
    }
    text = (char *)file.data;
    if (strncmp(text, GROUP_HEAD, sizeof GROUP_HEAD - 1) != 0) {
        err = LB_CORRUPT;
    } else {
        text += sizeof GROUP_HEAD - 1;
    }
    for (char *line = err == LB_OK ? strtok_r(text, "\n", &save) : NULL; line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        if (!take_line(self, line)) {
            err = LB_CORRUPT;
        }
    }
    stored_free(&file);
    return err == LB_OK && self->number == 0 ? LB_CORRUPT : err;
}

lb_err files_write_group(const struct coordinator *self, const char *folder)
{
    char text[FILE_MAX];
    size_t size = (size_t)snprintf(text, sizeof text, GROUP_HEAD "server %" PRIu64 " %s\n",
                                   self->number, self->address);

    for (size_t i = 0; i < self->known_count; i++) {
        char node[NODE_ID_TEXT_SIZE], digest[2 * REGISTER_DIGEST_SIZE + 1];

        node_id_format(&self->known[i].node, node);
        hex_encode(self->known[i].key_digest, REGISTER_DIGEST_SIZE, digest);
        size += (size_t)snprintf(text + size, sizeof text - size, "known %" PRIu64 " %s %s %s\n",
                                 self->known[i].number, node, digest, self->known[i].address);
    }
    return stored_replace(folder, GROUP_FILE, bytes_of(text, size), 0600);
}

/* ---- the beginning ---- */

lb_err files_read_offer(const char *folder, char ret_address[REGISTER_ADDRESS_SIZE],
                        uint16_t *ret_node_port)
{
    struct stored file;
    lb_err err = read_file(folder, REGISTER_OFFER_FILE, FILE_MAX, &file);
    char address[REGISTER_ADDRESS_SIZE];
    unsigned port;

    if (err != LB_OK) {
        return err;
    }
    if (sscanf((const char *)file.data, "%263s %u", address, &port) != 2 || port > UINT16_MAX) {
        err = LB_CORRUPT;
    } else {
        memcpy(ret_address, address, sizeof address);
        *ret_node_port = (uint16_t)port;
    }
    stored_free(&file);
    return err;
}

lb_err files_read_first(const char *folder, uint8_t **ret_data, size_t *ret_size)
{
    struct stored file;
    lb_err err = read_file(folder, REGISTER_FIRST_FILE, REGISTER_FIRST_MAX, &file);

    if (err != LB_OK) {
        return err;
    }
    if (file.size < sizeof REGISTER_FIRST_HEAD - 1 ||
        memcmp(file.data, REGISTER_FIRST_HEAD, sizeof REGISTER_FIRST_HEAD - 1) != 0) {
        stored_free(&file);
        return LB_CORRUPT;
    }
    *ret_size = file.size - (sizeof REGISTER_FIRST_HEAD - 1);
    *ret_data = xmemdup(file.data + sizeof REGISTER_FIRST_HEAD - 1, *ret_size);
    stored_free(&file);
    return LB_OK;
}

bool files_next_first(struct bytes *data, struct bytes *ret_command)
{
    size_t size;

    if (data->size < 4) {
        return false;
    }
    size = load_u32(data->data);
    if (size > data->size - 4) {
        return false;
    }
    *ret_command = bytes_of(data->data + 4, size);
    data->data += 4 + size;
    data->size -= 4 + size;
    return true;
}
