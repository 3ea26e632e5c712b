/*
 * Ranges of files by HTTP, for web seeds: libcurl in the loop. It is loaded when first needed, so
 * that who has no web seed does not carry it.
 *
 * Only http and https, also after a redirect, of which at most five are followed; certificates are
 * verified. Who is slower than HTTP_SLOW bytes per second for HTTP_SLOW_S seconds is given up. An
 * answer that is not exactly the range asked for is refused; one without range support only when
 * the range is the whole file. Nothing is buffered here. Shell.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <stdbool.h>
#include <stdint.h>

#define HTTP_CONNECT_MS    10000
#define HTTP_SLOW          1024
#define HTTP_SLOW_S        15
#define HTTP_REDIRECTS_MAX 5
#define HTTP_IDLE_MAX      16 /* connections kept for the next request */

struct uv_loop_s;
struct webseed_http; /* opaque */
struct webseed_get;  /* opaque */

struct webseed_range {
    const char *url; /* copied */
    uint64_t offset;
    uint32_t size; /* > 0 */
    bool whole;    /* this is all of the file */

    /* False: no more is wanted. Neither of these functions of this file may be called from it. */
    bool (*data)(void *ctx, struct bytes data);

    /*
     * Once, never from inside webseed_http_get(): LB_OK, all of it was given; LB_CANCELLED, data()
     * said no; any other: why is in reason. The get is freed afterwards.
     */
    void (*ended)(void *ctx, lb_err err, const char *reason);
    void *ctx;
};

/* NULL: there is no libcurl on this machine. */
struct webseed_http *webseed_http_new(struct uv_loop_s *loop);

/* Every get has ended or is cancelled; its handles are closed in the next turns of the loop. */
void webseed_http_free(struct webseed_http **self);

/* NULL: it cannot be begun. */
struct webseed_get *webseed_http_get(struct webseed_http *self, const struct webseed_range *range);

/* ended() does not come. */
void webseed_get_cancel(struct webseed_get **self);
