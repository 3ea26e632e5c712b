#include "services/swarm/metainfo.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "services/swarm/metainfo_inside.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert(METAINFO_HASH_SIZE == SHA1_SIZE, "pieces of v1 are hashed with SHA-1");
static_assert(METAINFO_HASH_V2_SIZE == SHA256_SIZE, "v2 hashes with SHA-256");

#define META_VERSION 2

lb_err metainfo_complain(struct metainfo_problem *ret_problem, lb_err err, const char *format, ...)
{
    va_list arguments;

    if (!ret_problem)
        return err;
    va_start(arguments, format);
    vsnprintf(ret_problem->text, sizeof(ret_problem->text), format, arguments);
    va_end(arguments);
    return err;
}

/* ---- the kind ---- */

/* BEP 52: the version is looked at first. v1 is what has "pieces". */
static lb_err read_kind(struct reading *self, bool v2_alone)
{
    uint32_t token = bencode_find(&self->bencode, 0, "meta version");
    bool v1 = bencode_find(&self->bencode, 0, "pieces") != BENCODE_NONE;
    int64_t version = 0;

    if (token != BENCODE_NONE && (!bencode_int(&self->bencode, token, &version) || version < 2))
        return metainfo_complain(self->problem, LB_INVALID, "a meta version that there is not");
    if (version > META_VERSION)
        return metainfo_complain(self->problem, LB_UNSUPPORTED,
                                 "a torrent of version %lld: 1 and 2 are supported",
                                 (long long)version);
    if (token == BENCODE_NONE) {
        self->result->kind = METAINFO_V1;
        if (!v1 && bencode_find(&self->bencode, 0, "file tree") != BENCODE_NONE)
            return metainfo_complain(self->problem, LB_INVALID, "a file tree, but no meta version");
    } else {
        self->result->kind = v1 && !v2_alone ? METAINFO_HYBRID : METAINFO_V2;
    }
    return LB_OK;
}

/* ---- pieces ---- */

static lb_err read_piece_length(struct reading *self)
{
    int64_t length;

    if (!bencode_int(&self->bencode, bencode_find(&self->bencode, 0, "piece length"), &length))
        return metainfo_complain(self->problem, LB_INVALID, "no piece length");
    if (length < METAINFO_PIECE_LENGTH_MIN || length > METAINFO_PIECE_LENGTH_MAX)
        return metainfo_complain(self->problem, LB_UNSUPPORTED,
                                 "pieces of %lld bytes: 16 KiB to 128 MiB are supported",
                                 (long long)length);
    if (length % LAYOUT_BLOCK_SIZE != 0)
        return metainfo_complain(self->problem, LB_UNSUPPORTED,
                                 "pieces of %lld bytes: not a multiple of 16 KiB",
                                 (long long)length);
    if ((self->result->kind & METAINFO_V2) && (length & (length - 1)) != 0)
        return metainfo_complain(self->problem, LB_INVALID,
                                 "pieces of %lld bytes: not a power of two", (long long)length);
    self->result->layout.piece_length = (uint32_t)length;
    return LB_OK;
}

static lb_err read_pieces(struct reading *self)
{
    struct layout *layout = &self->result->layout;
    struct bytes hashes = bencode_string(
        &self->bencode, bencode_find_type(&self->bencode, 0, "pieces", BENCODE_STRING));

    if (hashes.size != (size_t)layout->piece_count * METAINFO_HASH_SIZE)
        return metainfo_complain(self->problem, LB_INVALID, "%u pieces but %zu bytes of hashes",
                                 layout->piece_count, hashes.size);
    self->result->piece_hashes = hashes.data;
    return LB_OK;
}

static lb_err count_pieces(struct reading *self)
{
    struct layout *layout = &self->result->layout;
    const uint64_t length = self->list.length;
    uint64_t count = length / layout->piece_length + (length % layout->piece_length != 0);

    if (length == 0)
        return metainfo_complain(self->problem, LB_INVALID, "no content: all files are empty");
    if (count > METAINFO_PIECES_MAX)
        return metainfo_complain(self->problem, LB_TOO_BIG, "more than %u pieces",
                                 METAINFO_PIECES_MAX);
    if ((self->result->kind & METAINFO_V2) && count > METAINFO_PIECES_V2_MAX)
        return metainfo_complain(self->problem, LB_TOO_BIG, "more than %u pieces of version 2",
                                 METAINFO_PIECES_V2_MAX);
    layout->length = length;
    layout->piece_count = (uint32_t)count;
    return LB_OK;
}

/* ---- the dictionary ---- */

