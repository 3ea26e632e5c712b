/* Transfers as a person sees them: in littlebird list, while fetching, and in lb-admin peers. */
#pragma once

#include "proto/littlebird/v1/swarm.pb-c.h"
#include "services/cli/session.h"

/* "checking", "looking for it", ... */
const char *transfer_state_text(const Littlebird__V1__Transfer *transfer);

/* Ask for one (infohash of 20 bytes) or all (NULL). EXIT_DONE and the answer. */
int transfers_list(struct session *session, const uint8_t *infohash,
                   const Littlebird__V1__ListTransfersResponse **ret_list);

/* One line for the progress of a fetch: "lab.iso  43.2 %  512 MiB of 1.2 GiB  98.1 MiB/s ...". */
#define TRANSFER_LINE_SIZE 512
void transfer_format_progress(const Littlebird__V1__Transfer *transfer,
                              char ret_line[TRANSFER_LINE_SIZE]);
