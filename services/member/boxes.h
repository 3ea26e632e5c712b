/* What other nodes keep for this one is fetched: at the start, every 5 minutes (pickup.h). */
#pragma once

#include <stdint.h>

struct boxes;
struct member;

struct boxes *boxes_new(struct member *member);
void boxes_free(struct boxes **self);
void boxes_tick(struct boxes *self, uint64_t now_ms);
