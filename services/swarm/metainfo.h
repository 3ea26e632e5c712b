/*
 * Metainfo: what a .torrent file says (BEP 3), read from anyone and written for our own shares.
 *
 * The info dictionary is kept byte for byte: its SHA-1 is the infohash and peers are served it
 * (BEP 9). Names are made safe to print and to create: a component that is empty, ".", "..", longer
 * than 255 bytes or that has "/" or NUL in it is refused; bytes that are no UTF-8 and control
 * characters become "%XX". Duplicate paths, and a file where another needs a folder, are refused.
 * BEP 47: padding files are recognised, symlinks refused. A hybrid torrent (BEP 52) is read as its
 * v1 half; one of v2 alone is LB_UNSUPPORTED. Torrents without a byte of content are refused, so
 * piece_count >= 1 always. Pure; allocates, links lb_crypto.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"
#include "services/swarm/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METAINFO_SIZE_MAX         (10u * 1024 * 1024) /* of a .torrent, and of an info dictionary */
#define METAINFO_DEPTH_MAX        32u                 /* nesting */
#define METAINFO_TOKENS_MAX       (1u << 20)
#define METAINFO_PIECES_MAX       (1u << 21)
#define METAINFO_FILES_MAX        65536u
#define METAINFO_LENGTH_MAX       (1ull << 56) /* bytes of content */
#define METAINFO_COMPONENT_MAX    255u         /* bytes of a name, NAME_MAX */
#define METAINFO_PATH_DEPTH_MAX   32u          /* components below the torrent's name */
#define METAINFO_PATH_MAX         3072u /* bytes of a path, so that a folder fits before it */
#define METAINFO_PIECE_LENGTH_MIN 16384u
#define METAINFO_PIECE_LENGTH_MAX (128u * 1024 * 1024)
#define METAINFO_PROBLEM_SIZE     160
#define METAINFO_HASH_SIZE        20u

/* What is wrong, one line for a person. */
struct metainfo_problem {
    char text[METAINFO_PROBLEM_SIZE];
};

struct metainfo {
    uint8_t infohash[METAINFO_HASH_SIZE];
    struct bytes info;        /* the info dictionary, as it came */
    struct layout layout;     /* pieces and files */
    const char *const *paths; /* of each file, from the folder written into: "NAME" or "NAME/a/b";
                                 "" for padding */
    const char *name;         /* one safe component */
    const uint8_t *piece_hashes; /* METAINFO_HASH_SIZE each, in info */
    bool is_folder;              /* has a list of files */
    bool is_private;             /* BEP 27 */
    unsigned references;         /* see metainfo_keep() */
    char *path_text;             /* what paths point into */
};

/*
 * Read a .torrent file. LB_TOO_BIG over a limit, LB_UNSUPPORTED for v2 alone, else LB_INVALID; then
 * *ret_problem says why (it may be NULL). Gives a reference.
 */
LB_MUST_CHECK lb_err metainfo_parse(struct bytes torrent, struct metainfo **ret_self,
                                    struct metainfo_problem *ret_problem);

/* Read a bare info dictionary; LB_CORRUPT when its SHA-1 is not infohash. Otherwise as above. */
LB_MUST_CHECK lb_err metainfo_parse_info(struct bytes info,
                                         const uint8_t infohash[METAINFO_HASH_SIZE],
                                         struct metainfo **ret_self,
                                         struct metainfo_problem *ret_problem);

/* References are counted on the loop's thread alone; freed with the last. */
struct metainfo *metainfo_keep(struct metainfo *self);
void metainfo_free(struct metainfo **self);

/* The SHA-1 of a piece: METAINFO_HASH_SIZE bytes. piece < piece_count. */
const uint8_t *metainfo_piece_hash(const struct metainfo *self, uint32_t piece);

/* Whether reading would leave this component as it is; if not, it cannot be shared. */
bool metainfo_component_is_safe(const char *component);

struct metainfo_draft_file {
    const char *path; /* below the name, '/' between components; not used when !is_folder */
    uint64_t length;
};

struct metainfo_draft {
    const char *name;
    const struct metainfo_draft_file *files; /* one, when !is_folder */
    uint32_t files_count;
    uint32_t piece_length;
    uint32_t piece_count;
    const uint8_t *piece_hashes;
    bool is_folder;
    bool is_private;
};

/*
 * The canonical info dictionary of a draft; the caller frees *ret_data. It is read back before it
 * is given, so whatever metainfo_parse() would refuse is refused here with the same words.
 */
LB_MUST_CHECK lb_err metainfo_write_info(const struct metainfo_draft *draft, uint8_t **ret_data,
                                         size_t *ret_size, struct metainfo_problem *ret_problem);

/* A .torrent file around an info dictionary; created_s: seconds since 1970, 0 leaves it out. */
void metainfo_write_torrent(struct bytes info, uint64_t created_s, uint8_t **ret_data,
                            size_t *ret_size);
