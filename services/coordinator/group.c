#include "services/coordinator/group.h"

#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/coordinator/raft_wire.h"

#include <assert.h>
#include <raft.h>
#include <raft/uv.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <uv.h>

struct group {
    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    struct group_settings settings;
    char *folder;
    uv_timer_t tick;
    struct register_result result; /* of the entry being applied, for whoever proposed it */

    bool led, fresh; /* as of the last tick */
    struct raft_barrier barrier;
    bool barrier_runs;
    uint64_t barrier_term;
    struct raft_change change;
    bool change_runs;

    struct group_traffic traffic;
    int (*send)(struct raft_io *io, struct raft_io_send *request,
                const struct raft_message *message, raft_io_send_cb sent); /* libraft's own */

    bool closing;
    unsigned holds; /* libraft and the timer, until they are closed */
    void (*on_closed)(void *ctx);
    void *closed_ctx;
};

/* ---- the state machine ---- */

/*
 * An entry is a u32 size, the command, and zeros up to a multiple of ENTRY_ALIGN: libraft 0.15
 * looks for the next entry of a batch there, in what it reads from disk and from other servers
 * (uvDecodeEntriesBatch), and does not write it so by itself.
 */
#define ENTRY_HEAD  4u
#define ENTRY_ALIGN 8u

static struct raft_buffer wrap(struct bytes command)
{
    size_t size = ENTRY_HEAD + command.size;
    struct raft_buffer entry = { .len = (size + ENTRY_ALIGN - 1) / ENTRY_ALIGN * ENTRY_ALIGN };
    uint8_t *data = xcalloc(1, entry.len);

    store_u32(data, (uint32_t)command.size);
    memcpy(data + ENTRY_HEAD, command.data, command.size);
    entry.base = data;
    return entry;
}

static struct bytes unwrap(const struct raft_buffer *entry)
{
    size_t size = entry->len >= ENTRY_HEAD ? load_u32(entry->base) : 0;

    if (size > entry->len - ENTRY_HEAD || entry->len < ENTRY_HEAD) {
        return bytes_of(NULL, 0); /* no command: the register refuses it */
    }
    return bytes_of((const uint8_t *)entry->base + ENTRY_HEAD, size);
}

/* An entry never fails: libraft would stop for good. What became of it stands in the result. */
static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *entry, void **ret_result)
{
    struct group *self = fsm->data;

    self->result = register_apply(self->settings.reg, unwrap(entry));
    *ret_result = &self->result;
    self->settings.on_applied(self->settings.ctx, &self->result);
    return 0;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *ret_buffers[],
                        unsigned *ret_count)
{
    struct group *self = fsm->data;
    struct raft_buffer *buffer = raft_malloc(sizeof *buffer);
    uint8_t *data;

    if (buffer == NULL) {
        return RAFT_NOMEM;
    }
    register_snapshot(self->settings.reg, &data, &buffer->len);
    buffer->base = data; /* libraft frees it: its allocator is ours */
    *ret_buffers = buffer;
    *ret_count = 1;
    return 0;
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *snapshot)
{
    struct group *self = fsm->data;
    lb_err err = register_restore(self->settings.reg, bytes_of(snapshot->base, snapshot->len));

    if (err != LB_OK) {
        log_error("a snapshot of the register: %s", lb_err_text(err));
        return RAFT_CORRUPT;
    }
    raft_free(snapshot->base);
    return 0;
}

/* ---- counting ---- */

static int counted_send(struct raft_io *io, struct raft_io_send *request,
                        const struct raft_message *message, raft_io_send_cb sent)
{
    struct raft *raft = io->data;
    struct group *self = raft->data;
    struct group_traffic *traffic = &self->traffic;

    traffic->messages++;
    if (message->type == RAFT_IO_APPEND_ENTRIES && message->append_entries.n_entries > 0) {
        traffic->with_entries++;
        traffic->entries += message->append_entries.n_entries;
    }
    traffic->votes += message->type == RAFT_IO_REQUEST_VOTE;
    traffic->snapshots += message->type == RAFT_IO_INSTALL_SNAPSHOT;
    return self->send(io, request, message, sent);
}

