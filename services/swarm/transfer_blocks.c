/* A transfer's blocks: what comes in goes to the disk, what is asked for comes from it. */
#include "libcommon/memory.h"
#include "services/swarm/transfers_inside.h"

#include <stddef.h>
#include <stdlib.h>

/* ---- what comes in ---- */

void transfer_free_incoming(struct transfer *self, uint32_t piece)
{
    struct incoming *incoming = self->incoming != NULL ? self->incoming[piece] : NULL;
    if (incoming == NULL)
        return;
    self->incoming[piece] = NULL;
    self->incoming_count--;
    assembly_free(&incoming->assembly);
    free(incoming);
}

static void pause_writing(struct transfer *self, lb_err err)
{
    const char *problem = storage_problem(self->storage);
    if (self->state != TRANSFER_PAUSED) {
        transfer_set_state(self, TRANSFER_PAUSED, problem[0] != '\0' ? problem : lb_err_text(err));
        transfer_log(self, "pauses");
    }
    torrent_pause(&self->torrent, true, transfers_now_ms(self->owner));
    self->retry = true;
    self->retry_ms = transfers_now_ms(self->owner) + TRANSFERS_RETRY_MS;
    transfers_arm(self->owner, self->retry_ms);
}

static void on_piece_finished(void *ctx, lb_err err)
{
    struct incoming *incoming = ctx;
    struct transfer *self = incoming->transfer;
    const uint32_t piece = incoming->piece;
    const uint64_t now_ms = transfers_now_ms(self->owner);
    transfers_touch(self);
    if (err == LB_OK || err == LB_CORRUPT) {
        const bool paused = incoming->failed;
        torrent_judged(&self->torrent, piece, err, assembly_digests(incoming->assembly), now_ms);
        transfer_free_incoming(self, piece);
        if (paused && self->state == TRANSFER_PAUSED) {
            transfer_go_on(self);
            transfer_log(self, "goes on");
        }
        return;
    }
    if (err == LB_CANCELLED) {
        transfer_free_incoming(self, piece);
        return;
    }
    /* The folder may be another by now, or a device is gone: begin anew. */
    if (err == LB_NOT_FOUND || err == LB_DENIED) {
        transfer_try_again(self, err);
        return;
    }
    incoming->failed = true;
    pause_writing(self, err);
}

void transfer_retry_writing(struct transfer *self)
{
    self->retry = false;
    bool any = false;
    const uint32_t pieces = self->metainfo->layout.piece_count;
    for (uint32_t i = 0; i < pieces && self->incoming_count > 0; i++) {
        struct incoming *incoming = self->incoming[i];
        if (incoming == NULL || !incoming->failed)
            continue;
        any = true;
        assembly_finish(incoming->assembly, on_piece_finished, incoming);
    }
    if (!any && self->state == TRANSFER_PAUSED)
        transfer_go_on(self);
}

static struct incoming *incoming_of(struct transfer *self, uint32_t piece)
{
    if (self->incoming == NULL)
        self->incoming = xcalloc(self->metainfo->layout.piece_count, sizeof(struct incoming *));
    if (self->incoming[piece] != NULL)
        return self->incoming[piece];
    struct assembly *assembly = assembly_new(self->storage, piece);
    if (assembly == NULL)
        return NULL;
    struct incoming *incoming = xcalloc(1, sizeof *incoming);
    *incoming = (struct incoming){ .transfer = self, .assembly = assembly, .piece = piece };
    self->incoming[piece] = incoming;
    self->incoming_count++;
    return incoming;
}

void transfer_take_block(struct transfer *self, const struct wire_message *message,
                         struct disk_block **memory)
{
    struct incoming *incoming = incoming_of(self, message->piece);
    if (incoming == NULL) {
        torrent_abandon(&self->torrent, message->piece);
        pause_writing(self, LB_IO);
        return;
    }
    const uint32_t block = message->offset / LAYOUT_BLOCK_SIZE;
    if (memory != NULL && *memory != NULL)
        (void)assembly_take(incoming->assembly, block, memory);
    else
        (void)assembly_put(incoming->assembly, block, message->payload.data);
}

void transfer_verify(struct transfer *self, uint32_t piece)
{
    struct incoming *incoming = self->incoming != NULL ? self->incoming[piece] : NULL;
    if (incoming == NULL || !assembly_complete(incoming->assembly)) {
        transfer_free_incoming(self, piece);
        torrent_verified(&self->torrent, piece, LB_IO, transfers_now_ms(self->owner));
        return;
    }
    if (torrent_wants_digests(&self->torrent, piece))
        assembly_want_digests(incoming->assembly);
    assembly_finish(incoming->assembly, on_piece_finished, incoming);
}

