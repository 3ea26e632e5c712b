/*
 * What the files of the picker share. picker.c: its life, pieces that are begun, what becomes of
 * requests. picker_order.c: the array of missing pieces. picker_pick.c: picking. Not for others.
 */
#pragma once

#include "services/swarm/picker.h"

/* ---- picker.c: pieces that are begun; slot: in picker.open ---- */

/* Out of the list of those with free blocks. */
void picker_list_remove(struct picker *self, uint32_t slot);

/* It is begun: OPEN or CHECKING. */
struct picker_open *picker_open_of(const struct picker *self, uint32_t piece);

/* A piece out of the array is begun: returns its slot. Closed, it is MISSING again. */
uint32_t picker_open_piece(struct picker *self, uint32_t piece, uint32_t owner);
void picker_close_piece(struct picker *self, uint32_t slot);

/* ---- picker_order.c: `at`, a, b: places in picker.order ---- */

void picker_place(struct picker *self, uint32_t piece, uint32_t at);
void picker_swap(struct picker *self, uint32_t a, uint32_t b);
uint32_t picker_run_start(const struct picker *self, uint32_t run);
void picker_order_add(struct picker *self, uint32_t piece);
void picker_order_remove(struct picker *self, uint32_t piece);

/* ---- picker_pick.c ---- */

/* It need not be fetched from one peer alone any more. */
void picker_forget_alone(struct picker *self, uint32_t piece);