void group_traffic(const struct group *self, struct group_traffic *ret_traffic)
{
    *ret_traffic = self->traffic;
}

/* ---- proposing ---- */

struct proposed {
    struct raft_apply request;
    proposed_fn *proposed;
    void *ctx;
};

static void on_decided(struct raft_apply *request, int status, void *result)
{
    struct proposed *it = request->data;

    if (status == 0) {
        it->proposed(it->ctx, PROPOSAL_APPLIED, result);
    } else {
        it->proposed(it->ctx, PROPOSAL_LOST, NULL);
    }
    free(it);
}

/* Is there room for segments of the log, and a snapshot beside the last one? */
static bool has_space(const struct group *self)
{
    struct statvfs disk;
    uint64_t snapshot = register_members_count(self->settings.reg) * 400;

    return statvfs(self->folder, &disk) != 0 ||
           (uint64_t)disk.f_bavail * disk.f_frsize >= GROUP_DISK_RESERVE + 2 * snapshot;
}

void group_propose(struct group *self, struct bytes command, proposed_fn *proposed, void *ctx)
{
    struct raft_buffer buffer;
    struct proposed *it;
    int status;

    if (self->closing || !group_leads(self)) {
        proposed(ctx, PROPOSAL_ELSEWHERE, NULL);
        return;
    }
    if (!has_space(self)) {
        proposed(ctx, PROPOSAL_NO_SPACE, NULL);
        return;
    }
    buffer = wrap(command);
    it = xcalloc(1, sizeof *it);
    it->proposed = proposed;
    it->ctx = ctx;
    it->request.data = it;
    status = raft_apply(&self->raft, &it->request, &buffer, 1, on_decided);
    if (status != 0) {
        raft_free(buffer.base);
        free(it);
        proposed(ctx, status == RAFT_NOSPACE ? PROPOSAL_NO_SPACE : PROPOSAL_ELSEWHERE, NULL);
    }
}

/* ---- who is of the group ---- */

static const struct raft_server *raft_server_of(const struct group *self, uint64_t number)
{
    for (unsigned i = 0; i < self->raft.configuration.n; i++) {
        if (self->raft.configuration.servers[i].id == number) {
            return &self->raft.configuration.servers[i];
        }
    }
    return NULL;
}

static void on_changed(struct raft_change *request, int status)
{
    struct group *self = request->data;

    self->change_runs = false;
    if (status != 0 && !self->closing) {
        log_warn("a change of the group was not made: %s", raft_strerror(status));
    }
}

/* The register wants it; false: nothing is to be done. */
static bool bring_in(struct group *self, const struct register_server *server)
{
    const struct raft_server *there = raft_server_of(self, server->number);
    int status;

    if (there == NULL) {
        status = raft_add(&self->raft, &self->change, server->number, server->address, on_changed);
    } else if (there->role != RAFT_VOTER) {
        status = raft_assign(&self->raft, &self->change, server->number, RAFT_VOTER, on_changed);
    } else {
        return false;
    }
    self->change_runs = status == 0;
    return true;
}

static bool is_wanted(const struct group *self, uint64_t number)
{
    const struct register_server *servers;
    size_t count = register_servers(self->settings.reg, &servers);

    for (size_t i = 0; i < count; i++) {
        if (servers[i].number == number) {
            return true;
        }
    }
    return false;
}

bool group_is_rid_of_removed(const struct group *self)
{
    for (unsigned i = 0; i < self->raft.configuration.n; i++) {
        if (!is_wanted(self, self->raft.configuration.servers[i].id)) {
            return false;
        }
    }
    return true;
}

