#include "services/gateway/fold.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static int compare_bytes(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return a->len > 0 ? memcmp(a->data, b->data, a->len) : 0;
}

/* ---- transfers ---- */

static int rank(const Lb__Swarm__Transfer *transfer)
{
    return transfer->mirror ? 2 : transfer->passing ? 1 : 0;
}

/* Those of one infohash together, the one that counts first. */
static int compare_transfers(const void *a, const void *b)
{
    const Lb__Swarm__Transfer *one = *(Lb__Swarm__Transfer *const *)a;
    const Lb__Swarm__Transfer *other = *(Lb__Swarm__Transfer *const *)b;
    const int order = compare_bytes(&one->infohash, &other->infohash);

    return order != 0 ? order : rank(one) - rank(other);
}

static void add_mirror(Lb__Swarm__Transfer *self, const Lb__Swarm__Transfer *mirror)
{
    self->sent_bytes += mirror->sent_bytes;
    self->send_rate += mirror->send_rate;
    self->peers += mirror->peers;
    self->seeds += mirror->seeds;
}

void fold_transfers(Lb__Swarm__Transfers *self)
{
    size_t kept = 0;

    if (self->n_transfers > 1)
        qsort(self->transfers, self->n_transfers, sizeof(*self->transfers), compare_transfers);
    for (size_t i = 0; i < self->n_transfers; i++) {
        Lb__Swarm__Transfer *transfer = self->transfers[i];
        Lb__Swarm__Transfer *before = kept > 0 ? self->transfers[kept - 1] : NULL;
        const bool same = before && compare_bytes(&before->infohash, &transfer->infohash) == 0;

        if (same && transfer->mirror)
            add_mirror(before, transfer);
        else if (!same && !transfer->mirror)
            self->transfers[kept++] = transfer;
    }
    self->n_transfers = kept;
}

/* ---- peers ---- */

/* Of one address together, in the order in which they were told. */
static int compare_peers(const void *a, const void *b)
{
    return compare_bytes(&(*(Lb__Swarm__Peer *const *)a)->address,
                         &(*(Lb__Swarm__Peer *const *)b)->address);
}

static void add_peer(Lb__Swarm__Peer *self, const Lb__Swarm__Peer *again)
{
    if (again->have_bytes > self->have_bytes)
        self->have_bytes = again->have_bytes;
    if (again->finished_s > self->finished_s)
        self->finished_s = again->finished_s;
    self->received_bytes += again->received_bytes;
    self->sent_bytes += again->sent_bytes;
    self->receive_rate += again->receive_rate;
    self->send_rate += again->send_rate;
    self->connected |= again->connected;
    self->verified |= again->verified;
    self->cooperative |= again->cooperative;
}

void fold_peers(Lb__Swarm__Peers *self)
{
    size_t kept = 0;

    if (self->n_peers > 1)
        qsort(self->peers, self->n_peers, sizeof(*self->peers), compare_peers);
    for (size_t i = 0; i < self->n_peers; i++) {
        Lb__Swarm__Peer *before = kept > 0 ? self->peers[kept - 1] : NULL;

        if (before && compare_bytes(&before->address, &self->peers[i]->address) == 0)
            add_peer(before, self->peers[i]);
        else
            self->peers[kept++] = self->peers[i];
    }
    self->n_peers = kept;
}
