/* The register: who coordinates, and who would. */
#include "services/coordinator/register_inside.h"

#include <string.h>

static void put_server(struct register_server *server, const struct register_command *command)
{
    server->node = command->node;
    memcpy(server->address, command->address, sizeof server->address);
    server->node_port = command->node_port;
    server->request_size = (uint16_t)command->request.size;
    memcpy(server->request, command->request.data, command->request.size);
}

static void put_intermediate(struct register_server *server, struct bytes intermediate)
{
    server->intermediate_size = (uint16_t)intermediate.size;
    memcpy(server->intermediate, intermediate.data, intermediate.size);
}

void servers_found(struct network_register *self, const struct register_command *command)
{
    struct register_server *server = &self->servers[0];

    put_server(server, command);
    put_intermediate(server, command->intermediate);
    server->number = self->next_server++;
    self->servers_count = 1;
}

struct register_result servers_on_offer(struct network_register *self,
                                        const struct register_command *command)
{
    const struct register_member *member = members_find(self, &command->node);
    const struct register_server *server = register_server(self, &command->node);
    struct register_server *offer = servers_find(self->offers, self->offers_count, &command->node);
    struct register_result result = result_done();

    if (command->request.size == 0 || command->address[0] == '\0') {
        return result_refused(LB_INVALID, "an offer has an address and a signing request");
    }
    if (member == NULL || member->revoked) {
        return result_refused(LB_DENIED, "only a member can be a coordinator");
    }
    if (server != NULL) {
        result.number = server->number;
        return result;
    }
    if (offer == NULL && self->offers_count == REGISTER_OFFERS_MAX) {
        memmove(&self->offers[0], &self->offers[1],
                (REGISTER_OFFERS_MAX - 1) * sizeof self->offers[0]);
        self->offers_count--;
    }
    if (offer == NULL) {
        offer = &self->offers[self->offers_count++];
        memset(offer, 0, sizeof *offer);
    }
    put_server(offer, command);
    return result_waits();
}

static bool is_same_offer(const struct register_server *offer,
                          const struct register_command *command)
{
    return offer != NULL && strcmp(offer->address, command->address) == 0 &&
           offer->node_port == command->node_port &&
           bytes_equal(bytes_of(offer->request, offer->request_size), command->request);
}

bool servers_offer_known(const struct network_register *self,
                         const struct register_command *command, struct register_result *ret_result)
{
    const struct register_member *member = members_find(self, &command->node);
    const struct register_server *server = register_server(self, &command->node);
    const struct register_server *offer =
        servers_find((struct register_server *)self->offers, self->offers_count, &command->node);

    if (member == NULL || member->revoked || (server == NULL && !is_same_offer(offer, command))) {
        return false;
    }
    *ret_result = server != NULL ? result_done() : result_waits();
    ret_result->number = server != NULL ? server->number : 0;
    return true;
}

/*
 * The list that its last one has signed does not outlive that: who joined then would not take it.
 */
static void take_intermediate(struct network_register *self, struct register_server *server,
                              const struct register_command *command)
{
    bool is_other = server->intermediate_size > 0 &&
                    !bytes_equal(bytes_of(server->intermediate, server->intermediate_size),
                                 command->intermediate);

    put_intermediate(server, command->intermediate);
    if (is_other && self->deny_number > 0) {
        register_next_deny_list(self, command->now_s);
    }
}

struct register_result servers_on_add(struct network_register *self,
                                      const struct register_command *command)
{
    struct register_server *server =
        servers_find(self->servers, self->servers_count, &command->node);
    struct register_server *offer = servers_find(self->offers, self->offers_count, &command->node);
    struct register_result result = result_done();

    if (command->intermediate.size == 0) {
        return result_refused(LB_INVALID, "a coordinator has an intermediate");
    }
    if (server == NULL && offer == NULL) {
        return result_refused(LB_NOT_FOUND, "that node has not offered itself");
    }
    if (server == NULL && self->servers_count == REGISTER_SERVERS_MAX) {
        return result_refused(LB_FULL, "the group has 7 coordinators, its most");
    }
    if (server == NULL) {
        const struct register_member *member = members_find(self, &command->node);

        if (member == NULL || member->revoked) {
            return result_refused(LB_DENIED, "only a member can be a coordinator");
        }
        server = &self->servers[self->servers_count++];
        *server = *offer;
        server->number = self->next_server++;
        self->offers_count--;
        memmove(offer, offer + 1,
                (self->offers_count - (size_t)(offer - self->offers)) * sizeof *offer);
    }
    take_intermediate(self, server, command);
    result.number = server->number;
    return result;
}

/* ---- those that were removed ---- */

size_t former_count_of(const struct network_register *self, const struct node_id *node)
{
    size_t count = 0;

    for (size_t i = 0; i < self->former_count; i++) {
        count += node_id_equal(&self->former[i].node, node);
    }
    return count;
}

void former_revoke(struct network_register *self, const struct node_id *node)
{
    for (size_t i = 0; i < self->former_count; i++) {
        struct register_former *row = &self->former[i];

        row->revoked = row->revoked || node_id_equal(&row->node, node);
    }
}

void former_sweep(struct network_register *self, uint64_t now_s)
{
    size_t kept = 0;

    for (size_t i = 0; i < self->former_count; i++) {
        if (now_s < self->former[i].until_s) {
            self->former[kept++] = self->former[i];
        }
    }
    self->former_count = kept;
}

/* Its row, a new one if need be; NULL: there is no room. */
static struct register_former *former_row(struct network_register *self,
                                          const struct register_command *command)
{
    for (size_t i = 0; i < self->former_count; i++) {
        struct register_former *row = &self->former[i];

        if (node_id_equal(&row->node, &command->node) &&
            memcmp(row->key_id, command->key_id, sizeof row->key_id) == 0) {
            return row;
        }
    }
    if (self->former_count == REGISTER_FORMER_MAX) {
        former_sweep(self, command->now_s);
    }
    return self->former_count < REGISTER_FORMER_MAX ? &self->former[self->former_count++] : NULL;
}

struct register_result servers_on_remove(struct network_register *self,
                                         const struct register_command *command)
{
    struct register_server *server =
        servers_find(self->servers, self->servers_count, &command->node);
    struct register_result result = result_done();
    struct register_former *former;

    if (server == NULL) {
        return result_refused(LB_NOT_FOUND, "that node is no coordinator");
    }
    if (self->servers_count == 1) {
        return result_refused(LB_CONFLICT, "the last coordinator stays");
    }
    if (command->not_after_s > TIME_MAX_S) {
        return result_refused(LB_INVALID, "no such time");
    }
    former = former_row(self, command);
    if (former == NULL) {
        return result_refused(LB_FULL, "64 coordinators were removed whose certificates have not "
                                       "ended");
    }
    former->node = command->node;
    memcpy(former->key_id, command->key_id, sizeof former->key_id);
    former->until_s = command->not_after_s + REGISTER_LATE_S;
    former->revoked = false;
    result.number = server->number;
    self->servers_count--;
    memmove(server, server + 1,
            (self->servers_count - (size_t)(server - self->servers)) * sizeof *server);
    return result;
}
