/*
 * The second name of a hybrid torrent. Which worker of lb-swarm owns a torrent follows from its
 * infohash, which of a hybrid is that of v1; a person may name it by the hash of v2 (BEP 52), cut
 * to 20 bytes, which is another worker's. Then all are asked whose it is, and it is asked again
 * where it is. One worker alone knows both names. Pure.
 */
#pragma once

#include "services/gateway/methods.h"

#include <stdbool.h>
#include <stdint.h>

#define ALIAS_SIZE 20u

/*
 * What the request names, when those who do not know it may know it by its other name. Of a fetch
 * only a magnet link of a v2 hash alone; it is to be looked up before, since any worker takes it.
 */
bool alias_of(const struct method *method, const void *request, uint8_t ret_hash[ALIAS_SIZE]);
bool alias_is_first(const struct method *method);

/* Its owner's name for it, out of a reply to lb.swarm.List; false: nobody has it. */
bool alias_found(const void *reply, uint8_t ret_hash[ALIAS_SIZE]);

/* The request means it by that name from now on; of a fetch only where it goes to is changed. */
void alias_put(const struct method *method, void *request, const uint8_t hash[ALIAS_SIZE]);
uint16_t alias_place(const uint8_t hash[ALIAS_SIZE]);
