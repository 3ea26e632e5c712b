/* Transfers as a person sees them: in littlebird list, while fetching, and in lb-admin peers. */
#pragma once

#include "proto/littlebird/v1/swarm.pb-c.h"
#include "services/cli/session.h"

#include <stdbool.h>
#include <stdint.h>

/* "checking", "looking for it", ... */
const char *transfer_state_text(const Littlebird__V1__Transfer *transfer);

/*
 * What a person calls a transfer: its info-hash or its link. EXIT_DONE, or an exit code with its
 * words on stderr.
 */
int transfers_parse_name(const struct args *args, const char *text, uint8_t *ret_infohash);

/* low, normal or high, as the API has it (1 to 3); false when it is none of them. */
bool transfers_parse_priority(const char *text, uint32_t *ret_priority);

/* Bytes of what is wanted of it: of all, or of the files selected. */
uint64_t transfer_wanted(const Littlebird__V1__Transfer *transfer);

/* Ask for one (infohash of 20 bytes) or all (NULL). EXIT_DONE and the answer. */
int transfers_list(struct session *session, const uint8_t *infohash,
                   const Littlebird__V1__ListTransfersResponse **ret_list);

/* The same, and EXIT_NOT_FOUND when there is no such transfer. */
int transfers_find(struct session *session, const uint8_t *infohash,
                   const Littlebird__V1__Transfer **ret_transfer);

/* Its files, asked for. */
int transfers_files(struct session *session, const uint8_t *infohash,
                    const Littlebird__V1__ListTransferFilesResponse **ret_files);

/* littlebird list --files LINK, --peers LINK. */
int transfers_print_files(struct session *session, const uint8_t *infohash);
int transfers_print_peers(struct session *session, const uint8_t *infohash);

/* One line for the progress of a fetch: "lab.iso  43.2 %  512 MiB of 1.2 GiB  98.1 MiB/s ...". */
#define TRANSFER_LINE_SIZE 512
void transfer_format_progress(const Littlebird__V1__Transfer *transfer,
                              char ret_line[TRANSFER_LINE_SIZE]);
