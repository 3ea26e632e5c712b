/*
 * The shared-memory form of the routing table: written by lb-routing alone, read by every transport
 * worker for each packet (DESIGN, "Shared memory").
 *
 * Two copies and a version. The writer fills copy (version + 1) % 2 and then stores version + 1;
 * readers use copy version % 2 and retry when the version moved meanwhile: one step on, the writer
 * may be filling the copy they read for the next step. A writer that dies mid-fill leaves the
 * published copy whole. A restarted writer creates a new file and renames it over the old one, with
 * a higher generation; it marks the old page `retired`, and a reader that sees that maps again.
 * Pure: works on memory it is given; page.h maps it.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/closest.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ROUTING_PAGE_MAGIC        0x4c42525450414745ULL /* "LBRTPAGE" */
#define ROUTING_PAGE_LAYOUT       2u
#define ROUTING_PAGE_CONTACTS_MAX 4096u

enum routing_family { ROUTING_V4 = 0, ROUTING_V6 = 1, ROUTING_FAMILIES = 2 };

/* One family's contacts, ascending by id, and their keys (closest.h). */
struct routing_page_family {
    uint32_t count;
    uint64_t keys[ROUTING_PAGE_CONTACTS_MAX];
    struct contact contacts[ROUTING_PAGE_CONTACTS_MAX];
};

struct routing_page_copy {
    struct routing_page_family family[ROUTING_FAMILIES];
};

struct routing_page {
    uint64_t magic;
    uint32_t layout;
    uint32_t reserved;
    uint64_t generation;      /* of the writer process; grows by each restart */
    _Atomic uint32_t retired; /* 1: another file took this one's name */
    struct node_id self_id;   /* fixed for the life of the page */
    _Atomic uint64_t version; /* 0: nothing published yet */
    struct routing_page_copy copies[2];
};

/*
 * The same contacts without a page, for a reader in the thread of the writer: a simulator runs
 * thousands of nodes in one process and has no room for as many pages. Borrowed, ascending by id.
 */
struct routing_list {
    struct node_id self_id;
    const struct contact *contacts[ROUTING_FAMILIES];
    uint32_t counts[ROUTING_FAMILIES];
};

/* Make a fresh page in zeroed memory of sizeof(struct routing_page). */
void routing_page_init(struct routing_page *self, const struct node_id *self_id,
                       uint64_t generation);

/*
 * Publish: contacts of each family, ascending by id, at most ROUTING_PAGE_CONTACTS_MAX each. Only
 * the one writer calls it.
 */
void routing_page_publish(struct routing_page *self,
                          const struct contact *contacts[ROUTING_FAMILIES],
                          const uint32_t counts[ROUTING_FAMILIES]);

/* Magic, layout and bounds hold. Call once after mapping, with the size of the mapping. */
bool routing_page_is_valid(const struct routing_page *self, size_t size);

/*
 * The k (at most 32) contacts closest to target, nearest first, copied out. Returns how many; 0
 * also when nothing is published. Never blocks: after 8 torn reads it answers 0.
 */
size_t routing_page_closest(const struct routing_page *self, enum routing_family family,
                            const struct node_id *target, size_t k, struct contact *ret_contacts);

/* The same contacts in no stated order, which costs less. */
size_t routing_page_closest_any(const struct routing_page *self, enum routing_family family,
                                const struct node_id *target, size_t k,
                                struct contact *ret_contacts);

/* How many contacts there are, of both families; 0 also when nothing is published. */
size_t routing_page_count(const struct routing_page *self);

/* Is this the address of one of them? false also after 8 torn reads. */
bool routing_page_holds(const struct routing_page *self, const struct address *address);

/* As routing_page_closest_any, of a list. */
size_t routing_list_closest_any(const struct routing_list *self, enum routing_family family,
                                const struct node_id *target, size_t k,
                                struct contact *ret_contacts);

/*
 * All contacts of one family, ascending by id, copied into room for ROUTING_PAGE_CONTACTS_MAX.
 * False, and nothing is promised of that room, when nothing is published or after 8 torn reads.
 */
bool routing_page_contacts(const struct routing_page *self, enum routing_family family,
                           struct contact *ret_contacts, uint32_t *ret_count);

/* Grows with each publication; 0: nothing is published. */
uint64_t routing_page_version(const struct routing_page *self);
