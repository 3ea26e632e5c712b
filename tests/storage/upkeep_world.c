#include "tests/storage/upkeep_world.h"

#include <stdio.h>
#include <string.h>

struct node_id upkeep_world_id(unsigned byte)
{
    struct node_id id = { .bytes = { (uint8_t)byte } };

    return id;
}

/* ---- the store ---- */

static size_t place_of(const struct upkeep_world *self, const struct node_id *target)
{
    size_t from = 0;
    size_t to = self->keys_count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (node_id_compare(&self->keys[middle].target, target) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct upkeep_item *upkeep_world_find(struct upkeep_world *self, const struct node_id *target)
{
    size_t place = place_of(self, target);

    if (place == self->keys_count || !node_id_equal(&self->keys[place].target, target))
        return NULL;
    return &self->keys[place];
}

void upkeep_world_hold(struct upkeep_world *self, const struct upkeep_item *item)
{
    size_t place = place_of(self, &item->target);

    if (upkeep_world_find(self, &item->target) == NULL) {
        assert_true(self->keys_count < WORLD_KEYS_MAX);
        memmove(&self->keys[place + 1], &self->keys[place],
                (self->keys_count - place) * sizeof *self->keys);
        self->keys_count++;
    }
    self->keys[place] = *item;
}

static void drop(struct upkeep_world *self, const struct node_id *target)
{
    size_t place = place_of(self, target);

    assert_non_null(upkeep_world_find(self, target));
    self->keys_count--;
    memmove(&self->keys[place], &self->keys[place + 1],
            (self->keys_count - place) * sizeof *self->keys);
}

static bool is_ours(const struct upkeep_world *self, const struct upkeep_item *item)
{
    return self->share_last == 0 || (item->target.bytes[0] >= self->share_first &&
                                     item->target.bytes[0] <= self->share_last);
}

static bool next_key(void *ctx, const struct node_id *from, struct upkeep_item *ret_item)
{
    struct upkeep_world *self = ctx;
    size_t place = place_of(self, from);

    while (place < self->keys_count && !is_ours(self, &self->keys[place]))
        place++;
    if (place == self->keys_count)
        return false;
    *ret_item = self->keys[place];
    return true;
}

static bool is_before(const struct upkeep_item *a, const struct upkeep_item *b)
{
    if (a->check_s != b->check_s)
        return a->check_s < b->check_s;
    return node_id_compare(&a->target, &b->target) < 0;
}

static bool due_key(void *ctx, uint32_t skip, struct upkeep_item *ret_item)
{
    struct upkeep_world *self = ctx;
    const struct upkeep_item *last = NULL;

    for (uint32_t i = 0; i <= skip; i++) {
        const struct upkeep_item *best = NULL;

        for (size_t k = 0; k < self->keys_count; k++) {
            const struct upkeep_item *item = &self->keys[k];

            if (!is_ours(self, item))
                continue;
            if ((last == NULL || is_before(last, item)) && (best == NULL || is_before(item, best)))
                best = item;
        }
        if (best == NULL)
            return false;
        last = best;
    }
    *ret_item = *last;
    return true;
}

static uint32_t overdue_keys(void *ctx, uint64_t before_s)
{
    struct upkeep_world *self = ctx;
    uint32_t count = 0;

    for (size_t i = 0; i < self->keys_count; i++)
        count += is_ours(self, &self->keys[i]) && self->keys[i].check_s < before_s;
    return count;
}

struct upkeep_store upkeep_world_store(struct upkeep_world *self)
{
    return (struct upkeep_store){
        .ctx = self, .next = next_key, .due = due_key, .overdue = overdue_keys
    };
}

/* ---- the network ---- */

void upkeep_world_init(struct upkeep_world *self, unsigned self_byte, uint64_t seed)
{
    const struct upkeep_options options = { .self_id = upkeep_world_id(self_byte),
                                            .store = upkeep_world_store(self),
                                            .check_least_s = 600,
                                            .seed = seed };

    *self = (struct upkeep_world){ .now_ms = WORLD_BEGIN_S * 1000ull };
    self->check = (struct upkeep_check){ .nodes = 20, .holders = 20 };
    self->upkeep = upkeep_new(&options, self->now_ms);
}

void upkeep_world_done(struct upkeep_world *self)
{
    upkeep_free(&self->upkeep);
    assert_null(self->upkeep);
}

static void say(struct upkeep_world *self, const char *word, const struct upkeep_action *action)
{
    size_t used = strlen(self->trace);

    snprintf(self->trace + used, sizeof self->trace - used, "%s%s:%02x", used > 0 ? " " : "", word,
             action->step == UPKEEP_CHECK || action->step == UPKEEP_SET ||
                     action->step == UPKEEP_DROP
                 ? action->target.bytes[0]
                 : action->contact.id.bytes[0]);
}

static void say_keys(struct upkeep_world *self, const struct upkeep_action *action)
{
    for (size_t i = 0; i < action->digests_count; i++) {
        size_t used = strlen(self->trace);

        snprintf(self->trace + used, sizeof self->trace - used, "%c%02x", i == 0 ? '(' : ',',
                 action->digests[i].target.bytes[0]);
        if (i + 1 == action->digests_count)
            snprintf(self->trace + used + 3, sizeof self->trace - used - 3, ")");
    }
}

static void say_key(struct upkeep_world *self, const char *word, const struct upkeep_action *action)
{
    size_t used;

    say(self, word, action);
    used = strlen(self->trace);
    snprintf(self->trace + used, sizeof self->trace - used, "(%02x)", action->target.bytes[0]);
}

static void answer(struct upkeep_world *self, const struct upkeep_action *action)
{
    static const uint8_t token[] = "token";
    enum manners manners = self->manners[action->contact.id.bytes[0]];
    char need[UPKEEP_DIGESTS_MAX];
    struct upkeep_answer reply = { .outcome = UPKEEP_DONE,
                                   .littlebird = manners < MANNERS_FOREIGN,
                                   .need = need,
                                   .need_size = action->digests_count,
                                   .token = token,
                                   .token_size = sizeof token };

    memset(need,
           manners == MANNERS_WANTS ? UPKEEP_WANTS
           : manners == MANNERS_HAS ? UPKEEP_HAS
                                    : UPKEEP_DECLINES,
           sizeof need);
    if (action->step == UPKEEP_OFFER)
        assert_true(manners < MANNERS_FOREIGN || manners == MANNERS_SILENT);
    if (action->step == UPKEEP_PUT) {
        assert_int_equal(action->token_size, sizeof token);
        assert_memory_equal(action->token, token, sizeof token);
    }
    reply.has_item = manners == MANNERS_FOREIGN_HAS;
    reply.seq = action->seq;
    if (manners == MANNERS_SILENT)
        reply = (struct upkeep_answer){ .outcome = UPKEEP_SILENT };
    upkeep_answered(self->upkeep, action->ticket, &reply, self->now_ms);
}

static void write_item(struct upkeep_world *self, const struct upkeep_action *action)
{
    struct upkeep_item *item = upkeep_world_find(self, &action->target);

    assert_non_null(item);
    if (action->step == UPKEEP_DROP)
        drop(self, &action->target);
    else
        *item = action->item;
    upkeep_written(self->upkeep, action->ticket, true, self->now_ms);
}

static void act(struct upkeep_world *self, const struct upkeep_action *action)
{
    static const char *const words[] = {
        [UPKEEP_CHECK] = "check", [UPKEEP_PING] = "ping", [UPKEEP_OFFER] = "offer",
        [UPKEEP_GET] = "get",     [UPKEEP_PUT] = "put",   [UPKEEP_SET] = "set",
        [UPKEEP_DROP] = "drop",
    };
    struct upkeep_check check = self->check;

    self->begun[action->step]++;
    switch (action->step) {
    case UPKEEP_CHECK:
        say(self, words[action->step], action);
        check.seq = action->seq;
        if (!self->holds_back)
            upkeep_checked(self->upkeep, action->ticket, &check, self->now_ms);
        break;
    case UPKEEP_SET:
    case UPKEEP_DROP:
        say(self, words[action->step], action);
        write_item(self, action);
        break;
    case UPKEEP_GET:
    case UPKEEP_PUT:
        say_key(self, words[action->step], action);
        answer(self, action);
        break;
    default:
        say(self, words[action->step], action);
        say_keys(self, action);
        answer(self, action);
        break;
    }
}

void upkeep_world_run(struct upkeep_world *self, uint64_t until_ms)
{
    struct upkeep_action action;

    for (;;) {
        uint64_t deadline_ms;

        while (upkeep_next(self->upkeep, self->now_ms, &action))
            act(self, &action);
        assert_null(upkeep_broken(self->upkeep));
        deadline_ms = upkeep_deadline_ms(self->upkeep);
        if (deadline_ms > until_ms)
            break;
        if (deadline_ms > self->now_ms)
            self->now_ms = deadline_ms;
    }
    self->now_ms = until_ms;
}
