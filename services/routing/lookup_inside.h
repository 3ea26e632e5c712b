/*
 * What the files of a lookup share: lookup.c, the candidates and whom to ask; lookup_answers.c,
 * what answers tell; lookup_end.c, when it is over.
 */
#pragma once

#include "services/routing/lookup.h"

/* Where in the order an id belongs; *ret_there when it stands there already. */
uint16_t lookup_find_rank(const struct lookup *self, const struct node_id *id, bool *ret_there);
void lookup_order_insert(struct lookup *self, uint16_t rank, uint16_t index);
void lookup_order_remove(struct lookup *self, uint16_t rank);

/* Returns whether it now stands among the k nearest. */
bool lookup_add(struct lookup *self, const struct contact *contact, unsigned round);

/* Nobody answers to its id where it was asked: it failed, or is to be asked elsewhere. */
void lookup_missed(struct lookup *self, struct candidate *candidate);

bool lookup_may_ask_more(const struct lookup *self);

/*
 * The candidate itself, or as another path of the search knows it, which has asked it: a node is
 * asked on one path only.
 */
const struct candidate *lookup_known(const struct lookup *self, const struct candidate *candidate);

/* It answered, as was wanted. */
static inline bool lookup_is_result(const struct candidate *candidate)
{
    return candidate->state == CANDIDATE_ANSWERED && !candidate->no_values;
}

/* For a pass over the candidates, nearest first: who of them counts. */
void lookup_crowd(const struct lookup *self, struct crowd *ret_crowd);

/* Finished when nothing more can come. */
void lookup_check_end(struct lookup *self);

/* The next query for a part (proof.h), if one is due now. */
bool lookup_next_part(struct lookup *self, uint64_t now_ms, struct query *ret_query);
void lookup_give_up_parts(struct lookup *self, uint64_t now_ms);
