/* How a person names a torrent: its info-hash or its magnet link. */
#pragma once

#include "libcommon/error.h"

#include <stdbool.h>
#include <stdint.h>

#define INFOHASH_SIZE 20

/*
 * 40 hexadecimal digits, 32 digits of base 32, or a magnet link with one of these as
 * xt=urn:btih:... (BEP 9); of a link that has only the SHA-256 of BEP 52 (xt=urn:btmh:1220...) its
 * first 20 bytes. LB_INVALID otherwise.
 */
LB_MUST_CHECK lb_err infohash_parse(const char *text, uint8_t ret_infohash[INFOHASH_SIZE]);

bool infohash_is_magnet(const char *text);
