/*
 * The small files of register_folder beside Raft's own:
 *
 *     first   the first commands of a new network (create.h)
 *     offer   "ADDRESS NODE-PORT\n": we have offered ourselves (create.h)
 *     group   text, once we are of a group:
 *                 littlebird group 1
 *                 server NUMBER ADDRESS                 ours
 *                 known NUMBER NODE-ID KEY-DIGEST ADDRESS   each, as the register had it last
 */
#pragma once

#include "libcommon/bytes.h"
#include "services/coordinator/inside.h"

/* Into self->number, address, known. LB_NOT_FOUND, LB_CORRUPT, LB_DENIED, LB_IO. */
LB_MUST_CHECK lb_err files_read_group(struct coordinator *self, const char *folder);
LB_MUST_CHECK lb_err files_write_group(const struct coordinator *self, const char *folder);

LB_MUST_CHECK lb_err files_read_offer(const char *folder, char ret_address[REGISTER_ADDRESS_SIZE],
                                      uint16_t *ret_node_port);

/* The commands of `first`, one after the other: the caller frees, and takes them out of it. */
LB_MUST_CHECK lb_err files_read_first(const char *folder, uint8_t **ret_data, size_t *ret_size);
bool files_next_first(struct bytes *data, struct bytes *ret_command);

/* A file that has done its work. */
void files_remove(const char *folder, const char *name);