static lb_err read_name(struct reading *self)
{
    char name[METAINFO_COMPONENT_MAX + 1];
    uint32_t token = metainfo_find_name(&self->bencode, 0, "name", "name.utf-8", BENCODE_STRING);
    lb_err err;

    if (token == BENCODE_NONE)
        return metainfo_complain(self->problem, LB_INVALID, "no name");
    err = metainfo_read_component(self, bencode_string(&self->bencode, token), name);
    if (err == LB_OK)
        self->result->name = xstrdup(name);
    return err;
}

static lb_err read_content(struct reading *self)
{
    lb_err err;

    if (self->result->kind == METAINFO_V2)
        return metainfo_read_tree(self);
    err = metainfo_read_files(self);
    if (err == LB_OK && self->result->kind == METAINFO_HYBRID)
        err = metainfo_join_tree(self);
    return err;
}

static lb_err read_info(struct reading *self, bool v2_alone)
{
    int64_t number;
    lb_err err;

    if (self->bencode.tokens[0].type != BENCODE_DICT)
        return metainfo_complain(self->problem, LB_INVALID, "the info is no dictionary");
    if ((err = read_kind(self, v2_alone)) != LB_OK || (err = read_name(self)) != LB_OK ||
        (err = read_piece_length(self)) != LB_OK || (err = read_content(self)) != LB_OK ||
        (err = count_pieces(self)) != LB_OK)
        return err;
    self->result->is_private =
        bencode_int(&self->bencode, bencode_find(&self->bencode, 0, "private"), &number) &&
        number == 1;
    self->result->ssl_cert = bencode_string(
        &self->bencode, bencode_find_type(&self->bencode, 0, "ssl-cert", BENCODE_STRING));
    return self->result->kind & METAINFO_V1 ? read_pieces(self) : LB_OK;
}

static uint64_t content_length(const struct layout *layout)
{
    uint64_t length = 0;

    if (!layout->aligned)
        return layout->length;
    for (uint32_t i = 0; i < layout->files_count; i++)
        length += layout->files[i].padding ? 0 : layout->files[i].length;
    return length;
}

/* The lists no longer move: point at them. */
static void settle(struct reading *self)
{
    struct metainfo *result = self->result;
    struct file_list *list = &self->list;
    const char **paths = xcalloc(list->count ? list->count : 1, sizeof(*paths));

    for (uint32_t i = 0; i < list->count; i++)
        paths[i] = list->path_text + list->path_offsets[i];
    result->paths = paths;
    result->path_text = list->path_text;
    result->layout.files = list->files;
    result->layout.files_count = list->count;
    list->path_text = NULL;
    list->files = NULL;
    if (result->kind & METAINFO_V2) {
        result->layout.aligned = true;
        result->roots = list->roots;
        list->roots = NULL;
        metainfo_begin_layers(result);
    }
    result->layout.content_length = content_length(&result->layout);
}

static lb_err parse_tokens(struct bytes data, struct bencode *ret_bencode,
                           struct metainfo_problem *problem)
{
    struct bencode_limits limits = { .depth_max = METAINFO_DEPTH_MAX };
    struct bencode_token *tokens;
    uint32_t tokens_max = METAINFO_TOKENS_MAX;
    lb_err err;

    if (data.size > METAINFO_SIZE_MAX)
        return metainfo_complain(problem, LB_TOO_BIG, "more than 10 MiB");
    /* No value is shorter than two bytes. Memory that no token is written to is never touched. */
    if (data.size / 2 + 1 < tokens_max)
        tokens_max = (uint32_t)(data.size / 2 + 1);
    tokens = xmalloc(tokens_max * sizeof(*tokens));
    err = bencode_parse(ret_bencode, data, tokens, tokens_max, limits, NULL);
    if (err == LB_OK)
        return LB_OK;
    free(tokens);
    return metainfo_complain(problem, err,
                             err == LB_TOO_BIG ? "nested too deep, or too many values"
                                               : "not a bencoded dictionary");
}

static void forget_tokens(struct bencode *bencode)
{
    free(bencode->tokens);
    bencode->tokens = NULL;
}

/* Sets the key and the kind's hashes; false when infohash is neither hash. */
static bool take_hashes(struct metainfo *self, const uint8_t *infohash, bool *ret_v2_alone)
{
    sha1(self->info, self->infohash);
    sha256(self->info, self->infohash_v2);
    *ret_v2_alone = infohash && memcmp(self->infohash_v2, infohash, METAINFO_HASH_SIZE) == 0;
    return !infohash || *ret_v2_alone || memcmp(self->infohash, infohash, METAINFO_HASH_SIZE) == 0;
}

