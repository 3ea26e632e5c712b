/*
 * What lb-routing answers: a finished search as Found, its tables as Table.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct call;
struct router;
struct search;

/* Answers and consumes the call. is_client: BEP 43, nothing can be kept here for others. */
void answers_found(struct call **call, const struct search *search, bool is_client,
                   uint64_t now_ms);
void answers_table(struct call **call, const struct router *router, uint64_t now_ms);
