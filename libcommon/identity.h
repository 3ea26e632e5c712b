/*
 * Is this node a member of a private network, of which, and who is it there?
 *
 * `littlebird join` and `lb-admin network create` write this file last of all: it is there when the
 * node is a member, and it never changes while it is one. It holds nothing secret, and every
 * service may read it, without OpenSSL: routing takes its node id from here, transport and swarm
 * learn that they are to speak DTLS and TLS only, the supervisor that lb-member runs. The key and
 * certificate stand in paths.member_folder (libcommon/pki/membership.h).
 *
 * The file is text, in this order, nothing else:
 *
 *     littlebird member 1
 *     network NAME
 *     network-id 64 hexadecimal digits
 *     node-id 40 hexadecimal digits
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/node_id.h"

#include <stdbool.h>

#define NETWORK_ID_SIZE   32 /* SHA-256 of the SubjectPublicKeyInfo of the network's root */
#define NETWORK_NAME_SIZE 64 /* with its NUL; letters, digits, '-', '_' and '.' */
#define IDENTITY_FILE_MAX 512

struct identity {
    char network_name[NETWORK_NAME_SIZE];
    uint8_t network[NETWORK_ID_SIZE];
    struct node_id node;
};

/* A letter or digit first, 1 to 63 bytes. */
bool network_name_is_valid(const char *name);

/* LB_INVALID. Pure. */
LB_MUST_CHECK lb_err identity_parse(struct bytes text, struct identity *ret_self);
size_t identity_write(const struct identity *self, char ret_text[IDENTITY_FILE_MAX]);

struct paths;

/*
 * LB_NOT_FOUND: the node is of the open network. LB_DENIED: the file is not ours or root's, or
 * others may write it. LB_INVALID, LB_IO. Whoever gets one of the last three does not start as if
 * the network were open: it ends with the exit code for a wrong configuration.
 */
LB_MUST_CHECK lb_err identity_load(const struct paths *paths, struct identity *ret_self);
