#include "services/storage/tree.h"

#include "libcommon/bencode.h"
#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "services/storage/item.h"
#include "services/storage/value.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define VERSION       1
#define ROOT_TOKENS   16u
#define ROOT_KIDS_MAX 46u /* targets that fit into 1000 bytes beside the other three keys */
#define KID_SIZE      ((size_t)NODE_ID_SIZE)

static size_t divide_up(size_t value, size_t by)
{
    return (value + by - 1) / by;
}

/* The shape that a size has: everything else in a tree follows from it. */
struct shape {
    size_t size_bytes;
    size_t leaves;
    size_t branches; /* 0: the root holds the leaves */
};

static struct shape shape_of(size_t size_bytes)
{
    struct shape shape = { .size_bytes = size_bytes,
                           .leaves = divide_up(size_bytes, TREE_LEAF_SIZE) };

    if (shape.leaves > ROOT_KIDS_MAX)
        shape.branches = divide_up(shape.leaves, TREE_FANOUT);
    return shape;
}

static size_t leaf_size(const struct shape *shape, size_t leaf)
{
    return leaf + 1 < shape->leaves ? TREE_LEAF_SIZE
                                    : shape->size_bytes - leaf * (size_t)TREE_LEAF_SIZE;
}

static size_t branch_kids(const struct shape *shape, size_t branch)
{
    return branch + 1 < shape->branches ? TREE_FANOUT
                                        : shape->leaves - branch * (size_t)TREE_FANOUT;
}

/* ---- writing ---- */

static void add_part(struct tree *self, struct writer *writer, size_t start)
{
    struct tree_part *part = &self->parts[self->parts_count++];
    uint8_t digest[SHA1_SIZE];

    assert(!writer->overflow && writer->size - start <= ITEM_VALUE_MAX);
    part->value = bytes_of(writer->data + start, writer->size - start);
    sha1(part->value, digest);
    part->target = node_id_from(digest);
}

static void add_string(struct tree *self, struct writer *writer, struct bytes content)
{
    size_t start = writer->size;

    bencode_put_string(writer, content);
    add_part(self, writer, start);
}

static size_t collect_kids(const struct tree *self, size_t first, size_t count, uint8_t *ret_kids)
{
    for (size_t i = 0; i < count; i++)
        memcpy(ret_kids + i * KID_SIZE, self->parts[first + i].target.bytes, KID_SIZE);
    return count * KID_SIZE;
}

static void add_branches(struct tree *self, struct writer *writer, const struct shape *shape)
{
    uint8_t kids[TREE_FANOUT * KID_SIZE];

    for (size_t i = 0; i < shape->branches; i++) {
        size_t size = collect_kids(self, i * TREE_FANOUT, branch_kids(shape, i), kids);

        add_string(self, writer, bytes_of(kids, size));
    }
}

static void add_root(struct tree *self, struct writer *writer, const struct shape *shape)
{
    uint8_t kids[ROOT_KIDS_MAX * KID_SIZE];
    size_t start = writer->size;
    size_t size = shape->branches > 0 ? collect_kids(self, shape->leaves, shape->branches, kids)
                                      : collect_kids(self, 0, shape->leaves, kids);

    bencode_put_dict(writer);
    bencode_put_text(writer, "depth");
    bencode_put_int(writer, shape->branches > 0 ? 2 : 1);
    bencode_put_text(writer, "kids");
    bencode_put_string(writer, bytes_of(kids, size));
    bencode_put_text(writer, "lbtree");
    bencode_put_int(writer, VERSION);
    bencode_put_text(writer, "size");
    bencode_put_int(writer, (int64_t)shape->size_bytes);
    bencode_put_end(writer);
    add_part(self, writer, start);
}

lb_err tree_new(struct bytes value, struct tree **ret_tree)
{
    struct shape shape;
    struct tree *self;
    struct writer writer;
    size_t capacity;

    if (value.size <= VALUE_PLAIN_MAX)
        return LB_INVALID;
    if (value.size > VALUE_SIZE_MAX)
        return LB_TOO_BIG;
    shape = shape_of(value.size);
    self = xcalloc(1, sizeof *self);
    self->parts = xcalloc(shape.leaves + shape.branches + 1, sizeof *self->parts);
    capacity = (shape.leaves + shape.branches + 1) * (size_t)ITEM_VALUE_MAX;
    self->memory = xmalloc(capacity);
    writer_init(&writer, self->memory, capacity);
    for (size_t i = 0; i < shape.leaves; i++)
        add_string(self, &writer,
                   bytes_of(value.data + i * (size_t)TREE_LEAF_SIZE, leaf_size(&shape, i)));
    add_branches(self, &writer, &shape);
    add_root(self, &writer, &shape);
    *ret_tree = self;
    return LB_OK;
}

void tree_free(struct tree **self)
{
    if (*self == NULL)
        return;
    free((*self)->parts);
    free((*self)->memory);
    free(*self);
    *self = NULL;
}

const struct tree_part *tree_root(const struct tree *self)
{
    return &self->parts[self->parts_count - 1];
}

/* ---- reading ---- */

enum part_state { PART_UNKNOWN, PART_WANTED, PART_ASKED, PART_HERE };

struct part {
    enum part_state state;
    unsigned tries;
    struct node_id target; /* unless PART_UNKNOWN */
};

struct tree_reader {
    struct shape shape;
    struct part *parts; /* branches, then leaves */
    size_t parts_count;
    size_t next; /* no part before it is wanted */
    size_t leaves_here;
    uint8_t *value;
};

