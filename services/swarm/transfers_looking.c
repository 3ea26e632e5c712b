/* What is to be seen of a transfer. */
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/magnet.h"
#include "services/swarm/select.h"
#include "services/swarm/transfers_inside.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is wanted of it, and how much of that is here. */
static void set_selected(const struct transfer *self, struct transfer_status *status)
{
    status->wanted_bytes = status->size_bytes;
    if (self->files == NULL)
        return;
    const struct layout *layout = &self->metainfo->layout;
    status->wanted_bytes = select_bytes(layout, self->files);
    status->have_bytes =
        self->opened ? select_have_bytes(layout, self->files, storage_have(self->storage)) : 0;
}

void transfer_status(const struct transfer *self, struct transfer_status *ret_status)
{
    struct torrent_stats stats = { 0 };
    if (self->running)
        torrent_get_stats(&self->torrent, &stats);
    *ret_status = (struct transfer_status){
        .infohash = self->infohash,
        .name = self->name,
        .note = self->note,
        .state = self->state,
        .size_bytes = self->metainfo != NULL ? self->metainfo->layout.content_length : 0,
        .have_bytes = self->running ? torrent_have_bytes(&self->torrent) : 0,
        .received_bytes = stats.received_bytes,
        .sent_bytes = stats.sent_bytes,
        .wasted_bytes = stats.wasted_bytes,
        .reused_bytes = self->reused_bytes,
        .receive_rate = stats.receive_rate,
        .send_rate = stats.send_rate,
        .peers = stats.peers,
        .seeds = stats.seeds,
        .receive_limit = self->share.bucket[LIMITS_RECEIVE].rate,
        .send_limit = self->share.bucket[LIMITS_SEND].rate,
        .verified_s = self->verified_s,
        .checked_bytes = self->checked_bytes,
        .damaged_bytes = self->damaged_bytes,
        .priority = self->priority,
        .queue = self->queue,
        .passing = self->place == OWNERSHIP_LEAVING || self->place == OWNERSHIP_LEFT,
        .mirror = self->place == OWNERSHIP_MIRROR,
    };
    set_selected(self, ret_status);
    if (self->running)
        ret_status->copies_permille = torrent_copies_permille(&self->torrent);
    ret_status->finished = transfer_finished(self);
    if (self->ended)
        ret_status->have_bytes = ret_status->wanted_bytes;
    if (ret_status->passing)
        ret_status->have_bytes = self->left_have_bytes;
    if (self->queue > 0)
        ret_status->state = TRANSFER_PAUSED;
    if (self->queue > 0)
        ret_status->note = self->turn_note;
    else if (self->state == TRANSFER_METADATA && stats.peers > 0)
        ret_status->note = "asking peers what it is";
    else if (self->note[0] == '\0' && self->state == TRANSFER_FETCHING && stats.peers == 0)
        ret_status->note = "looking for peers";
    else if (self->note[0] == '\0' && self->state == TRANSFER_FETCHING && stats.unchoking_us == 0)
        ret_status->note = "waiting for a peer to serve us";
}

char *transfers_path(const char *folder, const char *name)
{
    const size_t length = strlen(folder);
    const bool slash = length > 0 && folder[length - 1] == '/';
    return xasprintf("%s%s%s", folder, slash ? "" : "/", name);
}

char *transfer_path(const struct transfer *self)
{
    if (self->device != NULL)
        return xstrdup(self->device);
    if (self->metainfo == NULL)
        return xstrdup(self->folder);
    return transfers_path(self->folder, self->metainfo->name);
}

char *transfer_magnet(const struct transfer *self)
{
    struct magnet *magnet = xcalloc(1, sizeof *magnet);
    char *text = xmalloc(MAGNET_FORMAT_SIZE);
    memcpy(magnet->infohash, self->infohash, sizeof magnet->infohash);
    memcpy(magnet->infohash_v2, self->infohash_v2, sizeof magnet->infohash_v2);
    magnet->has_v1 = self->has_v1;
    magnet->has_v2 = self->has_v2;
    snprintf(magnet->name, sizeof magnet->name, "%.*s", (int)sizeof magnet->name - 1, self->name);
    for (uint32_t i = 0; self->metainfo != NULL && i < self->metainfo->web_seeds.count; i++) {
        const char *url = self->metainfo->web_seeds.items[i];
        if (strlen(url) < MAGNET_WEB_SEED_SIZE)
            snprintf(magnet->web_seeds[magnet->web_seeds_count++], MAGNET_WEB_SEED_SIZE, "%s", url);
    }
    if (magnet_format(magnet, text, MAGNET_FORMAT_SIZE) != LB_OK)
        text[0] = '\0';
    free(magnet);
    return text;
}

const struct metainfo *transfer_metainfo(const struct transfer *self)
{
    return self->metainfo;
}

uint32_t transfer_files_count(const struct transfer *self)
{
    return self->metainfo != NULL ? self->metainfo->layout.files_count : 0;
}

void transfer_file(const struct transfer *self, uint32_t index, struct transfer_file *ret_file)
{
    const struct layout *layout = &self->metainfo->layout;
    assert(index < layout->files_count);
    *ret_file = (struct transfer_file){
        .path = self->metainfo->paths[index],
        .size_bytes = layout->files[index].length,
        .selected = !layout->files[index].padding &&
                    (self->files == NULL || bitfield_has(self->files, index)),
    };
    if (self->ended && ret_file->selected)
        ret_file->have_bytes = ret_file->size_bytes;
    else if (self->opened)
        ret_file->have_bytes = select_file_have_bytes(layout, index, storage_have(self->storage));
}
