#include "services/swarm/metainfo.h"

#include "libcommon/bencode.h"
#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "services/swarm/name.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert(METAINFO_HASH_SIZE == SHA1_SIZE, "pieces are hashed with SHA-1");

/* What is being read: the dictionary, the result, and the paths as they grow. */
struct reading {
    struct metainfo *result;
    struct bencode bencode;
    struct layout_file *files;
    size_t *path_offsets; /* in path_text */
    char *path_text;
    size_t path_size;
    size_t path_capacity;
    uint32_t files_max;
    struct metainfo_problem *problem;
};

__attribute__((format(printf, 3, 4))) static lb_err complain(struct metainfo_problem *ret_problem,
                                                             lb_err err, const char *format, ...)
{
    va_list arguments;

    if (!ret_problem)
        return err;
    va_start(arguments, format);
    vsnprintf(ret_problem->text, sizeof(ret_problem->text), format, arguments);
    va_end(arguments);
    return err;
}

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

static lb_err read_component(struct reading *self, struct bytes raw,
                             char ret_text[METAINFO_COMPONENT_MAX + 1])
{
    const char *problem = component_problem(raw);

    if (problem)
        return complain(self->problem, LB_INVALID, "%s", problem);
    if (!name_make_safe(raw, ret_text, METAINFO_COMPONENT_MAX + 1))
        return complain(self->problem, LB_TOO_BIG, "a name of more than %u bytes",
                        METAINFO_COMPONENT_MAX);
    return LB_OK;
}

bool metainfo_component_is_safe(const char *component)
{
    struct bytes raw = bytes_of_text(component);

    return raw.size <= METAINFO_COMPONENT_MAX && !component_problem(raw) && name_is_safe(raw);
}

/* Some clients write a second, surely UTF-8 form of a name beside the first. */
static uint32_t find_name(const struct bencode *bencode, uint32_t dict, const char *plain,
                          const char *utf8, enum bencode_type type)
{
    uint32_t found = bencode_find_type(bencode, dict, utf8, type);

    return found != BENCODE_NONE ? found : bencode_find_type(bencode, dict, plain, type);
}

/* ---- paths ---- */

static void path_add(struct reading *self, const char *text, size_t size)
{
    if (size > self->path_capacity - self->path_size) {
        self->path_capacity = 2 * self->path_capacity + size;
        self->path_text = xrealloc(self->path_text, self->path_capacity);
    }
    memcpy(self->path_text + self->path_size, text, size);
    self->path_size += size;
}

