/* Who of the peers of a transfer is slow, and why, in a line for a person. Pure. */
#pragma once

#include "proto/littlebird/v1/swarm.pb-c.h"

#define SLOW_LINE_SIZE 256

/* "disk", "no peers", ...; "" when there is nothing to say. */
const char *slow_why_text(Littlebird__V1__TransferPeer__Why why);

/*
 * "812 of 1000 finished, 9 slow: 5 disk, 4 link". Slow is who is connected, has not finished, and
 * has less than three quarters of what half of them all have.
 */
void slow_summary(const Littlebird__V1__ListTransferPeersResponse *peers,
                  char ret_line[SLOW_LINE_SIZE]);
