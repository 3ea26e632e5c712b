/*
 * What lb-routing answers: a finished search as Found, its tables as Table.
 */
#pragma once

#include <stdint.h>

struct call;
struct router;
struct search;

/* Answers and consumes the call. */
void answers_found(struct call **call, const struct search *search, uint64_t now_ms);
void answers_table(struct call **call, const struct router *router, uint64_t now_ms);