static lb_err read_path(struct reading *self, uint32_t list)
{
    char component[METAINFO_COMPONENT_MAX + 1];
    size_t start = self->path_size;
    unsigned depth = 0;

    if (bencode_first(&self->bencode, list) == BENCODE_NONE)
        return complain(self->problem, LB_INVALID, "a file without a path");
    path_add(self, self->result->name, strlen(self->result->name));
    for (uint32_t at = bencode_first(&self->bencode, list); at != BENCODE_NONE;
         at = bencode_after(&self->bencode, list, at)) {
        lb_err err = read_component(self, bencode_string(&self->bencode, at), component);

        if (err != LB_OK)
            return err;
        if (++depth > METAINFO_PATH_DEPTH_MAX)
            return complain(self->problem, LB_TOO_BIG, "a path of more than %u names",
                            METAINFO_PATH_DEPTH_MAX);
        path_add(self, "/", 1);
        path_add(self, component, strlen(component));
        if (self->path_size - start > METAINFO_PATH_MAX)
            return complain(self->problem, LB_TOO_BIG, "a path of more than %u bytes",
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

static lb_err check_conflicts(const struct metainfo *self, struct metainfo_problem *problem)
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
            err = complain(problem, LB_INVALID, "two files named %s", sorted[i]);
        else if (sorted[i][size] == '/')
            err = complain(problem, LB_INVALID, "%s is a file and a folder", sorted[i - 1]);
    }
    free(sorted);
    return err;
}

/* ---- files ---- */

static bool has_attribute(const struct bencode *bencode, uint32_t dict, char attribute)
{
    struct bytes attributes =
        bencode_string(bencode, bencode_find_type(bencode, dict, "attr", BENCODE_STRING));

    return attributes.size > 0 && memchr(attributes.data, attribute, attributes.size);
}

static lb_err add_file(struct reading *self, uint32_t dict, bool padding)
{
    struct layout *layout = &self->result->layout;
    int64_t length;

    if (!bencode_int(&self->bencode, bencode_find(&self->bencode, dict, "length"), &length) ||
        length < 0)
        return complain(self->problem, LB_INVALID, "a file without a valid length");
    if ((uint64_t)length > METAINFO_LENGTH_MAX - layout->length)
        return complain(self->problem, LB_TOO_BIG, "more than 2^56 bytes");
    self->files[layout->files_count++] = (struct layout_file){ .offset = layout->length,
                                                               .length = (uint64_t)length,
                                                               .padding = padding };
    layout->length += (uint64_t)length;
    return LB_OK;
}

static lb_err read_file(struct reading *self, uint32_t dict)
{
    bool padding = has_attribute(&self->bencode, dict, 'p');
    uint32_t path = find_name(&self->bencode, dict, "path", "path.utf-8", BENCODE_LIST);
    lb_err err = LB_OK;

    if (has_attribute(&self->bencode, dict, 'l') ||
        bencode_find(&self->bencode, dict, "symlink path") != BENCODE_NONE)
        return complain(self->problem, LB_UNSUPPORTED, "a symlink among the files");
    self->path_offsets[self->result->layout.files_count] = self->path_size;
    if (!padding)
        err = read_path(self, path); /* BEP 47: padding needs none */
    if (err != LB_OK)
        return err;
    path_add(self, "", 1);
    return add_file(self, dict, padding);
}

static void reserve_files(struct reading *self, uint32_t count)
{
    self->files_max = count;
    self->files = xcalloc(count, sizeof(*self->files));
    self->path_offsets = xcalloc(count, sizeof(*self->path_offsets));
}

static lb_err read_list(struct reading *self, uint32_t list)
{
    uint32_t count = 0;

    for (uint32_t at = bencode_first(&self->bencode, list); at != BENCODE_NONE;
         at = bencode_after(&self->bencode, list, at))
        count++;
    if (count > METAINFO_FILES_MAX)
        return complain(self->problem, LB_TOO_BIG, "more than %u files", METAINFO_FILES_MAX);
    reserve_files(self, count);
    for (uint32_t at = bencode_first(&self->bencode, list); at != BENCODE_NONE;
         at = bencode_after(&self->bencode, list, at)) {
        lb_err err = read_file(self, at);

        if (err != LB_OK)
            return err;
    }
    return LB_OK;
}

static lb_err read_files(struct reading *self)
{
    uint32_t list = bencode_find(&self->bencode, 0, "files");

    if (list == BENCODE_NONE) {
        if (has_attribute(&self->bencode, 0, 'l'))
            return complain(self->problem, LB_UNSUPPORTED, "the file is a symlink");
        reserve_files(self, 1);
        path_add(self, self->result->name, strlen(self->result->name) + 1);
        return add_file(self, 0, false);
    }
    if (bencode_find_type(&self->bencode, 0, "files", BENCODE_LIST) == BENCODE_NONE)
        return complain(self->problem, LB_INVALID, "the files are no list");
    if (bencode_find(&self->bencode, 0, "length") != BENCODE_NONE)
        return complain(self->problem, LB_INVALID, "both a length and a list of files");
    self->result->is_folder = true;
    return read_list(self, list);
}

/* ---- pieces ---- */

static lb_err read_piece_length(struct reading *self)
{
    int64_t length;

    if (!bencode_int(&self->bencode, bencode_find(&self->bencode, 0, "piece length"), &length))
        return complain(self->problem, LB_INVALID, "no piece length");
    if (length < METAINFO_PIECE_LENGTH_MIN || length > METAINFO_PIECE_LENGTH_MAX)
        return complain(self->problem, LB_UNSUPPORTED,
                        "pieces of %lld bytes: 16 KiB to 128 MiB are supported", (long long)length);
    if (length % LAYOUT_BLOCK_SIZE != 0)
        return complain(self->problem, LB_UNSUPPORTED,
                        "pieces of %lld bytes: not a multiple of 16 KiB", (long long)length);
    self->result->layout.piece_length = (uint32_t)length;
    return LB_OK;
}

static lb_err read_pieces(struct reading *self)
{
    struct layout *layout = &self->result->layout;
    struct bytes hashes = bencode_string(
        &self->bencode, bencode_find_type(&self->bencode, 0, "pieces", BENCODE_STRING));
    uint64_t count =
        layout->length / layout->piece_length + (layout->length % layout->piece_length != 0);

    if (layout->length == 0)
        return complain(self->problem, LB_INVALID, "no content: all files are empty");
    if (count > METAINFO_PIECES_MAX)
        return complain(self->problem, LB_TOO_BIG, "more than %u pieces", METAINFO_PIECES_MAX);
    if (hashes.size != count * METAINFO_HASH_SIZE)
        return complain(self->problem, LB_INVALID, "%llu pieces but %zu bytes of hashes",
                        (unsigned long long)count, hashes.size);
    layout->piece_count = (uint32_t)count;
    self->result->piece_hashes = hashes.data;
    return LB_OK;
}

/* ---- the dictionary ---- */

static lb_err read_name(struct reading *self)
{
    char name[METAINFO_COMPONENT_MAX + 1];
    uint32_t token = find_name(&self->bencode, 0, "name", "name.utf-8", BENCODE_STRING);
    lb_err err;

    if (token == BENCODE_NONE)
        return complain(self->problem, LB_INVALID, "no name");
    err = read_component(self, bencode_string(&self->bencode, token), name);
    if (err == LB_OK)
        self->result->name = xstrdup(name);
    return err;
}

/* BEP 52: "pieces" is absent where only v2 is meant. */
static bool is_v2_alone(const struct bencode *bencode)
{
    return bencode_find(bencode, 0, "pieces") == BENCODE_NONE &&
           (bencode_find(bencode, 0, "file tree") != BENCODE_NONE ||
            bencode_find(bencode, 0, "meta version") != BENCODE_NONE);
}

static lb_err read_info(struct reading *self)
{
    int64_t number;
    lb_err err;

    if (self->bencode.tokens[0].type != BENCODE_DICT)
        return complain(self->problem, LB_INVALID, "the info is no dictionary");
    if (is_v2_alone(&self->bencode))
        return complain(self->problem, LB_UNSUPPORTED, "a torrent of version 2 alone (BEP 52)");
    if ((err = read_name(self)) != LB_OK || (err = read_piece_length(self)) != LB_OK ||
        (err = read_files(self)) != LB_OK)
        return err;
    self->result->is_private =
        bencode_int(&self->bencode, bencode_find(&self->bencode, 0, "private"), &number) &&
        number == 1;
    return read_pieces(self);
}

/* The paths no longer move: point at them. */
static void settle(struct reading *self)
{
    const char **paths = xcalloc(self->files_max ? self->files_max : 1, sizeof(*paths));

    for (uint32_t i = 0; i < self->result->layout.files_count; i++)
        paths[i] = self->path_text + self->path_offsets[i];
    self->result->paths = paths;
    self->result->path_text = self->path_text;
    self->result->layout.files = self->files;
    self->path_text = NULL;
    self->files = NULL;
}

static lb_err parse_tokens(struct bytes data, struct bencode *ret_bencode,
                           struct metainfo_problem *problem)
{
    struct bencode_limits limits = { .depth_max = METAINFO_DEPTH_MAX };
    struct bencode_token *tokens;
    uint32_t tokens_max = METAINFO_TOKENS_MAX;
    lb_err err;

    if (data.size > METAINFO_SIZE_MAX)
        return complain(problem, LB_TOO_BIG, "more than 10 MiB");
    /* No value is shorter than two bytes. Memory that no token is written to is never touched. */
    if (data.size / 2 + 1 < tokens_max)
        tokens_max = (uint32_t)(data.size / 2 + 1);
    tokens = xmalloc(tokens_max * sizeof(*tokens));
    err = bencode_parse(ret_bencode, data, tokens, tokens_max, limits, NULL);
    if (err == LB_OK)
        return LB_OK;
    free(tokens);
    return complain(problem, err,
                    err == LB_TOO_BIG ? "nested too deep, or too many values"
                                      : "not a bencoded dictionary");
}

static void forget_tokens(struct bencode *bencode)
{
    free(bencode->tokens);
    bencode->tokens = NULL;
}

/* Takes a copy of info: what is kept is what was hashed. */
static lb_err parse_copy(struct bytes info, struct metainfo **ret_self,
                         struct metainfo_problem *problem)
{
    struct reading reading = { .problem = problem };
    lb_err err;

    reading.result = xcalloc(1, sizeof(*reading.result));
    reading.result->references = 1;
    reading.result->info = bytes_of(xmemdup(info.data, info.size), info.size);
    sha1(reading.result->info, reading.result->infohash);
    err = parse_tokens(reading.result->info, &reading.bencode, problem);
    if (err == LB_OK) {
        err = read_info(&reading);
        forget_tokens(&reading.bencode);
    }
    if (err == LB_OK) {
        settle(&reading);
        err = check_conflicts(reading.result, problem);
    }
    free(reading.path_offsets);
    free(reading.path_text);
    free(reading.files);
    if (err == LB_OK)
        *ret_self = reading.result;
    else
        metainfo_free(&reading.result);
    return err;
}

lb_err metainfo_parse(struct bytes torrent, struct metainfo **ret_self,
                      struct metainfo_problem *ret_problem)
{
    struct bencode bencode;
    uint32_t info;
    lb_err err = parse_tokens(torrent, &bencode, ret_problem);

    if (err != LB_OK)
        return err;
    info = bencode_find_type(&bencode, 0, "info", BENCODE_DICT);
    if (info == BENCODE_NONE)
        err = complain(ret_problem, LB_INVALID, "no info dictionary");
    else
        err = parse_copy(bencode_raw(&bencode, info), ret_self, ret_problem);
    forget_tokens(&bencode);
    return err;
}

lb_err metainfo_parse_info(struct bytes info, const uint8_t infohash[METAINFO_HASH_SIZE],
                           struct metainfo **ret_self, struct metainfo_problem *ret_problem)
{
    uint8_t found[METAINFO_HASH_SIZE];

    if (info.size > METAINFO_SIZE_MAX)
        return complain(ret_problem, LB_TOO_BIG, "more than 10 MiB");
    sha1(info, found);
    if (memcmp(found, infohash, sizeof(found)) != 0)
        return complain(ret_problem, LB_CORRUPT, "the info does not fit the infohash");
    return parse_copy(info, ret_self, ret_problem);
}

struct metainfo *metainfo_keep(struct metainfo *self)
{
    assert(self->references > 0);
    self->references++;
    return self;
}

void metainfo_free(struct metainfo **self)
{
    struct metainfo *freed = *self;

    *self = NULL;
    if (!freed || --freed->references > 0)
        return;
    free((void *)freed->layout.files);
    free((void *)freed->paths);
    free(freed->path_text);
    free((void *)freed->name);
    free((void *)freed->info.data);
    free(freed);
}

const uint8_t *metainfo_piece_hash(const struct metainfo *self, uint32_t piece)
{
    assert(piece < self->layout.piece_count);
    return self->piece_hashes + (size_t)piece * METAINFO_HASH_SIZE;
}

/* ---- writing ---- */

static void put_path(struct writer *to, const char *path)
{
    bencode_put_list(to);
    for (;;) {
        const char *end = strchrnul(path, '/');

        bencode_put_string(to, bytes_of(path, (size_t)(end - path)));
        if (!*end)
            break;
        path = end + 1;
    }
    bencode_put_end(to);
}

static void put_files(struct writer *to, const struct metainfo_draft *draft)
{
    bencode_put_text(to, "files");
    bencode_put_list(to);
    for (uint32_t i = 0; i < draft->files_count; i++) {
        bencode_put_dict(to);
        bencode_put_text(to, "length");
        bencode_put_int(to, (int64_t)draft->files[i].length);
        bencode_put_text(to, "path");
        put_path(to, draft->files[i].path);
        bencode_put_end(to);
    }
    bencode_put_end(to);
}

static void put_info(struct writer *to, const struct metainfo_draft *draft)
{
    bencode_put_dict(to);
    if (draft->is_folder)
        put_files(to, draft);
    if (!draft->is_folder) {
        bencode_put_text(to, "length");
        bencode_put_int(to, (int64_t)draft->files[0].length);
    }
    bencode_put_text(to, "name");
    bencode_put_text(to, draft->name);
    bencode_put_text(to, "piece length");
    bencode_put_int(to, draft->piece_length);
    bencode_put_text(to, "pieces");
    bencode_put_string(
        to, bytes_of(draft->piece_hashes, (size_t)draft->piece_count * METAINFO_HASH_SIZE));
    if (draft->is_private) {
        bencode_put_text(to, "private");
        bencode_put_int(to, 1);
    }
    bencode_put_end(to);
}

lb_err metainfo_write_info(const struct metainfo_draft *draft, uint8_t **ret_data, size_t *ret_size,
                           struct metainfo_problem *ret_problem)
{
    struct metainfo *read_back = NULL;
    struct writer writer;
    uint8_t *data;
    lb_err err;

    assert(draft->is_folder || draft->files_count == 1);
    data = xmalloc(METAINFO_SIZE_MAX);
    writer_init(&writer, data, METAINFO_SIZE_MAX);
    put_info(&writer, draft);
    if (writer.overflow)
        err = complain(ret_problem, LB_TOO_BIG, "the metainfo would be larger than 10 MiB");
    else
        err = parse_copy(bytes_of(data, writer.size), &read_back, ret_problem);
    metainfo_free(&read_back);
    if (err != LB_OK) {
        free(data);
        return err;
    }
    *ret_data = xrealloc(data, writer.size);
    *ret_size = writer.size;
    return LB_OK;
}

void metainfo_write_torrent(struct bytes info, uint64_t created_s, uint8_t **ret_data,
                            size_t *ret_size)
{
    size_t capacity = info.size + 128; /* what stands around it is shorter */
    uint8_t *data = xmalloc(capacity);
    struct writer writer;

    writer_init(&writer, data, capacity);
    bencode_put_dict(&writer);
    bencode_put_text(&writer, "created by");
    bencode_put_text(&writer, "Littlebird " LB_VERSION);
    if (created_s > 0) {
        bencode_put_text(&writer, "creation date");
        bencode_put_int(&writer, (int64_t)created_s);
    }
    bencode_put_text(&writer, "info");
    writer_put(&writer, info.data, info.size);
    bencode_put_end(&writer);
    assert(!writer.overflow);
    *ret_data = data;
    *ret_size = writer.size;
}
