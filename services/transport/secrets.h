/*
 * What the workers of a member share so that each takes up what another began: the key of the
 * cookies (hello.h), and the key under which session tickets are encrypted.
 *
 * The ticket key is another each hour, made from the one before by a hash that cannot be undone:
 * so all workers come to the same one without a word, and who reads the file learns nothing of the
 * hours before the last. The key of the hour before still opens tickets. The file lies in the
 * private folder, which is gone with the run folder, and its hours are of the monotonic clock.
 */
#pragma once

#include "services/transport/hello.h"

#include <stdint.h>

#define SECRETS_TICKET_KEY_SIZE 32
#define SECRETS_PERIOD_MS       3600000u
#define SECRETS_PERIODS_MAX     10000u /* older than that, the file is made anew */

struct secrets {
    struct hello_key hello;
    uint64_t period;
    uint8_t ticket[SECRETS_TICKET_KEY_SIZE];        /* of this period */
    uint8_t ticket_before[SECRETS_TICKET_KEY_SIZE]; /* of the one before */
};

/*
 * Read FOLDER/dtls.key, or make it. When neither works, secrets for this process alone; logged.
 * now_ms is monotonic.
 */
void secrets_load(const char *folder, uint64_t now_ms, struct secrets *ret_self);

/* To be called now and then: a new hour has begun when it says true; the file says so then, too. */
bool secrets_rotate(struct secrets *self, const char *folder, uint64_t now_ms);

void secrets_done(struct secrets *self);
