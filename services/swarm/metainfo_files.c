#include "libcommon/memory.h"
#include "services/swarm/metainfo_inside.h"
#include "services/swarm/name.h"

#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

static const char *component_problem(struct bytes raw)
{
    if (raw.size == 0)
        return "an empty name in a path";
    if (bytes_equal_text(raw, ".") || bytes_equal_text(raw, ".."))
        return "\".\" or \"..\" in a path";
    if (memchr(raw.data, '/', raw.size))
        return "a \"/\" in a name";
    if (memchr(raw.data, '\0', raw.size))
        return "a NUL in a name";
    return NULL;
}

lb_err metainfo_read_component(struct reading *self, struct bytes raw,
                               char ret_text[METAINFO_COMPONENT_MAX + 1])
{
    const char *problem = component_problem(raw);

    if (problem)
        return metainfo_complain(self->problem, LB_INVALID, "%s", problem);
    if (!name_make_safe(raw, ret_text, METAINFO_COMPONENT_MAX + 1))
        return metainfo_complain(self->problem, LB_TOO_BIG, "a name of more than %u bytes",
                                 METAINFO_COMPONENT_MAX);
    return LB_OK;
}

bool metainfo_component_is_safe(const char *component)
{
    struct bytes raw = bytes_of_text(component);

    return raw.size <= METAINFO_COMPONENT_MAX && !component_problem(raw) && name_is_safe(raw);
}

/* Some clients write a second, surely UTF-8 form of a name beside the first. */
uint32_t metainfo_find_name(const struct bencode *bencode, uint32_t dict, const char *plain,
                            const char *utf8, enum bencode_type type)
{
    uint32_t found = bencode_find_type(bencode, dict, utf8, type);

    return found != BENCODE_NONE ? found : bencode_find_type(bencode, dict, plain, type);
}

/* ---- the list ---- */

void file_list_done(struct file_list *self)
{
    free(self->files);
    free(self->path_offsets);
    free((void *)self->roots);
    free(self->path_text);
}

void file_list_path(struct file_list *self, const char *text, size_t size)
{
    if (size > self->path_capacity - self->path_size) {
        self->path_capacity = 2 * self->path_capacity + size;
        self->path_text = xrealloc(self->path_text, self->path_capacity);
    }
    memcpy(self->path_text + self->path_size, text, size);
    self->path_size += size;
}

static void reserve(struct file_list *self, uint32_t count)
{
    if (count <= self->capacity)
        return;
    self->capacity = count > 2 * self->capacity ? count : 2 * self->capacity;
    self->files = xrealloc(self->files, self->capacity * sizeof(*self->files));
    self->path_offsets = xrealloc(self->path_offsets, self->capacity * sizeof(*self->path_offsets));
    self->roots = xrealloc((void *)self->roots, self->capacity * sizeof(*self->roots));
}

static void append(struct file_list *self, struct layout_file file, size_t path,
                   const uint8_t *root)
{
    reserve(self, self->count + 1);
    file.offset = self->length;
    self->files[self->count] = file;
    self->path_offsets[self->count] = path;
    self->roots[self->count++] = root;
    self->real_count += !file.padding;
    self->length += file.length;
}

void file_list_add_padding(struct file_list *self, uint64_t length)
{
    size_t path = self->path_size;

    file_list_path(self, "", 1);
    append(self, (struct layout_file){ .length = length, .padding = true }, path, NULL);
}

lb_err metainfo_add_file(struct reading *self, struct file_list *list, uint32_t dict,
                         struct layout_file file, const uint8_t *root)
{
    size_t path = list->path_size;
    int64_t length;

    while (path > 0 && list->path_text[path - 1])
        path--;
    file_list_path(list, "", 1);
    if (!bencode_int(&self->bencode, bencode_find(&self->bencode, dict, "length"), &length) ||
        length < 0)
        return metainfo_complain(self->problem, LB_INVALID, "a file without a valid length");
    if ((uint64_t)length > METAINFO_LENGTH_MAX - list->length)
        return metainfo_complain(self->problem, LB_TOO_BIG, "more than 2^56 bytes");
    if (list->real_count == METAINFO_FILES_MAX || list->count == 2 * METAINFO_FILES_MAX)
        return metainfo_complain(self->problem, LB_TOO_BIG, "more than %u files",
                                 METAINFO_FILES_MAX);
    file.length = (uint64_t)length;
    append(list, file, path, root);
    return LB_OK;
}

/* ---- paths ---- */