/* Pieces begun could not be written out early: their memory is given up until there is room. */
void transfer_give_up_incoming(struct transfer *self, lb_err err)
{
    const uint32_t pieces = self->metainfo->layout.piece_count;
    for (uint32_t i = 0; i < pieces && self->incoming_count > 0; i++) {
        if (self->incoming[i] == NULL)
            continue;
        transfer_free_incoming(self, i);
        torrent_abandon(&self->torrent, i);
    }
    pause_writing(self, err);
}

void transfer_drop_incoming(struct transfer *self)
{
    for (uint32_t i = 0; self->incoming_count > 0; i++)
        transfer_free_incoming(self, i);
    free(self->incoming);
    self->incoming = NULL;
}

/* ---- what goes out ---- */

static void end_outgoing(struct outgoing *outgoing, bool sent)
{
    struct transfer *self = outgoing->transfer;
    if (outgoing->previous != NULL)
        outgoing->previous->next = outgoing->next;
    else
        self->outgoing = outgoing->next;
    if (outgoing->next != NULL)
        outgoing->next->previous = outgoing->previous;
    disk_data_release(self->owner->disk, &outgoing->read.data);
    torrent_sent(&self->torrent, outgoing->peer, &outgoing->block.message, sent,
                 transfers_now_ms(self->owner));
    transfers_touch(self);
    free(outgoing);
}

static void on_block_done(struct connection_block *block, bool sent)
{
    struct outgoing *outgoing =
        (struct outgoing *)((char *)block - offsetof(struct outgoing, block));
    end_outgoing(outgoing, sent);
}

/* Who counts the padding behind a file to its last piece gets it, too. */
static void add_padding(struct outgoing *outgoing)
{
    static const uint8_t zeros[WIRE_BLOCK_SIZE];
    struct disk_data *data = &outgoing->read.data;
    if (outgoing->padding > 0)
        data->parts[data->parts_count++] =
            (struct disk_part){ .data = zeros, .size = outgoing->padding };
}

static void queue_block(struct outgoing *outgoing)
{
    add_padding(outgoing);
    struct connection *connection = transfer_connection(outgoing->transfer, outgoing->peer);
    if (connection == NULL) {
        end_outgoing(outgoing, false);
        return;
    }
    outgoing->queued = true;
    torrent_block_ready(&outgoing->transfer->torrent, outgoing->peer,
                        transfers_now_ms(outgoing->transfer->owner));
    connection_send_block(connection, &outgoing->block);
}

static void on_read(struct disk_read *read, lb_err err)
{
    struct outgoing *outgoing = (struct outgoing *)((char *)read - offsetof(struct outgoing, read));
    struct transfer *self = outgoing->transfer;
    outgoing->reading = false;
    transfers_touch(self);
    if (err == LB_OK) {
        queue_block(outgoing);
        return;
    }
    end_outgoing(outgoing, false);
}

/* Bytes of a block that lie behind the end of the file (layout.h, aligned). */
static uint32_t padding_in(const struct transfer *self, const struct torrent_action *action)
{
    const struct wire_message *block = &action->message;
    const uint32_t size = layout_piece_size(&self->metainfo->layout, block->piece);
    const uint32_t end = block->offset + block->length;
    if (end <= size)
        return 0;
    return block->offset >= size ? block->length : end - size;
}

void transfer_send_block(struct transfer *self, const struct torrent_action *action)
{
    struct outgoing *outgoing = xcalloc(1, sizeof *outgoing);
    outgoing->transfer = self;
    outgoing->peer = action->peer;
    outgoing->block = (struct connection_block){
        .message = action->message,
        .data = &outgoing->read.data,
        .done = on_block_done,
    };
    outgoing->read.piece = action->message.piece;
    outgoing->read.offset = action->message.offset;
    outgoing->read.size = action->message.length;
    outgoing->read.done = on_read;
    outgoing->next = self->outgoing;
    if (self->outgoing != NULL)
        self->outgoing->previous = outgoing;
    self->outgoing = outgoing;
    outgoing->padding = padding_in(self, action);
    outgoing->read.size -= outgoing->padding;
    if (outgoing->read.size == 0) {
        queue_block(outgoing);
        return;
    }
    outgoing->reading = true;
    if (storage_read(self->storage, &outgoing->read)) {
        outgoing->reading = false;
        queue_block(outgoing);
    }
}

void transfer_drop_outgoing(struct transfer *self)
{
    struct outgoing *next = NULL;
    for (struct outgoing *at = self->outgoing; at != NULL; at = next) {
        next = at->next;
        if (at->reading)
            disk_read_cancel(&at->read);
        end_outgoing(at, false);
    }
}
