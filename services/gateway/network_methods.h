/*
 * The methods of NetworkService, as rows of methods.c: littlebird.v1 on one side, the messages of
 * lb-member and lb-coordinator on the other. On which nodes they answer: view_answers().
 */
#pragma once

#include "services/gateway/methods.h"

#define API_MESSAGE_TEXT_MAX     (32u * 1024) /* what libcommon/pki/sealed.h takes */
#define API_MESSAGE_KEEP_S_MAX   (30u * 24 * 3600)
#define API_MESSAGE_WAIT_MS_MAX  30000u
#define API_INVITE_USES_MAX      10000u
#define API_INVITE_TTL_S         (24u * 3600) /* when it is not said */
#define API_INVITE_TTL_S_MIN     60u
#define API_INVITE_TTL_S_MAX     (30u * 24 * 3600)
#define API_INVITE_ADDRESSES_MAX 4u /* as many as a token holds: libcommon/pki/join_token.h */
#define API_INVITE_ADDRESS_MAX   263u
#define API_CERTIFICATE_MAX      2048u
#define API_KEY_DIGEST_SIZE      32u
#define API_INVITATION_ID_SIZE   6u

/* Asked of lb-member. */
ask_fn network_ask_membership, network_ask_send, network_ask_list, network_ask_read,
    network_ask_remove, network_ask_renew;
translate_fn network_translate_membership, network_translate_sent, network_translate_list,
    network_translate_read, network_translate_removed, network_translate_renewed;

/* Asked of lb-coordinator (network_register.c). */
ask_fn network_ask_invite, network_ask_invitations, network_ask_withdraw, network_ask_members,
    network_ask_decide, network_ask_revoke, network_ask_group, network_ask_add_server,
    network_ask_remove_server;
translate_fn network_translate_invite, network_translate_invitations, network_translate_withdrawn,
    network_translate_members, network_translate_decided, network_translate_revoked,
    network_translate_group, network_translate_server_added, network_translate_server_removed;
