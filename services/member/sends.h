/* Messages on their way to other nodes: found, sealed, carried (sending.h). */
#pragma once

struct member;
struct sends;

struct sends *sends_new(struct member *member);
void sends_free(struct sends **self);
