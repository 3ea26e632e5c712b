#include "services/swarm/layout.h"

static uint64_t piece_start(const struct layout *self, uint32_t piece)
{
    return (uint64_t)piece * self->piece_length;
}

/* The last file that begins at `at` or before: the one with that byte, since later ones are empty.
 */
static uint32_t file_at(const struct layout *self, uint64_t at)
{
    uint32_t low = 0, high = self->files_count;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (self->files[middle].offset <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

uint32_t layout_padded_size(const struct layout *self, uint32_t piece)
{
    if (piece >= self->piece_count)
        return 0;
    if (piece + 1 < self->piece_count)
        return self->piece_length;
    return (uint32_t)(self->length - piece_start(self, piece));
}

uint32_t layout_piece_file(const struct layout *self, uint32_t piece)
{
    return file_at(self, piece_start(self, piece));
}

uint32_t layout_piece_size(const struct layout *self, uint32_t piece)
{
    uint32_t size = layout_padded_size(self, piece);
    const struct layout_file *file;
    uint64_t left;

    if (!self->aligned || size == 0)
        return size;
    file = &self->files[layout_piece_file(self, piece)];
    left = file->offset + file->length - piece_start(self, piece);
    return left < size ? (uint32_t)left : size;
}

uint32_t layout_block_count(const struct layout *self, uint32_t piece)
{
    uint32_t size = layout_piece_size(self, piece);

    return size / LAYOUT_BLOCK_SIZE + (size % LAYOUT_BLOCK_SIZE != 0);
}

uint32_t layout_block_size(const struct layout *self, uint32_t piece, uint32_t block)
{
    uint32_t left;

    if (block >= layout_block_count(self, piece))
        return 0;
    left = layout_piece_size(self, piece) - block * LAYOUT_BLOCK_SIZE;
    return left < LAYOUT_BLOCK_SIZE ? left : LAYOUT_BLOCK_SIZE;
}

bool layout_range_is_valid(const struct layout *self, uint32_t piece, uint32_t offset,
                           uint32_t size)
{
    uint32_t whole = layout_piece_size(self, piece);

    return size > 0 && offset < whole && size <= whole - offset;
}

void layout_file_pieces(const struct layout *self, uint32_t file, uint32_t *ret_first,
                        uint32_t *ret_count)
{
    const struct layout_file *entry = &self->files[file];
    uint64_t last;

    *ret_first = 0;
    *ret_count = 0;
    if (entry->length == 0)
        return;
    last = (entry->offset + entry->length - 1) / self->piece_length;
    *ret_first = (uint32_t)(entry->offset / self->piece_length);
    *ret_count = (uint32_t)last - *ret_first + 1;
}

struct layout_cursor layout_spans(const struct layout *self, uint32_t piece, uint32_t offset,
                                  uint32_t size)
{
    struct layout_cursor cursor = { .layout = self };

    if (!layout_range_is_valid(self, piece, offset, size))
        return cursor;
    cursor.at = piece_start(self, piece) + offset;
    cursor.left = size;
    cursor.file = file_at(self, cursor.at);
    return cursor;
}

bool layout_spans_next(struct layout_cursor *cursor, struct layout_span *ret_span)
{
    const struct layout_file *file;
    uint64_t inside, room;

    while (cursor->left > 0 && cursor->file < cursor->layout->files_count) {
        file = &cursor->layout->files[cursor->file];
        inside = cursor->at - file->offset;
        room = inside < file->length ? file->length - inside : 0;
        if (room == 0) {
            cursor->file++;
            continue;
        }
        *ret_span =
            (struct layout_span){ .offset = inside,
                                  .size = room < cursor->left ? (uint32_t)room : cursor->left,
                                  .file = cursor->file,
                                  .padding = file->padding };
        cursor->at += ret_span->size;
        cursor->left -= ret_span->size;
        return true;
    }
    return false;
}
