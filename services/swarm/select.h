/*
 * Selecting files of a torrent: a text of entries, one a line, and what they mean once the files
 * are known. An entry is
 *
 *     0,2,4-6      indices as BEP 53 counts them: from 0, padding included
 *     a/b.iso      a path below the torrent's name, or with it; of a folder: all below it
 *     *.iso        a pattern: * any characters, ? one; without '/' also a name in any folder
 *
 * An entry of digits alone is an index; "./7" means a file of that name. An empty text selects all.
 * Source: BEP 53. Pure; allocates nothing.
 */
#pragma once

#include "libcommon/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SELECT_ENTRIES_MAX 1024u
#define SELECT_ENTRY_SIZE  4096u /* with the NUL */

struct layout;
struct metainfo;

/*
 * Append an entry to a text of `size` bytes; one that stands there already is not repeated. LB_FULL
 * when there is no room or SELECT_ENTRIES_MAX are there, LB_INVALID when it is empty, too long or
 * has a line end in it.
 */
LB_MUST_CHECK lb_err select_add(char *text, size_t size, const char *entry);

/*
 * Which files are meant: sets bits of ret_files, a bitfield of files_count bits that the caller has
 * cleared. LB_NOT_FOUND: an entry means no file; it is copied to ret_entry then.
 */
LB_MUST_CHECK lb_err select_files(const char *text, const struct metainfo *metainfo,
                                  uint8_t *ret_files, char ret_entry[SELECT_ENTRY_SIZE]);

/* The pieces that hold bytes of these files: sets bits of a cleared bitfield of piece_count bits.
 */
void select_pieces(const struct layout *layout, const uint8_t *files, uint8_t *ret_pieces);

/* Bytes of these files, and of these in the pieces of `have`. */
uint64_t select_bytes(const struct layout *layout, const uint8_t *files);
uint64_t select_have_bytes(const struct layout *layout, const uint8_t *files, const uint8_t *have);
uint64_t select_file_have_bytes(const struct layout *layout, uint32_t file, const uint8_t *have);
