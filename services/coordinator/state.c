/* What lb-coordinator says of itself, for status and health. */
#include "libcommon/log.h"
#include "services/coordinator/inside.h"

#include <stdio.h>
#include <time.h>

#define INTERMEDIATE_WARN_S (14u * 24 * 3600) /* before it ends */
#define DATE_SIZE           32

static const char *date_of(uint64_t at_s, char ret_text[DATE_SIZE])
{
    time_t at = (time_t)at_s;
    struct tm tm;

    if (!gmtime_r(&at, &tm) || strftime(ret_text, DATE_SIZE, "%Y-%m-%d %H:%M UTC", &tm) == 0) {
        snprintf(ret_text, DATE_SIZE, "?");
    }
    return ret_text;
}

/* Two weeks before what we sign by ends, so that the key in the drawer is fetched in time. */
static void say_ending(struct coordinator *self, uint64_t now_s)
{
    char date[DATE_SIZE];

    date_of(self->intermediate_until_s, date);
    if (now_s >= self->intermediate_until_s && self->ended_said_s != self->intermediate_until_s) {
        self->ended_said_s = self->intermediate_until_s;
        log_warn("its certificate ended %s: nobody can join or renew here", date);
    }
    if (now_s >= self->intermediate_until_s) {
        actor_state(self->actor, STATE_DEGRADED,
                    "its certificate ended %s, nobody can join or renew here: lb-admin coordinator "
                    "renew",
                    date);
    } else {
        actor_state(self->actor, STATE_DEGRADED,
                    "its certificate ends %s, then nobody can join or renew here: lb-admin "
                    "coordinator renew",
                    date);
    }
}

void coordinator_say_state(struct coordinator *self, uint64_t now_s)
{
    uint64_t leader = self->group != NULL ? group_leader(self->group) : 0;

    if (self->enlisting != NULL) {
        actor_state(self->actor, STATE_DEGRADED, "waits to be added to the coordinators");
    } else if (self->group == NULL) {
        actor_state(self->actor, STATE_DEGRADED, "there is no register here");
    } else if (leader == 0) {
        actor_state(
            self->actor, STATE_DEGRADED,
            "no majority of the coordinators can be reached, or they have removed this one: "
            "nobody can join here");
    } else if (self->intermediate_size == 0) {
        actor_state(self->actor, STATE_DEGRADED, "lb-signer does not answer");
    } else if (leader == self->number && !group_has_space(self->group)) {
        actor_state(self->actor, STATE_DEGRADED, "%s",
                    register_is_founded(self->reg)
                        ? "the disk is nearly full: nobody can join"
                        : "the disk is nearly full: the network could not be begun");
    } else if (now_s + INTERMEDIATE_WARN_S >= self->intermediate_until_s) {
        say_ending(self, now_s);
    } else if (leader == self->number) {
        actor_state(self->actor, STATE_READY, "leads the coordinators");
    } else {
        actor_state(self->actor, STATE_READY, "follows coordinator %llu",
                    (unsigned long long)leader);
    }
}
