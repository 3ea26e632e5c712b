#include "services/supervisor/log_levels.h"

#include "libcommon/actor.h"
#include "libcommon/log.h"
#include "libcommon/orders.h"
#include "proto/supervisor.pb-c.h"

#include <stdatomic.h>
#include <stdio.h>

static void reply_done(struct call **call)
{
    Lb__Supervisor__Done done = LB__SUPERVISOR__DONE__INIT;
    Lb__Supervisor__Reply reply = LB__SUPERVISOR__REPLY__INIT;

    reply.body_case = LB__SUPERVISOR__REPLY__BODY_DONE;
    reply.done = &done;
    call_reply(call, &reply.base);
}

static bool is_wanted(const struct page *page, const Lb__Supervisor__SetLogLevel *wanted,
                      enum service service, unsigned instance)
{
    if (wanted->which_case == LB__SUPERVISOR__SET_LOG_LEVEL__WHICH_INSTANCE &&
        wanted->instance != instance)
        return false;
    return atomic_load(&status_page_slot(page, service, instance)->state) != STATE_ABSENT;
}

static void log_what(const Lb__Supervisor__SetLogLevel *wanted)
{
    char name[48], until[48] = "";

    snprintf(name, sizeof name, "%s", wanted->service);
    if (wanted->which_case == LB__SUPERVISOR__SET_LOG_LEVEL__WHICH_INSTANCE)
        snprintf(name, sizeof name, "%s-%u", wanted->service, wanted->instance);
    if (wanted->seconds > 0)
        snprintf(until, sizeof until, " for %u s", wanted->seconds);
    log_info("%s logs %s%s", name,
             wanted->level == 0 ? "as configured"
                                : log_level_text((enum log_level)(wanted->level - 1)),
             until);
}

void log_levels_set(const struct page *page, struct call *call,
                    const Lb__Supervisor__SetLogLevel *wanted, uint64_t now_ms)
{
    uint64_t until_ms = wanted->seconds > 0 ? now_ms + (uint64_t)wanted->seconds * 1000 : 0;
    enum service service;
    unsigned told = 0;

    if (service_parse(wanted->service, &service) != LB_OK) {
        call_fail(&call, LB_NOT_FOUND, "there is no such service");
        return;
    }
    if (wanted->level > LOG_LEVEL_DEBUG + 1) {
        call_fail(&call, LB_INVALID, "there is no such level");
        return;
    }
    for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++) {
        if (!is_wanted(page, wanted, service, i))
            continue;
        orders_set_log_level(status_page_slot(page, service, i), wanted->level, until_ms);
        told++;
    }
    if (told == 0) {
        call_fail(&call, LB_NOT_FOUND, "%s has no such instance", service_text(service));
        return;
    }
    log_what(wanted);
    reply_done(&call);
}
