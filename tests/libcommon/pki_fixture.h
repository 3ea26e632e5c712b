/*
 * A private network for tests, in memory: its root, one intermediate, and as many members as are
 * asked for, sound or with one flaw; and their folders on disk.
 *
 *     struct pki_network network;
 *     struct pki_member member;
 *
 *     pki_network_make(&network, "lab", (uint64_t)time(NULL));
 *     pki_member_make(&network, 1, CERTIFICATE_MEMBER, PKI_SOUND, &member);
 *     membership = pki_membership(&network, &member);    in memory, or
 *     pki_write_folder(&network, &member, folder); pki_write_identity(&member, path);
 *     ...
 *     pki_member_done(&member);
 *     pki_network_done(&network);
 *
 * Whatever fails here ends the process. TLS itself verifies at the real time, so networks whose
 * members are to shake hands are made at it.
 */
#pragma once

#include "libcommon/pki/membership.h"

/* What is wrong with a member's certificate. */
enum pki_flaw {
    PKI_SOUND,
    PKI_EXPIRED,       /* for an hour */
    PKI_NOT_YET_VALID, /* for an hour */
    PKI_OTHER_CA,      /* of a network of the same name with another root */
    PKI_SELF_SIGNED,
    PKI_WRONG_USAGE, /* code signing */
    PKI_SERVER_ONLY, /* serverAuth, without clientAuth */
    PKI_CLIENT_ONLY,
    PKI_OTHER_NETWORK, /* its SAN names another network; signed by this one's intermediate */
    PKI_NO_ID,         /* no SAN at all */
    PKI_TWO_IDS,
    PKI_CA_AS_LEAF, /* CA:TRUE */
    PKI_WEAK_KEY,   /* RSA of 1024 bits */
    PKI_WEAK_DIGEST /* signed with SHA-1 */
};

struct pki_network {
    char name[NETWORK_NAME_SIZE];
    uint8_t id[NETWORK_ID_SIZE];
    uint64_t now_s; /* when all of it was made */
    uint64_t serial;
    EVP_PKEY *root_key, *intermediate_key;
    X509 *root, *intermediate;
};

struct pki_member {
    struct identity identity;
    enum certificate_role role;
    EVP_PKEY *key;
    X509 *leaf, *intermediate;
};

/* Root of 10 years, intermediate of 90 days, both 30 days old. */
void pki_network_make(struct pki_network *ret_self, const char *name, uint64_t now_s);
void pki_network_done(struct pki_network *self);

/* Of the same network another coordinator's intermediate, by its root. Owned by the caller. */
void pki_intermediate_make(struct pki_network *network, EVP_PKEY **ret_key,
                           X509 **ret_intermediate);

/* The node id of a member number, the same in each run, and far from each other. */
struct node_id pki_node(unsigned number);

/* A leaf of CERTIFICATE_LEAF_S from the network's now_s on. */
void pki_member_make(struct pki_network *network, unsigned number, enum certificate_role role,
                     enum pki_flaw flaw, struct pki_member *ret_self);
void pki_member_done(struct pki_member *self);

/* Another leaf for its key, from now_s on: a renewal. */
void pki_member_renew(struct pki_network *network, struct pki_member *self, uint64_t now_s);

/* In memory. Of sound members only. The caller frees. */
struct membership *pki_membership(const struct pki_network *network,
                                  const struct pki_member *member);

/*
 * The five files of a member folder, which is there; no deny list. Its coordinators is one line,
 * "127.0.0.1:6891".
 */
void pki_write_folder(const struct pki_network *network, const struct pki_member *member,
                      const char *folder);
void pki_write_identity(const struct pki_member *member, const char *path);

/* A deny list of these nodes, signed by the network's intermediate; the caller frees. */
uint8_t *pki_deny_list(const struct pki_network *network, uint64_t number,
                       const struct node_id *nodes, size_t count, size_t *ret_size);

/*
 * What somebody with this certificate would speak who does not keep to our rules: shows it, at any
 * security level, verifies nobody, speaks every version. The caller frees.
 */
SSL_CTX *pki_rogue_context(const struct pki_member *member, const SSL_METHOD *method);
