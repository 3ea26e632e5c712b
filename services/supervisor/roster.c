#include "services/supervisor/roster.h"

#define BIT(name) (1u << SERVICE_##name)

static const struct roster_row rows[] = {
    { .service = SERVICE_ROUTING, .program = "lb-routing", .instances_key = -1 },
    { .service = SERVICE_TRANSPORT,
      .program = "lb-transport",
      .sockets = ROSTER_UDP,
      .needs = BIT(ROUTING),
      .instances_key = CONFIG_TRANSPORT_WORKERS,
      .scales = true },
    { .service = SERVICE_STORAGE,
      .program = "lb-storage",
      .needs = BIT(ROUTING) | BIT(TRANSPORT),
      .instances_key = CONFIG_STORAGE_WORKERS,
      .scales = true },
    { .service = SERVICE_SWARM,
      .program = "lb-swarm",
      .sockets = ROSTER_TCP,
      .needs = BIT(ROUTING) | BIT(STORAGE) | BIT(TRANSPORT),
      .instances_key = CONFIG_SWARM_WORKERS,
      .scales = true },
    { .service = SERVICE_SIGNER,
      .program = "lb-signer",
      .when = ROSTER_AS_COORDINATOR,
      .instances_key = -1 },
    { .service = SERVICE_COORDINATOR,
      .program = "lb-coordinator",
      .when = ROSTER_AS_COORDINATOR,
      .sockets = ROSTER_COORDINATOR,
      .needs = BIT(SIGNER),
      .instances_key = -1 },
    { .service = SERVICE_MEMBER,
      .program = "lb-member",
      .when = ROSTER_AS_MEMBER,
      .needs = BIT(ROUTING) | BIT(TRANSPORT),
      .instances_key = -1 },
    { .service = SERVICE_GATEWAY,
      .program = "lb-gateway",
      .sockets = ROSTER_API,
      .needs = BIT(ROUTING) | BIT(STORAGE) | BIT(TRANSPORT) | BIT(SWARM) | BIT(COORDINATOR) |
               BIT(MEMBER),
      .instances_key = -1 },
};

#define ROWS_COUNT (sizeof rows / sizeof rows[0])

const struct roster_row *roster_rows(size_t *ret_count)
{
    *ret_count = ROWS_COUNT;
    return rows;
}

const struct roster_row *roster_find(enum service service)
{
    for (size_t i = 0; i < ROWS_COUNT; i++) {
        if (rows[i].service == service) {
            return &rows[i];
        }
    }
    return NULL;
}

bool roster_wants(const struct roster_row *row, const struct roster_node *node)
{
    return row->when == ROSTER_ALWAYS || (row->when == ROSTER_AS_MEMBER && node->is_member) ||
           (row->when == ROSTER_AS_COORDINATOR && node->is_coordinator);
}

bool roster_may_stop(enum service service, unsigned running)
{
    for (size_t i = 0; i < ROWS_COUNT; i++) {
        if ((running & (1u << rows[i].service)) && (rows[i].needs & (1u << service))) {
            return false;
        }
    }
    return true;
}
