/*
 * What the files of metainfo share: metainfo.c (entry points, the dictionary as a whole),
 * metainfo_files.c (names, paths, the files of v1), metainfo_tree.c (those of v2, and whether both
 * are the same), metainfo_layers.c (the roots of pieces), metainfo_write.c. Not for others.
 */
#pragma once

#include "libcommon/bencode.h"
#include "services/swarm/metainfo.h"

/* The files of a torrent as they are read; padding has an empty path and no root. */
struct file_list {
    struct layout_file *files;
    size_t *path_offsets;  /* in path_text */
    const uint8_t **roots; /* in the info dictionary; NULL: none */
    uint32_t count;
    uint32_t capacity;
    uint32_t real_count; /* without padding */
    uint64_t length;
    char *path_text;
    size_t path_size;
    size_t path_capacity;
};

/* What is being read: the dictionary and the result. */
struct reading {
    struct metainfo *result;
    struct bencode bencode;
    struct file_list list;
    struct metainfo_problem *problem;
};

__attribute__((format(printf, 3, 4))) lb_err metainfo_complain(struct metainfo_problem *ret_problem,
                                                               lb_err err, const char *format, ...);

/* ---- metainfo_files.c ---- */

/* A name from the dictionary, made safe. */
LB_MUST_CHECK lb_err metainfo_read_component(struct reading *self, struct bytes raw,
                                             char ret_text[METAINFO_COMPONENT_MAX + 1]);

uint32_t metainfo_find_name(const struct bencode *bencode, uint32_t dict, const char *plain,
                            const char *utf8, enum bencode_type type);

/* The attributes of BEP 47 of a file. */
bool metainfo_has_attribute(const struct bencode *bencode, uint32_t dict, char attribute);

void file_list_done(struct file_list *self);
void file_list_path(struct file_list *self, const char *text, size_t size); /* more of the path */

/* The file whose path was added, of which `dict` tells the length; root may be NULL. */
LB_MUST_CHECK lb_err metainfo_add_file(struct reading *self, struct file_list *list, uint32_t dict,
                                       struct layout_file file, const uint8_t *root);
void file_list_add_padding(struct file_list *self, uint64_t length);

LB_MUST_CHECK lb_err metainfo_read_files(struct reading *self);
LB_MUST_CHECK lb_err metainfo_check_conflicts(const struct metainfo *self,
                                              struct metainfo_problem *problem);

/* ---- metainfo_tree.c ---- */

/* v2 alone: the tree names the files. */
LB_MUST_CHECK lb_err metainfo_read_tree(struct reading *self);

/* A hybrid whose files are read as v1's: the tree must name the same, and gives their roots. */
LB_MUST_CHECK lb_err metainfo_join_tree(struct reading *self);

/* ---- metainfo_layers.c ---- */

/* What is known without layers: the roots of files that are one piece, or none. */
void metainfo_begin_layers(struct metainfo *self);

/* The dictionary "piece layers", or BENCODE_NONE. */
LB_MUST_CHECK lb_err metainfo_read_layers(struct metainfo *self, const struct bencode *bencode,
                                          uint32_t dict, struct metainfo_problem *problem);

/* ---- metainfo.c ---- */

/* Takes a copy of info. infohash: what it is to be read as, or NULL. */
LB_MUST_CHECK lb_err metainfo_parse_copy(struct bytes info, const uint8_t *infohash,
                                         struct metainfo **ret_self,
                                         struct metainfo_problem *problem);