/* Raft's configuration follows the register's servers, a step at a time. */
static void follow_register(struct group *self)
{
    const struct register_server *servers;
    size_t count = register_servers(self->settings.reg, &servers);

    for (size_t i = 0; i < count; i++) {
        if (bring_in(self, &servers[i])) {
            return;
        }
    }
    for (unsigned i = 0; count > 0 && i < self->raft.configuration.n; i++) {
        uint64_t number = self->raft.configuration.servers[i].id;

        if (!is_wanted(self, number)) {
            self->change_runs = raft_remove(&self->raft, &self->change, number, on_changed) == 0;
            return;
        }
    }
}

/* ---- life ---- */

static void on_barrier(struct raft_barrier *request, int status)
{
    struct group *self = request->data;

    self->barrier_runs = false;
    self->fresh = status == 0 && self->barrier_term == self->raft.current_term;
}

/* A new leader knows what was decided before only once an entry of its own is. */
static void become_fresh(struct group *self)
{
    self->barrier_term = self->raft.current_term;
    self->barrier_runs = raft_barrier(&self->raft, &self->barrier, on_barrier) == 0;
}

static void on_tick(uv_timer_t *timer)
{
    struct group *self = timer->data;
    bool leads = group_leads(self);

    if (self->raft.state == RAFT_UNAVAILABLE) {
        log_error("Raft has given up (%s): starting anew", raft_errmsg(&self->raft));
        exit(EXIT_FAILURE);
    }
    if (leads != self->led) {
        log_info("%s in term %llu", leads ? "leading the group" : "leading no longer",
                 self->raft.current_term);
        self->led = leads;
    }
    if (!leads || self->barrier_term != self->raft.current_term) {
        self->fresh = false;
    }
    if (leads && !self->fresh && !self->barrier_runs) {
        become_fresh(self);
    }
    if (leads && self->fresh && !self->change_runs) {
        follow_register(self);
    }
}

static lb_err bootstrap(struct group *self)
{
    struct raft_configuration configuration;
    int status;

    raft_configuration_init(&configuration);
    status = raft_configuration_add(&configuration, self->settings.number, self->settings.address,
                                    RAFT_VOTER);
    if (status == 0) {
        status = raft_bootstrap(&self->raft, &configuration);
    }
    raft_configuration_close(&configuration);
    /* RAFT_CANTBOOTSTRAP: it was done before. */
    return status == 0 || status == RAFT_CANTBOOTSTRAP ? LB_OK
           : status == RAFT_NOSPACE                    ? LB_NO_SPACE
                                                       : LB_IO;
}

static lb_err start_raft(struct group *self, const char **ret_reason)
{
    int status;
    lb_err err = LB_OK;

    self->raft.data = self;
    raft_set_election_timeout(&self->raft, GROUP_ELECTION_MS);
    raft_set_heartbeat_timeout(&self->raft, GROUP_HEARTBEAT_MS);
    raft_set_snapshot_threshold(&self->raft, GROUP_SNAPSHOT);
    raft_set_snapshot_trailing(&self->raft, GROUP_TRAILING);
    raft_set_pre_vote(&self->raft, true);
    raft_uv_set_segment_size(&self->io, GROUP_SEGMENT_BYTES);
    raft_uv_set_connect_retry_delay(&self->io, GROUP_ELECTION_MS / 2);
    self->send = self->io.send;
    self->io.send = counted_send;
    if (self->settings.is_first) {
        err = bootstrap(self);
    }
    if (err != LB_OK) {
        *ret_reason = "the register's folder takes nothing";
        return err;
    }
    status = raft_start(&self->raft);
    if (status != 0) {
        *ret_reason = raft_strerror(status);
        log_error("%s: %s", self->folder, raft_errmsg(&self->raft));
        return status == RAFT_NOSPACE ? LB_NO_SPACE : status == RAFT_CORRUPT ? LB_CORRUPT : LB_IO;
    }
    return LB_OK;
}

