/*
 * The layout of a torrent: one stream of bytes, cut into pieces of one length (the last may be
 * shorter) and pieces into blocks of 16 KiB; the files lie in it one behind the other (BEP 3,
 * "info dictionary"). Answers where a range of a piece lies in the files.
 *
 * Invariant (metainfo.h makes no other): piece_length is a multiple of 16 KiB, 1 <= piece_count =
 * ceil(length / piece_length), files in order without gap, the sum of their lengths is length.
 *
 * An aligned layout is that of BEP 52, v2 alone or hybrid: each file that has bytes begins at a
 * piece, and padding fills what is left of its last one (in v2 alone behind the last file, too).
 * There a piece ends with its file, so that padding is never asked for, read or written; who
 * follows v1 (or libtorrent up to 2.0) may ask us for it all the same, as far as
 * layout_padded_size() goes. Otherwise padding is part of pieces.
 *
 * Nothing here asserts on piece, offset or size: they may come from a peer. Pure, allocates
 * nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LAYOUT_BLOCK_SIZE 16384u

struct layout_file {
    uint64_t offset; /* in the stream */
    uint64_t length; /* may be 0 */
    bool padding;    /* BEP 47: zeros that are in no file; read as zeros, never written */
    bool executable; /* BEP 47 */
};

struct layout {
    uint64_t length;
    uint32_t piece_length;
    uint32_t piece_count;
    uint32_t files_count;
    const struct layout_file *files; /* borrowed */
    uint64_t content_length;         /* the sum of all layout_piece_size() */
    bool aligned;
};

/* Bytes of a piece; 0 when there is no such piece. */
uint32_t layout_piece_size(const struct layout *self, uint32_t piece);

/* Bytes of a piece as v1 counts them, with the padding behind its file; 0 when there is no such. */
uint32_t layout_padded_size(const struct layout *self, uint32_t piece);

/* The file whose bytes a piece of an aligned layout holds. piece < piece_count. */
uint32_t layout_piece_file(const struct layout *self, uint32_t piece);

/* Blocks of a piece; 0 when there is no such piece. */
uint32_t layout_block_count(const struct layout *self, uint32_t piece);

/* Bytes of a block of a piece; 0 when there is no such block. */
uint32_t layout_block_size(const struct layout *self, uint32_t piece, uint32_t block);

/* There is such a piece, size > 0 and offset + size lies in it. */
bool layout_range_is_valid(const struct layout *self, uint32_t piece, uint32_t offset,
                           uint32_t size);

/* The pieces that hold bytes of a file; *ret_count is 0 for an empty file. file < files_count. */
void layout_file_pieces(const struct layout *self, uint32_t file, uint32_t *ret_first,
                        uint32_t *ret_count);

/* The part of a range that lies in one file. */
struct layout_span {
    uint64_t offset; /* in the file */
    uint32_t size;   /* > 0 */
    uint32_t file;
    bool padding;
};

struct layout_cursor {
    const struct layout *layout;
    uint64_t at; /* in the stream */
    uint32_t left;
    uint32_t file;
};

/*
 * Begin the spans of a range, in order; files without bytes are skipped. A range that is not valid
 * has no spans.
 */
struct layout_cursor layout_spans(const struct layout *self, uint32_t piece, uint32_t offset,
                                  uint32_t size);
bool layout_spans_next(struct layout_cursor *cursor, struct layout_span *ret_span);
