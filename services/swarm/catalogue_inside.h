/*
 * What the files of the catalogue share: catalogue.c (its files), catalogue_shared.c (several
 * workers in one folder). Not for others.
 */
#pragma once

#include "libcommon/pool.h"
#include "services/swarm/catalogue.h"
#include "services/swarm/metainfo.h"

#define NAME_SIZE 80u /* 40 digits and an ending */
#define PARTS_MAX 3u
#define READ_MAX  (METAINFO_SIZE_MAX + 1024u * 1024)

struct catalogue {
    int folder_fd;
    int locks_fd; /* -1: nobody shares it */
    struct pool *pool;
    struct order **orders; /* CATALOGUE_MAX */
    size_t count;
    size_t damaged;
    uint8_t (*removing)[20]; /* whose files are not gone yet */
    size_t removing_count;
};

/* Files to write, or to remove where data is NULL, in this order. */
struct write {
    struct job job;
    struct catalogue *catalogue;
    catalogue_fn *done;
    void *ctx;
    lb_err err;
    uint8_t infohash[20];
    bool is_new;  /* the order is to be forgotten when this fails */
    bool unlocks; /* it was removed */
    bool gives;   /* another worker has it from then on */
    uint32_t parts_count;
    struct part {
        char name[NAME_SIZE];
        uint8_t *data;
        size_t size;
    } parts[PARTS_MAX];
};

lb_err catalogue_open_folder(struct catalogue **ret_self, const char *folder, struct pool *pool);

void catalogue_name(char ret_name[NAME_SIZE], const uint8_t infohash[20], const char *ending);

/* What follows the 40 digits and the point; NULL: it is no name of ours. */
const char *catalogue_ending(const char *name);
lb_err catalogue_read_file(int folder_fd, const char *name, size_t most, uint8_t **ret_data,
                           size_t *ret_size);
lb_err catalogue_load_order(int folder_fd, const char *name, struct order *ret_order);
LB_MUST_CHECK lb_err catalogue_take_order(struct catalogue *self, const char *name);
bool catalogue_is_left_over(const struct catalogue *self, const char *name);

/* The caller frees the names and their list. */
lb_err catalogue_list_folder(int folder_fd, char ***ret_names, size_t *ret_count);
void catalogue_forget(struct catalogue *self, const uint8_t infohash[20]);

/* Add parts, then submit: it is freed by a failure, or after done. */
struct write *catalogue_write_new(struct catalogue *self, const uint8_t infohash[20],
                                  catalogue_fn *done, void *ctx);
lb_err catalogue_submit(struct write *write);
