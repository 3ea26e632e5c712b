/*
 * What happens before lb-coordinator runs, by lb-admin alone: a network is born, a member offers
 * itself as a further coordinator, and the operator signs what it offered. Only here is the root's
 * key ever read.
 *
 * Files, each made new, synced, of the user of the service that reads it (libcommon/access.h;
 * anywhere but on the system's node all is one user's):
 *
 *     ROOT_FOLDER/NAME.key      0600, the root's key: the operator's, to be taken offline
 *     ROOT_FOLDER/NAME.pem      the root
 *     ca_folder/intermediate.key, intermediate.pem, root.pem   lb-signer's
 *     member_folder/...         this node's membership (libcommon/pki/membership.h)
 *     register_folder/own/...   the same once more for lb-coordinator, which runs as another user
 *                               and renews its own certificate itself
 *     register_folder/first     the first entries of the register (register.h), until the group has
 *                               them: "LBFIRST1" | count x (u32 size, command)
 *     register_folder/offer     of who offers itself: "ADDRESS NODE-PORT\n"
 *     identity                  last of all: now the node is a member
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/identity.h"
#include "libcommon/paths.h"
#include "libcommon/pki/certificate.h"

#define CREATE_ROOT_LIFE_S         (20ull * 365 * 24 * 3600)
#define CREATE_INTERMEDIATE_LIFE_S (90ull * 24 * 3600) /* THREATS 2.18 */

#define REGISTER_OWN_FOLDER "own" /* below register_folder */
#define REGISTER_FIRST_FILE "first"
#define REGISTER_OFFER_FILE "offer"
#define REGISTER_FIRST_HEAD "LBFIRST1"
#define REGISTER_FIRST_MAX  16384

struct create_problem {
    char text[512]; /* for a person: what failed, and what to do */
};

struct create_request {
    const char *network_name; /* network_name_is_valid() */
    const char *root_folder;  /* made when it is not there; not below the node's own folders */
    const char *address;      /* HOST:PORT at which others reach this node's coordinator.listen */
    uint16_t node_port;       /* of node.listen; others find the DHT through it */
    const char *host_name;    /* of this node in the list of members */
    bool waits_for_approval;  /* the policy at first */
    uint64_t now_s;
};

struct created {
    struct identity identity;
    char root_key_file[PATHS_SIZE]; /* where it was put: tell the operator */
    char root_file[PATHS_SIZE];
};

/*
 * A new network, of which this node is the first member and coordinator. LB_CONFLICT: the node
 * runs. LB_EXISTS: it is a member of a network, or the root's file is there; LB_INVALID: a name or
 * address that is none, or root_folder is below the node's own; LB_DENIED, LB_NO_SPACE, LB_IO. What
 * an interrupted attempt has left is replaced, but for root files.
 */
LB_MUST_CHECK lb_err create_network(const struct paths *paths, const struct create_request *request,
                                    struct created *ret_created,
                                    struct create_problem *ret_problem);

/*
 * This node, a member, offers itself as a coordinator to be reached at address. Once it is started
 * again lb-coordinator asks the others for it until the operator has added it. LB_NOT_FOUND: it is
 * no member; LB_EXISTS: it has offered itself, or is a coordinator; else as above.
 */
LB_MUST_CHECK lb_err create_offer(const struct paths *paths, const char *address,
                                  uint16_t node_port, struct create_problem *ret_problem);

/*
 * The operator's part in adding a coordinator: an intermediate for the key of a signing request
 * (GroupServer.request), by the root's key. network: of the group it is for; another root's key is
 * LB_INVALID. LB_CORRUPT: the request is none.
 */
LB_MUST_CHECK lb_err create_intermediate(const char *root_key_file, const char *root_file,
                                         const uint8_t network[NETWORK_ID_SIZE],
                                         struct bytes request, uint64_t now_s,
                                         uint8_t ret_der[CERTIFICATE_DER_MAX], size_t *ret_size,
                                         struct create_problem *ret_problem);
