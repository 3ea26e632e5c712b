/*
 * What the files of the table share: table.c, what happens to contacts; table_view.c, what is due,
 * what there is, and whether it is sound.
 */
#pragma once

#include "services/routing/table.h"

bool table_entry_is_bad(const struct table_entry *entry);

/* Public addresses, on which the limits per IP and subnet hold, unless ids are certified. */
bool table_is_limited(const struct table *self, const struct address *address);

/* Two contacts that may not both be in the table. */
bool table_addresses_clash(const struct table *self, const struct address *a,
                           const struct address *b);

/* Not ourselves, a usable address, of this family. */
bool table_is_acceptable(const struct table *self, const struct contact *contact);

struct table_bucket *table_bucket_use(struct table *self, unsigned number, uint64_t now_ms);

/* A place has changed so that it may be due for a ping sooner. */
void table_hasten(struct table *self, const struct table_entry *entry);

/* When a bucket used now is due for a refresh. */
uint64_t table_draw_refresh_ms(struct table *self, uint64_t now_ms);