static lb_err read_copy(struct reading *self, const uint8_t *infohash)
{
    struct metainfo *result = self->result;
    bool v2_alone;
    lb_err err;

    if (!take_hashes(result, infohash, &v2_alone))
        return metainfo_complain(self->problem, LB_CORRUPT, "the info does not fit the infohash");
    err = parse_tokens(result->info, &self->bencode, self->problem);
    if (err != LB_OK)
        return err;
    err = read_info(self, v2_alone);
    forget_tokens(&self->bencode);
    if (err != LB_OK)
        return err;
    settle(self);
    if (result->kind == METAINFO_V2)
        memcpy(result->infohash, result->infohash_v2, sizeof(result->infohash));
    if (result->kind == METAINFO_V1)
        memset(result->infohash_v2, 0, sizeof(result->infohash_v2));
    if (infohash && memcmp(result->infohash, infohash, sizeof(result->infohash)) != 0)
        return metainfo_complain(self->problem, LB_CORRUPT,
                                 "the infohash is of another version than the info");
    return metainfo_check_conflicts(result, self->problem);
}

lb_err metainfo_parse_copy(struct bytes info, const uint8_t *infohash, struct metainfo **ret_self,
                           struct metainfo_problem *problem)
{
    struct reading reading = { .problem = problem };
    lb_err err;

    reading.result = xcalloc(1, sizeof(*reading.result));
    reading.result->references = 1;
    reading.result->info = bytes_of(xmemdup(info.data, info.size), info.size);
    err = read_copy(&reading, infohash);
    file_list_done(&reading.list);
    if (err == LB_OK)
        *ret_self = reading.result;
    else
        metainfo_free(&reading.result);
    return err;
}

/* One string or a list of them (BEP 19); what cannot be used is left out. */
static void read_web_seeds(struct metainfo *self, const struct bencode *bencode)
{
    const uint32_t list = bencode_find(bencode, 0, "url-list");
    struct bytes url = bencode_string(bencode, list);

    if (url.data)
        (void)webseed_urls_add(&self->web_seeds, url);
    if (list == BENCODE_NONE || bencode->tokens[list].type != BENCODE_LIST)
        return;
    for (uint32_t at = bencode_first(bencode, list); at != BENCODE_NONE;
         at = bencode_after(bencode, list, at)) {
        url = bencode_string(bencode, at);
        if (url.data)
            (void)webseed_urls_add(&self->web_seeds, url);
    }
}

static lb_err parse_torrent(struct bytes torrent, const uint8_t *infohash,
                            struct metainfo **ret_self, struct metainfo_problem *problem)
{
    struct metainfo *self = NULL;
    struct bencode bencode;
    uint32_t info, layers;
    lb_err err = parse_tokens(torrent, &bencode, problem);

    if (err != LB_OK)
        return err;
    info = bencode_find_type(&bencode, 0, "info", BENCODE_DICT);
    layers = bencode_find_type(&bencode, 0, "piece layers", BENCODE_DICT);
    if (info == BENCODE_NONE)
        err = metainfo_complain(problem, LB_INVALID, "no info dictionary");
    else
        err = metainfo_parse_copy(bencode_raw(&bencode, info), infohash, &self, problem);
    if (err == LB_OK && (self->kind & METAINFO_V2))
        err = metainfo_read_layers(self, &bencode, layers, problem);
    if (err == LB_OK)
        read_web_seeds(self, &bencode);
    forget_tokens(&bencode);
    if (err == LB_OK)
        *ret_self = self;
    else
        metainfo_free(&self);
    return err;
}

lb_err metainfo_parse(struct bytes torrent, struct metainfo **ret_self,
                      struct metainfo_problem *ret_problem)
{
    return parse_torrent(torrent, NULL, ret_self, ret_problem);
}

lb_err metainfo_parse_as(struct bytes torrent, const uint8_t infohash[METAINFO_HASH_SIZE],
                         struct metainfo **ret_self, struct metainfo_problem *ret_problem)
{
    return parse_torrent(torrent, infohash, ret_self, ret_problem);
}

lb_err metainfo_parse_info(struct bytes info, const uint8_t infohash[METAINFO_HASH_SIZE],
                           struct metainfo **ret_self, struct metainfo_problem *ret_problem)
{
    if (info.size > METAINFO_SIZE_MAX)
        return metainfo_complain(ret_problem, LB_TOO_BIG, "more than 10 MiB");
    return metainfo_parse_copy(info, infohash, ret_self, ret_problem);
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
    webseed_urls_done(&freed->web_seeds);
    free(freed->path_text);
    free((void *)freed->name);
    free((void *)freed->roots);
    free(freed->piece_roots);
    free((void *)freed->info.data);
    free(freed);
}

const uint8_t *metainfo_piece_hash(const struct metainfo *self, uint32_t piece)
{
    assert(piece < self->layout.piece_count);
    return self->piece_hashes ? self->piece_hashes + (size_t)piece * METAINFO_HASH_SIZE : NULL;
}
