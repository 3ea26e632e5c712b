/* Invitations as a person sees and names them. Pure. */
#pragma once

#include "proto/littlebird/v1/network.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INVITATION_ID_SIZE   6
#define INVITATION_TEXT_SIZE 48 /* bytes of any text made here */

enum invitation_name { INVITATION_NAMED, INVITATION_IS_TOKEN, INVITATION_NOT_NAMED };

/* 12 hexadecimal digits, either case; a token is told apart. */
enum invitation_name invitation_parse(const char *text, uint8_t ret_id[INVITATION_ID_SIZE]);

/* "open", "used up", "withdrawn", "expired": what keeps the next one out. Static. */
const char *invitation_state_text(const Littlebird__V1__Invitation *self, uint64_t now_s);

/* "29 of 30"; "29" when of how many is not known. Returns ret_text. */
const char *invitation_uses_text(const Littlebird__V1__Invitation *self,
                                 char ret_text[INVITATION_TEXT_SIZE]);

/* "2026-11-27 10:12, in 1h 59m"; the moment alone once it is over. Returns ret_text. */
const char *invitation_expiry_text(const Littlebird__V1__Invitation *self, uint64_t now_s,
                                   char ret_text[INVITATION_TEXT_SIZE]);

/* One that was kept beyond the answer it came in. */
struct invitation_row {
    Littlebird__V1__Invitation invitation; /* its id is that beside it after invitation_sort() */
    uint8_t id[INVITATION_ID_SIZE];
};

/* What was made earlier comes first, then by id. */
void invitation_sort(struct invitation_row *rows, size_t count);
