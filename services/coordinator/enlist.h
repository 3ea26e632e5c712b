/*
 * A coordinator-to-be: this member has offered itself (create_offer()). It asks a coordinator every
 * few seconds until the operator has added it; then takes over its intermediate, renews its own
 * certificate, in which the role stands from now on, and is of the group.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct coordinator;
struct enlisting;

#define ENLIST_AGAIN_MS 2000u

struct enlisting *enlisting_new(struct coordinator *coordinator, const char *address,
                                uint16_t node_port);
void enlisting_free(struct enlisting **self);

/* True once everything is written: the coordinator starts its group, and this is freed. */
bool enlisting_tick(struct enlisting *self, uint64_t now_ms);