static lb_err read_path(struct reading *self, uint32_t list)
{
    char component[METAINFO_COMPONENT_MAX + 1];
    size_t start = self->list.path_size;
    unsigned depth = 0;

    if (bencode_first(&self->bencode, list) == BENCODE_NONE)
        return metainfo_complain(self->problem, LB_INVALID, "a file without a path");
    file_list_path(&self->list, self->result->name, strlen(self->result->name));
    for (uint32_t at = bencode_first(&self->bencode, list); at != BENCODE_NONE;
         at = bencode_after(&self->bencode, list, at)) {
        lb_err err = metainfo_read_component(self, bencode_string(&self->bencode, at), component);

        if (err != LB_OK)
            return err;
        if (++depth > METAINFO_PATH_DEPTH_MAX)
            return metainfo_complain(self->problem, LB_TOO_BIG, "a path of more than %u names",
                                     METAINFO_PATH_DEPTH_MAX);
        file_list_path(&self->list, "/", 1);
        file_list_path(&self->list, component, strlen(component));
        if (self->list.path_size - start > METAINFO_PATH_MAX)
            return metainfo_complain(self->problem, LB_TOO_BIG, "a path of more than %u bytes",
                                     METAINFO_PATH_MAX);
    }
    return LB_OK;
}

/* As strcmp, but "/" before all others: a folder stands right before what is in it. */
static int compare_paths(const void *a, const void *b)
{
    const unsigned char *left = *(const unsigned char *const *)a;
    const unsigned char *right = *(const unsigned char *const *)b;

    while (*left && *left == *right) {
        left++;
        right++;
    }
    if (*left == *right)
        return 0;
    if (!*left || !*right)
        return *left ? 1 : -1;
    if (*left == '/' || *right == '/')
        return *left == '/' ? -1 : 1;
    return *left < *right ? -1 : 1;
}

lb_err metainfo_check_conflicts(const struct metainfo *self, struct metainfo_problem *problem)
{
    const char **sorted = xmalloc(self->layout.files_count * sizeof(*sorted));
    size_t count = 0;
    lb_err err = LB_OK;

    for (uint32_t i = 0; i < self->layout.files_count; i++) {
        if (!self->layout.files[i].padding)
            sorted[count++] = self->paths[i];
    }
    qsort(sorted, count, sizeof(*sorted), compare_paths);
    for (size_t i = 1; i < count && err == LB_OK; i++) {
        size_t size = strlen(sorted[i - 1]);

        if (strncmp(sorted[i - 1], sorted[i], size) != 0)
            continue;
        if (sorted[i][size] == '\0')
            err = metainfo_complain(problem, LB_INVALID, "two files named %s", sorted[i]);
        else if (sorted[i][size] == '/')
            err =
                metainfo_complain(problem, LB_INVALID, "%s is a file and a folder", sorted[i - 1]);
    }
    free(sorted);
    return err;
}

/* ---- the files of v1 ---- */

bool metainfo_has_attribute(const struct bencode *bencode, uint32_t dict, char attribute)
{
    struct bytes attributes =
        bencode_string(bencode, bencode_find_type(bencode, dict, "attr", BENCODE_STRING));

    return attributes.size > 0 && memchr(attributes.data, attribute, attributes.size);
}

static lb_err read_file(struct reading *self, uint32_t dict)
{
    struct layout_file file = { .padding = metainfo_has_attribute(&self->bencode, dict, 'p'),
                                .executable = metainfo_has_attribute(&self->bencode, dict, 'x') };
    uint32_t path = metainfo_find_name(&self->bencode, dict, "path", "path.utf-8", BENCODE_LIST);
    lb_err err = LB_OK;

    if (metainfo_has_attribute(&self->bencode, dict, 'l') ||
        bencode_find(&self->bencode, dict, "symlink path") != BENCODE_NONE)
        return metainfo_complain(self->problem, LB_UNSUPPORTED, "a symlink among the files");
    if (!file.padding)
        err = read_path(self, path); /* BEP 47: padding needs none */
    if (err != LB_OK)
        return err;
    return metainfo_add_file(self, &self->list, dict, file, NULL);
}

static lb_err read_list(struct reading *self, uint32_t list)
{
    for (uint32_t at = bencode_first(&self->bencode, list); at != BENCODE_NONE;
         at = bencode_after(&self->bencode, list, at)) {
        lb_err err = read_file(self, at);

        if (err != LB_OK)
            return err;
    }
    return LB_OK;
}

lb_err metainfo_read_files(struct reading *self)
{
    uint32_t list = bencode_find(&self->bencode, 0, "files");

    if (list == BENCODE_NONE) {
        if (metainfo_has_attribute(&self->bencode, 0, 'l'))
            return metainfo_complain(self->problem, LB_UNSUPPORTED, "the file is a symlink");
        file_list_path(&self->list, self->result->name, strlen(self->result->name));
        return metainfo_add_file(
            self, &self->list, 0,
            (struct layout_file){ .executable = metainfo_has_attribute(&self->bencode, 0, 'x') },
            NULL);
    }
    if (bencode_find_type(&self->bencode, 0, "files", BENCODE_LIST) == BENCODE_NONE)
        return metainfo_complain(self->problem, LB_INVALID, "the files are no list");
    if (bencode_find(&self->bencode, 0, "length") != BENCODE_NONE)
        return metainfo_complain(self->problem, LB_INVALID, "both a length and a list of files");
    self->result->is_folder = true;
    return read_list(self, list);
}