static lb_err parse_dict(struct bytes value, struct bencode_token *tokens,
                         struct bencode *ret_parsed)
{
    const struct bencode_limits limits = { .depth_max = 4, .strict_order = true };
    lb_err err = bencode_parse(ret_parsed, value, tokens, ROOT_TOKENS, limits, NULL);

    if (err != LB_OK)
        return err;
    return ret_parsed->tokens[0].type == BENCODE_DICT ? LB_OK : LB_INVALID;
}

bool tree_is_root(struct bytes value)
{
    struct bencode_token tokens[ROOT_TOKENS];
    struct bencode parsed;

    return parse_dict(value, tokens, &parsed) == LB_OK &&
           bencode_find_type(&parsed, 0, "lbtree", BENCODE_INT) != BENCODE_NONE;
}

static void learn_targets(struct tree_reader *self, size_t first, struct bytes kids)
{
    for (size_t i = 0; i < kids.size / KID_SIZE; i++) {
        struct part *part = &self->parts[first + i];

        part->state = PART_WANTED;
        part->target = node_id_from(kids.data + i * KID_SIZE);
    }
    if (first < self->next)
        self->next = first;
}

static lb_err check_root(const struct bencode *root, size_t size_max, struct shape *ret_shape,
                         struct bytes *ret_kids)
{
    int64_t version = 0;
    int64_t depth = 0;
    int64_t size = 0;
    struct bytes kids = bencode_string(root, bencode_find_type(root, 0, "kids", BENCODE_STRING));
    struct shape shape;

    if (!bencode_int(root, bencode_find(root, 0, "lbtree"), &version) || version != VERSION)
        return LB_UNSUPPORTED;
    if (!bencode_int(root, bencode_find(root, 0, "depth"), &depth) ||
        !bencode_int(root, bencode_find(root, 0, "size"), &size) || size <= 0)
        return LB_CORRUPT;
    if ((uint64_t)size > size_max)
        return LB_TOO_BIG;
    shape = shape_of((size_t)size);
    if (depth != (shape.branches > 0 ? 2 : 1) ||
        kids.size != (shape.branches > 0 ? shape.branches : shape.leaves) * KID_SIZE)
        return LB_CORRUPT;
    *ret_shape = shape;
    *ret_kids = kids;
    return LB_OK;
}

lb_err tree_reader_new(struct bytes root, size_t size_max, struct tree_reader **ret_reader)
{
    struct bencode_token tokens[ROOT_TOKENS];
    struct bencode parsed;
    struct tree_reader *self;
    struct shape shape;
    struct bytes kids;
    lb_err err;

    if (parse_dict(root, tokens, &parsed) != LB_OK)
        return LB_CORRUPT;
    err = check_root(&parsed, size_max, &shape, &kids);
    if (err != LB_OK)
        return err;
    self = xcalloc(1, sizeof *self);
    self->shape = shape;
    self->parts_count = shape.branches + shape.leaves;
    self->parts = xcalloc(self->parts_count, sizeof *self->parts);
    self->value = xmalloc(shape.size_bytes);
    learn_targets(self, 0, kids);
    *ret_reader = self;
    return LB_OK;
}

void tree_reader_free(struct tree_reader **self)
{
    if (*self == NULL)
        return;
    free((*self)->parts);
    free((*self)->value);
    free(*self);
    *self = NULL;
}

bool tree_reader_next(struct tree_reader *self, size_t *ret_part, struct node_id *ret_target)
{
    for (; self->next < self->parts_count; self->next++) {
        struct part *part = &self->parts[self->next];

        if (part->state != PART_WANTED)
            continue;
        part->state = PART_ASKED;
        part->tries++;
        *ret_part = self->next++;
        *ret_target = part->target;
        return true;
    }
    return false;
}

static lb_err give_branch(struct tree_reader *self, size_t branch, struct bytes kids)
{
    if (kids.size != branch_kids(&self->shape, branch) * KID_SIZE)
        return LB_CORRUPT;
    learn_targets(self, self->shape.branches + branch * TREE_FANOUT, kids);
    return LB_OK;
}

static lb_err give_leaf(struct tree_reader *self, size_t leaf, struct bytes content)
{
    if (content.size != leaf_size(&self->shape, leaf))
        return LB_CORRUPT;
    memcpy(self->value + leaf * TREE_LEAF_SIZE, content.data, content.size);
    self->leaves_here++;
    return LB_OK;
}

lb_err tree_reader_give(struct tree_reader *self, size_t part, struct bytes value)
{
    struct bytes content;
    lb_err err;

    assert(part < self->parts_count && self->parts[part].state == PART_ASKED);
    if (value_unwrap(value, &content) != VALUE_PLAIN)
        return LB_CORRUPT;
    err = part < self->shape.branches ? give_branch(self, part, content)
                                      : give_leaf(self, part - self->shape.branches, content);
    if (err == LB_OK)
        self->parts[part].state = PART_HERE;
    return err;
}

lb_err tree_reader_miss(struct tree_reader *self, size_t part)
{
    assert(part < self->parts_count && self->parts[part].state == PART_ASKED);
    if (self->parts[part].tries >= TREE_TRIES_MAX)
        return LB_NOT_FOUND;
    self->parts[part].state = PART_WANTED;
    if (part < self->next)
        self->next = part;
    return LB_OK;
}

bool tree_reader_is_done(const struct tree_reader *self)
{
    return self->leaves_here == self->shape.leaves;
}

struct bytes tree_reader_value(const struct tree_reader *self)
{
    assert(tree_reader_is_done(self));
    return bytes_of(self->value, self->shape.size_bytes);
}
