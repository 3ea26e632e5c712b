/*
 * Web seeds (BEP 19): which URL holds which bytes of a piece, and what becomes of each web seed.
 *
 * A URL that ends in '/' has the torrent's name behind it; one that does not is the file itself of
 * a torrent of one file, and the folder that holds the torrent's folder otherwise. Below that come
 * the names of folders and files, each byte that RFC 3986 does not let stand written as %XX.
 * Padding is in no file and asked of nobody. A name that metainfo.h had to alter is asked for as it
 * was altered: who holds it under its own answers that there is none, which costs a rest.
 *
 * A web seed fetches one piece at a time. What fails in whatever way rests, twice as long each
 * time; what sent wrong data is dropped. Pure; allocates.
 */
#pragma once

#include "libcommon/bytes.h"
#include "services/swarm/layout.h"

#include <stdbool.h>
#include <stdint.h>

#define WEBSEEDS_MAX        64u   /* of a torrent; more are left out */
#define WEBSEED_URL_SIZE    2048u /* with the NUL; a longer one is left out */
#define WEBSEED_REST_MIN_MS 5000u
#define WEBSEED_REST_MAX_MS 600000u
#define WEBSEED_LOOK_MS     200u /* there was nothing to fetch: looked at again */

struct webseed_urls {
    char **items;
    uint32_t count;
};

/*
 * Copied. False: it is no http or https URL of a host, has a character that no URL has, is too
 * long, or there are WEBSEEDS_MAX. One that is there already is not added again.
 */
bool webseed_urls_add(struct webseed_urls *self, struct bytes url);

/* Those of another list, as many as there is room for. */
void webseed_urls_add_all(struct webseed_urls *self, const struct webseed_urls *more);
void webseed_urls_done(struct webseed_urls *self);

/* Without user and password, for a person: at most size - 1 bytes. */
void webseed_host(const char *url, char *ret_host, size_t size);

/* Where a file is; path: "NAME" or "NAME/a/b" (metainfo.h). The caller frees. */
char *webseed_file_url(const char *url, const char *path, bool is_folder);

enum webseed_state { WEBSEED_IDLE, WEBSEED_FETCHING, WEBSEED_RESTING, WEBSEED_DROPPED };

struct webseed {
    enum webseed_state state;
    uint64_t rest_until_ms;
    uint32_t failures; /* in a row */
    uint32_t piece;    /* FETCHING */
};

/* It may be given a piece now. */
bool webseed_is_ready(struct webseed *self, uint64_t now_ms);
void webseed_begin(struct webseed *self, uint32_t piece);

/* There is nothing for it to do; a piece came whole, or need not come any more; it failed. */
void webseed_pause(struct webseed *self, uint64_t now_ms);
void webseed_came(struct webseed *self);
void webseed_failed(struct webseed *self, uint64_t now_ms);
void webseed_drop(struct webseed *self);

/* When webseed_is_ready() changes by itself; UINT64_MAX: not. */
uint64_t webseed_deadline_ms(const struct webseed *self);
