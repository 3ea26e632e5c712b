/* One connection through the door that speaks lb-join/1: what is asked on it, one after the other.
 */
#pragma once

#include "libcommon/pki/certificate.h"
#include "services/coordinator/secure.h"

struct coordinator;
struct visit; /* opaque */

/* Just open. Takes the connection; on_gone is called once, when the visit is over and freed. */
struct visit *visit_new(struct coordinator *coordinator, struct secure **secure,
                        void (*on_gone)(void *ctx), void *ctx);
/* Without on_gone. */
void visit_end(struct visit **self);

/* Since when nothing was asked, in ms of the loop; UINT64_MAX: it is being answered. */
uint64_t visit_idle_since_ms(const struct visit *self);
