#include "libcommon/memory.h"
#include "services/swarm/metainfo_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- the file tree of v2 ---- */

/* A walk over the tree: where it is, and the files it found. */
struct walk {
    struct reading *reading;
    struct file_list *list;
    bool pad; /* fill each piece, as v1 in a hybrid must say it */
    unsigned depth;
    size_t path_size;
    char path[METAINFO_PATH_MAX + 1]; /* without a NUL */
};

static lb_err walk_folder(struct walk *self, uint32_t dict);

/* The properties of a file: what "" stands for. */
static lb_err read_leaf(struct walk *self, uint32_t dict)
{
    struct reading *reading = self->reading;
    const struct bencode *bencode = &reading->bencode;
    struct layout_file file = { .executable = metainfo_has_attribute(bencode, dict, 'x') };
    struct bytes root =
        bencode_string(bencode, bencode_find_type(bencode, dict, "pieces root", BENCODE_STRING));
    int64_t length = 0;
    lb_err err;

    if (metainfo_has_attribute(bencode, dict, 'l') ||
        bencode_find(bencode, dict, "symlink path") != BENCODE_NONE)
        return metainfo_complain(reading->problem, LB_UNSUPPORTED, "a symlink among the files");
    if (metainfo_has_attribute(bencode, dict, 'p'))
        return metainfo_complain(reading->problem, LB_INVALID, "padding in the file tree");
    (void)bencode_int(bencode, bencode_find(bencode, dict, "length"), &length);
    if (length > 0 && root.size != MERKLE_HASH_SIZE)
        return metainfo_complain(reading->problem, LB_INVALID, "a file without a pieces root");
    file_list_path(self->list, self->path, self->path_size);
    err = metainfo_add_file(reading, self->list, dict, file, length > 0 ? root.data : NULL);
    if (err == LB_OK && self->pad && length > 0) {
        uint64_t piece_length = reading->result->layout.piece_length;
        uint64_t behind = (uint64_t)length % piece_length;

        if (behind > 0)
            file_list_add_padding(self->list, piece_length - behind);
    }
    return err;
}

/* A name of the tree, which becomes part of the path. */
static lb_err enter(struct walk *self, struct bytes raw)
{
    char component[METAINFO_COMPONENT_MAX + 1];
    lb_err err = metainfo_read_component(self->reading, raw, component);
    size_t size, slash = self->path_size > 0;

    if (err != LB_OK)
        return err;
    if (++self->depth > METAINFO_PATH_DEPTH_MAX)
        return metainfo_complain(self->reading->problem, LB_TOO_BIG, "a path of more than %u names",
                                 METAINFO_PATH_DEPTH_MAX);
    size = strlen(component);
    if (self->path_size + slash + size > METAINFO_PATH_MAX)
        return metainfo_complain(self->reading->problem, LB_TOO_BIG, "a path of more than %u bytes",
                                 METAINFO_PATH_MAX);
    if (slash)
        self->path[self->path_size++] = '/';
    memcpy(self->path + self->path_size, component, size);
    self->path_size += size;
    return LB_OK;
}

/* One name of a folder: a file, when the only thing in it is "". */
static lb_err walk_entry(struct walk *self, uint32_t key, uint32_t value)
{
    const struct bencode *bencode = &self->reading->bencode;
    size_t size = self->path_size;
    uint32_t first = bencode_first(bencode, value);
    lb_err err = enter(self, bencode_string(bencode, key));

    if (err != LB_OK)
        return err;
    if (bencode->tokens[value].type != BENCODE_DICT || first == BENCODE_NONE)
        return metainfo_complain(self->reading->problem, LB_INVALID, "an empty folder in the tree");
    if (bencode_string(bencode, first).size == 0) {
        uint32_t leaf = bencode_after(bencode, value, first);

        if (bencode_after(bencode, value, leaf) != BENCODE_NONE ||
            bencode->tokens[leaf].type != BENCODE_DICT)
            return metainfo_complain(self->reading->problem, LB_INVALID,
                                     "a file that is a folder, too");
        err = read_leaf(self, leaf);
    } else {
        err = walk_folder(self, value);
    }
    self->depth--;
    self->path_size = size;
    return err;
}

/* depth is bounded: recursion is, too. */
static lb_err walk_folder(struct walk *self, uint32_t dict)
{
    const struct bencode *bencode = &self->reading->bencode;

    for (uint32_t key = bencode_first(bencode, dict); key != BENCODE_NONE;) {
        uint32_t value = bencode_after(bencode, dict, key);
        lb_err err = walk_entry(self, key, value);

        if (err != LB_OK)
            return err;
        key = bencode_after(bencode, dict, value);
    }
    return LB_OK;
}