lb_err group_start(const struct group_settings *settings, struct group **ret_self,
                   const char **ret_reason)
{
    struct group *self = xcalloc(1, sizeof *self);
    lb_err err;
    int status;

    self->settings = *settings;
    self->folder = xstrdup(settings->folder);
    self->fsm = (struct raft_fsm){ .version = 1,
                                   .data = self,
                                   .apply = fsm_apply,
                                   .snapshot = fsm_snapshot,
                                   .restore = fsm_restore };
    self->barrier.data = self->change.data = self;
    self->io.version = 2;
    status =
        raft_uv_init(&self->io, settings->loop, self->folder, raft_wire_transport(settings->wire));
    if (status == 0) {
        status = raft_init(&self->raft, &self->io, &self->fsm, settings->number, settings->address);
    }
    if (status != 0) {
        *ret_reason = raft_strerror(status);
        log_error("%s: %s", self->folder, self->io.errmsg);
        return status == RAFT_NOSPACE ? LB_NO_SPACE : status == RAFT_CORRUPT ? LB_CORRUPT : LB_IO;
    }
    err = start_raft(self, ret_reason);
    if (err != LB_OK) {
        return err; /* the process ends: what libraft has opened is not closed one by one */
    }
    uv_timer_init(settings->loop, &self->tick);
    self->tick.data = self;
    uv_timer_start(&self->tick, on_tick, 0, GROUP_TICK_MS);
    self->holds = 2;
    *ret_self = self;
    return LB_OK;
}

static void closed_one(struct group *self)
{
    if (--self->holds == 0) {
        raft_uv_close(&self->io);
        self->on_closed(self->closed_ctx);
    }
}

static void on_tick_closed(uv_handle_t *handle)
{
    closed_one(handle->data);
}

static void on_raft_closed(struct raft *raft)
{
    closed_one(raft->data);
}

void group_close(struct group *self, void (*on_closed)(void *ctx), void *ctx)
{
    assert(!self->closing);
    self->closing = true;
    self->on_closed = on_closed;
    self->closed_ctx = ctx;
    uv_close((uv_handle_t *)&self->tick, on_tick_closed);
    raft_close(&self->raft, on_raft_closed);
}

void group_free(struct group **self)
{
    if (*self != NULL) {
        free((*self)->folder);
        free(*self);
        *self = NULL;
    }
}

/* ---- looking ---- */

bool group_leads(const struct group *self)
{
    return self->raft.state == RAFT_LEADER;
}

bool group_is_fresh(const struct group *self)
{
    return group_leads(self) && self->fresh && self->barrier_term == self->raft.current_term;
}

uint64_t group_leader(const struct group *self)
{
    const char *address;
    raft_id leader = 0;

    raft_leader((struct raft *)&self->raft, &leader, &address);
    return leader;
}

void group_look(const struct group *self, struct group_view *ret_view)
{
    *ret_view = (struct group_view){
        .number = self->raft.id,
        .leader = group_leader(self),
        .term = self->raft.current_term,
        .last_index = raft_last_index((struct raft *)&self->raft),
        .committed = self->raft.commit_index,
        .applied = self->raft.last_applied,
    };
}

void group_look_server(const struct group *self, uint64_t number, bool *ret_voter,
                       uint64_t *ret_lag)
{
    const struct raft_configuration *configuration = &self->raft.configuration;
    uint64_t last = raft_last_index((struct raft *)&self->raft);

    *ret_voter = false;
    *ret_lag = 0;
    for (unsigned i = 0; i < configuration->n; i++) {
        if (configuration->servers[i].id != number) {
            continue;
        }
        *ret_voter = configuration->servers[i].role == RAFT_VOTER;
        if (group_leads(self) && number != self->raft.id) {
            *ret_lag = last - self->raft.leader_state.progress[i].match_index;
        }
    }
}
