/*
 * Metainfo: what a .torrent file says (BEP 3, BEP 52), read from anyone and written for our own
 * shares.
 *
 * The info dictionary is kept byte for byte: its hash is the infohash and peers are served it
 * (BEP 9). A torrent is of v1, of v2, or a hybrid, whose two descriptions must name the same files
 * in the same order and each at a piece. Its key is v1's infohash, SHA-1; of v2 alone it is
 * SHA-256 cut to 20 bytes. A hybrid that is known by its v2 hash only is read as v2 alone. The
 * hashes of v2's pieces stand outside the info dictionary ("piece layers") and may be missing.
 * Names are made safe to print and to create: a component that is empty, ".", "..", longer than 255
 * bytes or that has "/" or NUL in it is refused; bytes that are no UTF-8 and control characters
 * become "%XX". Duplicate paths, and a file where another needs a folder, are refused. BEP 47:
 * padding files are recognised, symlinks refused, "hidden" ignored. Torrents without a byte of
 * content are refused (as libtorrent does), so piece_count >= 1 always. Pure; allocates, links
 * lb_crypto.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"
#include "services/swarm/layout.h"
#include "services/swarm/merkle.h"
#include "services/swarm/webseed.h"

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
#define METAINFO_PIECES_V2_MAX    (1u << 18) /* pieces of v2: their hashes have 8 MiB */
#define METAINFO_PROBLEM_SIZE     160
#define METAINFO_HASH_SIZE        20u
#define METAINFO_HASH_V2_SIZE     32u

enum metainfo_kind {
    METAINFO_V1 = 1,
    METAINFO_V2 = 2,
    METAINFO_HYBRID = METAINFO_V1 | METAINFO_V2
};

/* What is wrong, one line for a person. */
struct metainfo_problem {
    char text[METAINFO_PROBLEM_SIZE];
};

struct metainfo {
    uint8_t infohash[METAINFO_HASH_SIZE];       /* the key */
    uint8_t infohash_v2[METAINFO_HASH_V2_SIZE]; /* when it has v2 */
    enum metainfo_kind kind;
    struct bytes info;        /* the info dictionary, as it came */
    struct layout layout;     /* pieces and files; aligned when it has v2 */
    const char *const *paths; /* of each file, from the folder written into: "NAME" or "NAME/a/b";
                                 "" for padding */
    const char *name;         /* one safe component */
    const uint8_t *piece_hashes;  /* METAINFO_HASH_SIZE each, in info; NULL: v2 alone */
    const uint8_t *const *roots;  /* of v2: of each file, in info; NULL: empty or padding */
    uint8_t *piece_roots;         /* of v2: MERKLE_HASH_SIZE each, once they are known */
    _Atomic bool has_piece_roots; /* all of them; who sees it set sees them */
    bool is_folder;               /* has a list of files */
    bool is_private;              /* BEP 27 */
    struct bytes ssl_cert; /* the root of the private network it is of, PEM, in info; size 0: of the
                              open one (libtorrent, "SSL torrents") */
    struct webseed_urls
        web_seeds;       /* BEP 19, outside the info; on the loop's thread alone once read */
    unsigned references; /* see metainfo_keep() */
    char *path_text;     /* what paths point into */
};

/*
 * Read a .torrent file. LB_TOO_BIG over a limit, LB_UNSUPPORTED for a later version and symlinks,
 * else LB_INVALID; then *ret_problem says why (it may be NULL). Gives a reference.
 */
LB_MUST_CHECK lb_err metainfo_parse(struct bytes torrent, struct metainfo **ret_self,
                                    struct metainfo_problem *ret_problem);

/*
 * The same of which the key is known, so that a hybrid may be read as v2 alone; LB_CORRUPT when
 * neither hash of the info is that.
 */
LB_MUST_CHECK lb_err metainfo_parse_as(struct bytes torrent,
                                       const uint8_t infohash[METAINFO_HASH_SIZE],
                                       struct metainfo **ret_self,
                                       struct metainfo_problem *ret_problem);

/* Read a bare info dictionary; otherwise as metainfo_parse_as(). */
LB_MUST_CHECK lb_err metainfo_parse_info(struct bytes info,
                                         const uint8_t infohash[METAINFO_HASH_SIZE],
                                         struct metainfo **ret_self,
                                         struct metainfo_problem *ret_problem);

/*
 * What peers told of the pieces of v2: MERKLE_HASH_SIZE for each, of which those that were known
 * already are not looked at. LB_CORRUPT: they do not lead to the roots of the files, nothing is
 * changed. Other threads may read it meanwhile: they know all of a sudden.
 */
LB_MUST_CHECK lb_err metainfo_give_piece_roots(struct metainfo *self, const uint8_t *piece_roots);

/* References are counted on the loop's thread alone; freed with the last. */
struct metainfo *metainfo_keep(struct metainfo *self);
void metainfo_free(struct metainfo **self);

/* The SHA-1 of a piece: METAINFO_HASH_SIZE bytes; NULL in v2 alone. piece < piece_count. */
const uint8_t *metainfo_piece_hash(const struct metainfo *self, uint32_t piece);

/*
 * The root of a piece's tree of 2^metainfo_piece_height() leaves: MERKLE_HASH_SIZE bytes, NULL when
 * it is v1 or not known. The same bytes at the same place in a file of any torrent with the same
 * piece length (or a file of one piece) have the same.
 */
const uint8_t *metainfo_piece_root(const struct metainfo *self, uint32_t piece);

/* That of a whole file, when it is not longer than a piece. piece < piece_count, has v2. */
unsigned metainfo_piece_height(const struct metainfo *self, uint32_t piece);

/* Some file's layer must be asked of peers: it is longer than a piece and was not told. */
bool metainfo_lacks_layers(const struct metainfo *self);

/* Whether reading would leave this component as it is; if not, it cannot be shared. */
bool metainfo_component_is_safe(const char *component);

struct metainfo_draft_file {
    const char *path; /* below the name, '/' between components; not used when !is_folder */
    uint64_t length;
    bool executable;
    const uint8_t *root; /* of v2; not used when empty */
};

/* Sorted by path, component by component, as v2's tree wants it. */
struct metainfo_draft {
    enum metainfo_kind kind; /* 0: v1 */
    const char *name;
    const struct metainfo_draft_file *files; /* one, when !is_folder */
    uint32_t files_count;
    uint32_t piece_length;
    uint32_t piece_count;
    const uint8_t *piece_hashes; /* of v1; in a hybrid each piece with its padding */
    bool is_folder;
    bool is_private;
    struct bytes ssl_cert; /* size 0: none */
};

/*
 * The canonical info dictionary of a draft; the caller frees *ret_data. It is read back before it
 * is given, so whatever metainfo_parse() would refuse is refused here with the same words.
 */
LB_MUST_CHECK lb_err metainfo_write_info(const struct metainfo_draft *draft, uint8_t **ret_data,
                                         size_t *ret_size, struct metainfo_problem *ret_problem);

/* The .torrent file, with the layers when known; created_s: seconds since 1970, 0 leaves it out. */
void metainfo_write_torrent(const struct metainfo *self, uint64_t created_s, uint8_t **ret_data,
                            size_t *ret_size);