/* The one file of a tree without a folder: its name, or BENCODE_NONE. */
static uint32_t single_file(const struct bencode *bencode, uint32_t tree)
{
    uint32_t key = bencode_first(bencode, tree), value = bencode_after(bencode, tree, key);
    uint32_t inner = bencode_first(bencode, value);

    if (key == BENCODE_NONE || bencode_after(bencode, tree, value) != BENCODE_NONE ||
        bencode->tokens[value].type != BENCODE_DICT || inner == BENCODE_NONE ||
        bencode_string(bencode, inner).size > 0)
        return BENCODE_NONE;
    return key;
}

static lb_err walk_tree(struct reading *self, struct file_list *list, bool pad, bool is_folder)
{
    uint32_t tree = bencode_find_type(&self->bencode, 0, "file tree", BENCODE_DICT);
    struct walk *walk;
    lb_err err;

    if (tree == BENCODE_NONE)
        return metainfo_complain(self->problem, LB_INVALID, "no file tree");
    walk = xcalloc(1, sizeof(*walk));
    walk->reading = self;
    walk->list = list;
    walk->pad = pad;
    if (is_folder) {
        walk->path_size = strlen(self->result->name);
        memcpy(walk->path, self->result->name, walk->path_size);
    }
    err = walk_folder(walk, tree);
    free(walk);
    return err;
}

/* BEP 52: the name is advisory, a single file has its own. */
static lb_err take_single_name(struct reading *self, uint32_t key)
{
    char name[METAINFO_COMPONENT_MAX + 1];
    lb_err err = metainfo_read_component(self, bencode_string(&self->bencode, key), name);

    if (err != LB_OK)
        return err;
    free((void *)self->result->name);
    self->result->name = xstrdup(name);
    return LB_OK;
}

lb_err metainfo_read_tree(struct reading *self)
{
    uint32_t tree = bencode_find_type(&self->bencode, 0, "file tree", BENCODE_DICT);
    uint32_t single = tree == BENCODE_NONE ? BENCODE_NONE : single_file(&self->bencode, tree);
    lb_err err = single == BENCODE_NONE ? LB_OK : take_single_name(self, single);

    self->result->is_folder = single == BENCODE_NONE;
    /* As libtorrent does, also behind the last file: its peers ask for that. */
    return err == LB_OK ? walk_tree(self, &self->list, true, single == BENCODE_NONE) : err;
}

/* ---- hybrids: is it the same? ---- */

static const char *path_of(const struct file_list *list, uint32_t file)
{
    return list->path_text + list->path_offsets[file];
}

/* The next file that is no padding, from `file` on. */
static uint32_t next_real(const struct file_list *list, uint32_t file)
{
    while (file < list->count && list->files[file].padding)
        file++;
    return file;
}

/* v1 must put each file that has bytes at a piece, with no more padding than that takes. */
static lb_err check_aligned(const struct reading *self)
{
    const struct file_list *list = &self->list;
    uint64_t piece_length = self->result->layout.piece_length, end = 0;

    for (uint32_t i = 0; i < list->count; i++) {
        const struct layout_file *file = &list->files[i];
        uint64_t aligned = (end + piece_length - 1) / piece_length * piece_length;

        if (file->length == 0 || file->padding)
            continue;
        if (file->offset != aligned)
            return metainfo_complain(self->problem, LB_INVALID,
                                     "a hybrid whose %s does not begin at a piece",
                                     path_of(list, i));
        end = file->offset + file->length;
    }
    if (list->length > (end + piece_length - 1) / piece_length * piece_length)
        return metainfo_complain(self->problem, LB_INVALID,
                                 "a hybrid that ends with padding alone");
    return LB_OK;
}

static lb_err take_roots(struct reading *self, const struct file_list *tree)
{
    struct file_list *list = &self->list;
    uint32_t at = next_real(list, 0);

    for (uint32_t i = 0; i < tree->count; i++) {
        if (at == list->count)
            return metainfo_complain(self->problem, LB_INVALID, "%s is in v2 alone of a hybrid",
                                     path_of(tree, i));
        if (strcmp(path_of(list, at), path_of(tree, i)) != 0)
            return metainfo_complain(self->problem, LB_INVALID,
                                     "a hybrid with %s where v1 has %.60s", path_of(tree, i),
                                     path_of(list, at));
        if (list->files[at].length != tree->files[i].length)
            return metainfo_complain(self->problem, LB_INVALID, "a hybrid whose %s has two lengths",
                                     path_of(tree, i));
        list->roots[at] = tree->roots[i];
        at = next_real(list, at + 1);
    }
    if (at < list->count)
        return metainfo_complain(self->problem, LB_INVALID, "%s is in v1 alone of a hybrid",
                                 path_of(list, at));
    return LB_OK;
}

lb_err metainfo_join_tree(struct reading *self)
{
    struct file_list tree = { 0 };
    lb_err err = walk_tree(self, &tree, false, self->result->is_folder);

    if (err == LB_OK)
        err = take_roots(self, &tree);
    if (err == LB_OK)
        err = check_aligned(self);
    file_list_done(&tree);
    return err;
}
