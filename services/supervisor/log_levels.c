#include "services/supervisor/log_levels.h"

#include "libcommon/log.h"
#include "libcommon/orders.h"
#include "proto/supervisor.pb-c.h"

#include <stdatomic.h>
#include <stdio.h>

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

lb_err log_levels_set(const struct page *page, const Lb__Supervisor__SetLogLevel *wanted,
                      uint64_t now_ms, const char **ret_problem)
{
    uint64_t until_ms = wanted->seconds > 0 ? now_ms + (uint64_t)wanted->seconds * 1000 : 0;
    enum service service;
    unsigned told = 0;

    if (service_parse(wanted->service, &service) != LB_OK) {
        *ret_problem = "there is no such service";
        return LB_NOT_FOUND;
    }
    if (wanted->level > LOG_LEVEL_DEBUG + 1) {
        *ret_problem = "there is no such level";
        return LB_INVALID;
    }
    for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++) {
        if (!is_wanted(page, wanted, service, i))
            continue;
        orders_set_log_level(status_page_slot(page, service, i), wanted->level, until_ms);
        told++;
    }
    if (told == 0) {
        *ret_problem = "the service has no such instance";
        return LB_NOT_FOUND;
    }
    log_what(wanted);
    return LB_OK;
}
