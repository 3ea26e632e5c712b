/*
 * The best version known of what is looked for: of our own store, of what this node publishes and
 * of what a lookup brought, the valid one with the highest sequence number. Get, watch and remove
 * begin with it.
 */
#pragma once

#include "proto/routing.pb-c.h"
#include "services/storage/item.h"
#include "services/storage/messages.h"

#include <stdbool.h>
#include <stdint.h>

struct storage;

struct version {
    bool is_there;
    struct item item; /* its value is in value_memory, its salt is that of what is wanted */
    uint8_t value_memory[ITEM_VALUE_MAX];
    bool is_stored;   /* exactly this one is in our own store */
    unsigned holders; /* who has it, of those that were asked; our own store is one */
    uint64_t ttl_s;   /* seconds it has left, as far as is said; 0: nobody said */
};

/* What is here. Nothing of the version before is kept. */
void version_look_here(struct storage *storage, const struct wanted *wanted,
                       struct version *ret_self);

/* And what a lookup brought: it takes the place of an older one. */
void version_take_found(struct version *self, const struct wanted *wanted,
                        const Lb__Routing__Found *found);

/* The mark of a removal (value.h). */
bool version_is_removal(const struct version *self);
