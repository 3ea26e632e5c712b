#include "services/swarm/select.h"

#include "services/swarm/bitfield.h"
#include "services/swarm/layout.h"
#include "services/swarm/metainfo.h"

#include <string.h>

/* ---- the text ---- */

/* The entry at *at, copied; moves on. False at the end. Entries longer than any are cut. */
static bool next_entry(const char **at, char ret_entry[SELECT_ENTRY_SIZE])
{
    size_t size = strcspn(*at, "\n");

    if (**at == '\0')
        return false;
    memcpy(ret_entry, *at, size < SELECT_ENTRY_SIZE ? size : SELECT_ENTRY_SIZE - 1);
    ret_entry[size < SELECT_ENTRY_SIZE ? size : SELECT_ENTRY_SIZE - 1] = '\0';
    *at += size + ((*at)[size] == '\n');
    return true;
}

lb_err select_add(char *text, size_t size, const char *entry)
{
    const size_t used = strlen(text), more = strlen(entry);
    char one[SELECT_ENTRY_SIZE];
    const char *at = text;
    unsigned count = 0;

    if (more == 0 || more >= SELECT_ENTRY_SIZE || strchr(entry, '\n'))
        return LB_INVALID;
    for (; next_entry(&at, one); count++)
        if (strcmp(one, entry) == 0)
            return LB_OK;
    if (count >= SELECT_ENTRIES_MAX || used + (used > 0) + more >= size)
        return LB_FULL;
    if (used > 0)
        text[used] = '\n';
    memcpy(text + used + (used > 0), entry, more + 1);
    return LB_OK;
}

/* ---- indices ---- */

static bool is_indices(const char *entry)
{
    return entry[0] >= '0' && entry[0] <= '9' && entry[strspn(entry, "0123456789,-")] == '\0';
}

static bool read_index(const char **at, uint32_t *ret_index)
{
    uint64_t index = 0;
    const char *start = *at;

    for (; **at >= '0' && **at <= '9' && index <= UINT32_MAX; (*at)++)
        index = index * 10 + (uint64_t)(**at - '0');
    if (*at == start || index > UINT32_MAX)
        return false;
    *ret_index = (uint32_t)index;
    return true;
}

/* "2", "4-6"; false when it is malformed or there are no such files. */
static bool take_range(const char **at, uint32_t files_count, uint8_t *files)
{
    uint32_t first, last;

    if (!read_index(at, &first))
        return false;
    last = first;
    if (**at == '-') {
        (*at)++;
        if (!read_index(at, &last))
            return false;
    }
    if (first > last || last >= files_count)
        return false;
    for (uint32_t i = first; i <= last; i++)
        bitfield_set(files, i);
    return true;
}

static bool take_indices(const char *entry, uint32_t files_count, uint8_t *files)
{
    for (;;) {
        if (!take_range(&entry, files_count, files))
            return false;
        if (*entry == '\0')
            return true;
        if (*entry++ != ',')
            return false;
    }
}

/* ---- patterns ---- */

static const char *next_character(const char *text)
{
    text++;
    while (((unsigned char)*text & 0xc0) == 0x80)
        text++;
    return text;
}

/*
 * Does the pattern match all of text[0..end)? On a mismatch the last * takes one character more;
 * an earlier one never needs to, so this is at worst pattern × text.
 */
static bool matches(const char *pattern, const char *text, const char *end)
{
    const char *star = NULL, *again = NULL;

    while (text < end) {
        if (*pattern == '*') {
            star = ++pattern;
            again = text;
        } else if (*pattern == '?') {
            pattern++;
            text = next_character(text);
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++again;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0' && text == end;
}

/* From here on: the file itself, or a folder it is in. */
static bool matches_from(const char *pattern, const char *path)
{
    for (const char *end = path;; end++) {
        if (*end != '/' && *end != '\0')
            continue;
        if (matches(pattern, path, end))
            return true;
        if (*end == '\0')
            return false;
    }
}

static bool matches_path(const char *pattern, const char *path)
{
    const char *slash = strchr(path, '/');

    if (matches_from(pattern, path) || (slash && matches_from(pattern, slash + 1)))
        return true;
    if (strchr(pattern, '/'))
        return false;
    for (; slash; slash = strchr(slash + 1, '/'))
        if (matches_from(pattern, slash + 1))
            return true;
    return false;
}

static bool take_pattern(const char *entry, const struct metainfo *metainfo, uint8_t *files)
{
    char pattern[SELECT_ENTRY_SIZE];
    size_t size;
    bool any = false;

    if (strncmp(entry, "./", 2) == 0)
        entry += 2;
    size = strlen(entry);
    memcpy(pattern, entry, size + 1);
    for (; size > 1 && pattern[size - 1] == '/'; size--)
        pattern[size - 1] = '\0';
    for (uint32_t i = 0; i < metainfo->layout.files_count; i++) {
        if (metainfo->layout.files[i].padding || !matches_path(pattern, metainfo->paths[i]))
            continue;
        bitfield_set(files, i);
        any = true;
    }
    return any;
}

lb_err select_files(const char *text, const struct metainfo *metainfo, uint8_t *ret_files,
                    char ret_entry[SELECT_ENTRY_SIZE])
{
    const uint32_t count = metainfo->layout.files_count;
    char entry[SELECT_ENTRY_SIZE];

    if (text[0] == '\0')
        bitfield_set_all(ret_files, count);
    while (next_entry(&text, entry)) {
        const bool any = is_indices(entry) ? take_indices(entry, count, ret_files)
                                           : take_pattern(entry, metainfo, ret_files);
        if (any)
            continue;
        memcpy(ret_entry, entry, strlen(entry) + 1);
        return LB_NOT_FOUND;
    }
    return LB_OK;
}

/* ---- what that is in pieces and bytes ---- */

void select_pieces(const struct layout *layout, const uint8_t *files, uint8_t *ret_pieces)
{
    for (uint32_t i = 0; i < layout->files_count; i++) {
        uint32_t first, count;

        if (!bitfield_has(files, i) || layout->files[i].padding)
            continue;
        layout_file_pieces(layout, i, &first, &count);
        for (uint32_t piece = first; piece < first + count; piece++)
            bitfield_set(ret_pieces, piece);
    }
}

uint64_t select_bytes(const struct layout *layout, const uint8_t *files)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < layout->files_count; i++)
        if (bitfield_has(files, i) && !layout->files[i].padding)
            bytes += layout->files[i].length;
    return bytes;
}

uint64_t select_file_have_bytes(const struct layout *layout, uint32_t file, const uint8_t *have)
{
    const struct layout_file *one = &layout->files[file];
    uint64_t bytes = 0;
    uint32_t first, count;

    layout_file_pieces(layout, file, &first, &count);
    for (uint32_t piece = first; piece < first + count; piece++) {
        const uint64_t start = (uint64_t)piece * layout->piece_length;
        const uint64_t end = start + layout_piece_size(layout, piece);
        const uint64_t from = start > one->offset ? start : one->offset;
        const uint64_t to = end < one->offset + one->length ? end : one->offset + one->length;

        if (bitfield_has(have, piece))
            bytes += to - from;
    }
    return bytes;
}

uint64_t select_have_bytes(const struct layout *layout, const uint8_t *files, const uint8_t *have)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < layout->files_count; i++)
        if (bitfield_has(files, i) && !layout->files[i].padding)
            bytes += select_file_have_bytes(layout, i, have);
    return bytes;
}
