/*
 * systemd, as lb-supervisor talks to it: the manager's private socket (sd-bus, no D-Bus daemon
 * needed) on the service's loop. It tells how the node's units are, at first and at each change,
 * and carries orders. When systemd is re-executed the connection breaks; it is made again by
 * itself.
 */
#pragma once

#include "services/supervisor/unit.h"

#include <stdbool.h>

#define BUS_RETRY_MS 1000

struct bus;
struct uv_loop_s;

/* Called from the loop; refused() also from inside an order. */
struct bus_events {
    /* A unit of the node is so now. Not while an order for it is unanswered: it would be old. */
    void (*report)(void *ctx, enum service service, unsigned instance,
                   const struct unit_report *report);

    /*
     * Whatever report() was not called for since the connection was made is not known to systemd.
     * is_up: the node has been started, its target is active.
     */
    void (*listed)(void *ctx, bool is_up);

    /* An order for the unit was not taken; why is for a person. */
    void (*refused)(void *ctx, enum service service, unsigned instance, const char *why);
    void (*lost)(void *ctx, const char *why);
};

/* Connecting is not awaited. events outlives the bus. */
struct bus *bus_new(struct uv_loop_s *loop, const struct bus_events *events, void *ctx);
void bus_free(struct bus **self);

/* The units of the node are known. */
bool bus_is_up(const struct bus *self);

/* Have report() called for it again, soon. */
void bus_look(struct bus *self, enum service service, unsigned instance);

/* Orders; report() says what came of them. Refused while the bus is not up. */
void bus_start(struct bus *self, enum service service, unsigned instance);
void bus_restart(struct bus *self, enum service service, unsigned instance);

/* With its sockets, or the next message for it would have it started again. */
void bus_stop(struct bus *self, enum service service, unsigned instance);
void bus_stop_node(struct bus *self);
void bus_kill(struct bus *self, enum service service, unsigned instance, int signal_number);
