/* The inbox, as the programs of this node ask for it. */
#pragma once

struct letters;
struct member;

struct letters *letters_new(struct member *member);
void letters_came(struct letters *self); /* there is a new message */
void letters_stop(struct letters *self); /* who waits is answered */
void letters_free(struct letters **self);
