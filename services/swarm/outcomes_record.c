/* Outcomes as they are kept: bencoded, the oldest first. */
#include "libcommon/bencode.h"
#include "libcommon/memory.h"
#include "services/swarm/name.h"
#include "services/swarm/outcomes.h"

#include <stdlib.h>
#include <string.h>

#define VERSION     1
#define ITEM_SIZE   384u /* encoded, at most */
#define ITEM_TOKENS 24u
#define HEAD_SIZE   64u

/* ---- writing ---- */

static uint64_t to_wall_s(const struct outcomes_clock *clock, uint64_t at_ms)
{
    const uint64_t ago_s = (clock->now_ms - at_ms) / 1000;
    return ago_s < clock->wall_s ? clock->wall_s - ago_s : 0;
}

static void put(struct writer *to, const struct outcome *outcome,
                const struct outcomes_clock *clock)
{
    uint8_t compact[ADDRESS_COMPACT_V6];
    const size_t size = address_to_compact(&outcome->address, compact);
    bencode_put_dict(to);
    bencode_put_text(to, "address");
    bencode_put_string(to, bytes_of(compact, size));
    bencode_put_text(to, "client");
    bencode_put_text(to, outcome->client);
    bencode_put_text(to, "cooperative");
    bencode_put_int(to, outcome->cooperative);
    bencode_put_text(to, "finished");
    bencode_put_int(to, (int64_t)to_wall_s(clock, outcome->finished_ms));
    bencode_put_text(to, "host");
    bencode_put_text(to, outcome->host);
    bencode_put_text(to, "received");
    bencode_put_int(to, (int64_t)outcome->received_bytes);
    bencode_put_text(to, "sent");
    bencode_put_int(to, (int64_t)outcome->sent_bytes);
    bencode_put_text(to, "verified");
    bencode_put_int(to, outcome->verified);
    bencode_put_end(to);
}

void outcomes_encode(const struct outcomes *self, const struct outcomes_clock *clock,
                     uint8_t **ret_data, size_t *ret_size)
{
    const size_t capacity = HEAD_SIZE + (size_t)self->count * ITEM_SIZE;
    uint8_t *data = xmalloc(capacity);
    struct writer writer;
    writer_init(&writer, data, capacity);
    bencode_put_dict(&writer);
    bencode_put_text(&writer, "outcomes");
    bencode_put_list(&writer);
    for (uint32_t i = 0; i < self->count; i++)
        put(&writer, &self->items[(self->oldest + i) % self->count], clock);
    bencode_put_end(&writer);
    bencode_put_text(&writer, "version");
    bencode_put_int(&writer, VERSION);
    bencode_put_end(&writer);
    *ret_data = data;
    *ret_size = writer.size;
}

/* ---- reading ---- */

static uint64_t number(const struct bencode *bencode, uint32_t dict, const char *key)
{
    int64_t value = 0;
    if (!bencode_int(bencode, bencode_find(bencode, dict, key), &value) || value < 0)
        return 0;
    return (uint64_t)value;
}

static bool read(const struct bencode *bencode, uint32_t dict, const struct outcomes_clock *clock,
                 struct outcome *ret_outcome)
{
    const uint64_t finished_s = number(bencode, dict, "finished");
    struct outcome outcome = {
        .received_bytes = number(bencode, dict, "received"),
        .sent_bytes = number(bencode, dict, "sent"),
        .verified = number(bencode, dict, "verified") != 0,
        .cooperative = number(bencode, dict, "cooperative") != 0,
    };
    if (address_from_compact(bencode_string(bencode, bencode_find(bencode, dict, "address")),
                             &outcome.address) != LB_OK)
        return false;
    (void)!name_make_safe(bencode_string(bencode, bencode_find(bencode, dict, "client")),
                          outcome.client, sizeof outcome.client);
    (void)!name_make_safe(bencode_string(bencode, bencode_find(bencode, dict, "host")),
                          outcome.host, sizeof outcome.host);
    /* Before the machine was started is below 0, which differences of this clock bear. */
    outcome.finished_ms =
        clock->now_ms - (finished_s < clock->wall_s ? clock->wall_s - finished_s : 0) * 1000;
    if (outcome.finished_ms == 0)
        outcome.finished_ms = 1;
    *ret_outcome = outcome;
    return true;
}

lb_err outcomes_parse(struct outcomes *self, struct bytes data, const struct outcomes_clock *clock)
{
    const struct bencode_limits limits = { .depth_max = 4, .strict_order = false };
    const uint32_t tokens_max = OUTCOMES_MAX * ITEM_TOKENS;
    struct bencode bencode;
    if (data.size > HEAD_SIZE + OUTCOMES_MAX * ITEM_SIZE)
        return LB_TOO_BIG;
    struct bencode_token *tokens = xcalloc(tokens_max, sizeof *tokens);
    lb_err err = bencode_parse(&bencode, data, tokens, tokens_max, limits, NULL);
    if (err == LB_OK &&
        (tokens[0].type != BENCODE_DICT || number(&bencode, 0, "version") != VERSION))
        err = LB_CORRUPT;
    const uint32_t list =
        err == LB_OK ? bencode_find_type(&bencode, 0, "outcomes", BENCODE_LIST) : BENCODE_NONE;
    uint32_t at = list != BENCODE_NONE ? bencode_first(&bencode, list) : BENCODE_NONE;
    for (; at != BENCODE_NONE; at = bencode_after(&bencode, list, at)) {
        struct outcome outcome;
        if (tokens[at].type == BENCODE_DICT && read(&bencode, at, clock, &outcome))
            outcomes_add(self, &outcome);
    }
    free(tokens);
    return err == LB_OK ? LB_OK : LB_CORRUPT;
}
