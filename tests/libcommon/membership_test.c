/* Member folders: what is taken, what is refused, and what comes later. */
#include "libcommon/pki/membership.h"

#include "tests/libcommon/cmocka_row.h"
#include "tests/libcommon/pki_fixture.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW_S 1800000000u
#define DAY_S (24u * 3600)

struct world {
    char folder[32];
    struct pki_network network;
    struct pki_member member;
};

static void path_in(const struct world *world, const char *name, char ret_path[64])
{
    snprintf(ret_path, 64, "%s/%s", world->folder, name);
}

static void open_world(struct world *world, enum pki_flaw flaw)
{
    snprintf(world->folder, sizeof(world->folder), "/tmp/membership-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    pki_network_make(&world->network, "lab", NOW_S);
    pki_member_make(&world->network, 7, CERTIFICATE_MEMBER, flaw, &world->member);
    pki_write_folder(&world->network, &world->member, world->folder);
}

static void close_world(struct world *world)
{
    static const char *const names[] = { "root.pem",     "member.key", "member.pem",
                                         "coordinators", "denied",     "reached" };
    char path[64];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        path_in(world, names[i], path);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(world->folder), 0); /* nothing temporary is left there */
    pki_member_done(&world->member);
    pki_network_done(&world->network);
    assert_int_equal(ERR_peek_error(), 0);
}

static struct membership *load(const struct world *world)
{
    struct membership_problem problem = { "" };
    struct membership *self = NULL;

    assert_int_equal(
        membership_load(world->folder, &world->member.identity, NOW_S, &self, &problem), LB_OK);
    return self;
}

static void put_denied(const struct world *world, uint64_t number, unsigned node)
{
    struct node_id id = pki_node(node);
    size_t size;
    uint8_t *list = pki_deny_list(&world->network, number, &id, 1, &size);

    assert_int_equal(membership_put_file(world->folder, "denied", bytes_of(list, size), 0644),
                     LB_OK);
    free(list);
}

static void put_certificate(const struct world *world, const X509 *leaf)
{
    char text[CERTIFICATE_PEM_MAX];
    size_t size;

    assert_int_equal(certificate_to_pem(leaf, world->network.intermediate, text, &size), LB_OK);
    assert_int_equal(membership_put_file(world->folder, "member.pem", bytes_of(text, size), 0644),
                     LB_OK);
}

static void a_whole_folder_is_loaded(void **state)
{
    struct world world;
    const char *const *addresses;
    struct membership *self;

    (void)state;
    open_world(&world, PKI_SOUND);
    self = load(&world);
    assert_true(node_id_equal(&membership_claims(self)->node, &world.member.identity.node));
    assert_int_equal(membership_claims(self)->not_after_s, NOW_S + CERTIFICATE_LEAF_S);
    assert_string_equal(membership_identity(self)->network_name, "lab");
    assert_int_equal(EVP_PKEY_eq(membership_key(self), world.member.key), 1);
    assert_int_equal(X509_cmp(membership_leaf(self), world.member.leaf), 0);
    assert_int_equal(X509_cmp(membership_intermediate(self), world.network.intermediate), 0);
    assert_int_equal(X509_cmp(membership_root(self), world.network.root), 0);
    assert_int_equal(membership_coordinators(self, &addresses), 1);
    assert_string_equal(addresses[0], "127.0.0.1:6891");
    assert_null(membership_denied(self));
    assert_int_equal(membership_refresh(self, NOW_S), MEMBERSHIP_SAME);
    membership_free(&self);
    assert_null(self);
    close_world(&world);
}

/* What is done to one file of a sound folder. */
enum harm { REMOVED, EMPTY, CUT, OTHERS_READ, OTHERS_WRITE, ANOTHERS, LINKED, HUGE_FILE };

static const struct harm_row {
    const char *what, *file;
    enum harm harm;
    lb_err err;
    const char *blamed; /* NULL: that file */
} harm_rows[] = {
    { "no root", "root.pem", REMOVED, LB_NOT_FOUND, NULL },
    { "no key", "member.key", REMOVED, LB_NOT_FOUND, NULL },
    { "no certificate", "member.pem", REMOVED, LB_NOT_FOUND, NULL },
    { "no coordinators: it goes on without", "coordinators", REMOVED, LB_OK, NULL },
    { "no deny list: there is none yet", "denied", REMOVED, LB_OK, NULL },
    { "an empty root", "root.pem", EMPTY, LB_CORRUPT, NULL },
    { "an empty key", "member.key", EMPTY, LB_CORRUPT, NULL },
    { "an empty certificate", "member.pem", EMPTY, LB_CORRUPT, NULL },
    { "an empty deny list is not none", "denied", EMPTY, LB_INVALID, NULL },
    { "a root that was cut", "root.pem", CUT, LB_CORRUPT, NULL },
    { "a key that was cut", "member.key", CUT, LB_CORRUPT, NULL },
    { "a certificate without its intermediate", "member.pem", CUT, LB_CORRUPT, NULL },
    { "a deny list that was cut", "denied", CUT, LB_INVALID, NULL },
    { "a key that others may read", "member.key", OTHERS_READ, LB_DENIED, NULL },
    { "a root that others may write", "root.pem", OTHERS_WRITE, LB_DENIED, NULL },
    { "a certificate that others may write", "member.pem", OTHERS_WRITE, LB_DENIED, NULL },
    { "a deny list that others may write", "denied", OTHERS_WRITE, LB_DENIED, NULL },
    { "another network's root", "root.pem", ANOTHERS, LB_CORRUPT, NULL },
    { "another's key", "member.key", ANOTHERS, LB_CORRUPT, "member.pem" },
    { "another member's certificate", "member.pem", ANOTHERS, LB_CORRUPT, NULL },
    { "another network's deny list", "denied", ANOTHERS, LB_CORRUPT, NULL },
    { "a key behind a symbolic link", "member.key", LINKED, LB_DENIED, NULL },
    { "a certificate file without end", "member.pem", HUGE_FILE, LB_TOO_BIG, NULL },
};

static void put_anothers(struct world *world, const char *file)
{
    struct world other;
    char from[64], to[64];

    /* The certificate is of the same network, else its root alone would give it away. */
    open_world(&other, PKI_SOUND);
    put_denied(&other, 1, 3);
    if (strcmp(file, "member.pem") == 0) {
        struct pki_member member;

        pki_member_make(&world->network, 8, CERTIFICATE_MEMBER, PKI_SOUND, &member);
        put_certificate(world, member.leaf);
        pki_member_done(&member);
    } else {
        path_in(&other, file, from);
        path_in(world, file, to);
        assert_int_equal(rename(from, to), 0);
    }
    close_world(&other);
}

static void do_harm(struct world *world, const char *file, enum harm harm)
{
    char path[64], aside[80];
    struct stat about;

    path_in(world, file, path);
    snprintf(aside, sizeof(aside), "%s.aside", path);
    assert_int_equal(stat(path, &about), 0);
    switch (harm) {
    case REMOVED:
        assert_int_equal(unlink(path), 0);
        break;
    case EMPTY:
        assert_int_equal(truncate(path, 0), 0);
        break;
    case CUT:
        assert_int_equal(truncate(path, about.st_size * 2 / 3), 0);
        break;
    case OTHERS_READ:
        assert_int_equal(chmod(path, 0604), 0);
        break;
    case OTHERS_WRITE:
        assert_int_equal(chmod(path, 0646), 0);
        break;
    case ANOTHERS:
        put_anothers(world, file);
        break;
    case LINKED:
        assert_int_equal(rename(path, aside), 0);
        assert_int_equal(symlink(aside, path), 0);
        break;
    case HUGE_FILE:
        assert_int_equal(truncate(path, 1 << 24), 0);
        break;
    }
}

static void harmed_folders(void **state)
{
    const struct harm_row *row = *state;
    struct membership_problem problem = { "" };
    struct membership *self = NULL;
    struct world world;
    char path[80];

    open_world(&world, PKI_SOUND);
    put_denied(&world, 1, 3);
    do_harm(&world, row->file, row->harm);
    assert_int_equal(membership_load(world.folder, &world.member.identity, NOW_S, &self, &problem),
                     row->err);
    if (row->err != LB_OK) {
        assert_null(self);
        assert_non_null(strstr(
            problem.text, row->blamed ? row->blamed : row->file)); /* which file, for a person */
    }
    membership_free(&self);
    snprintf(path, sizeof(path), "%s/%s.aside", world.folder, row->file);
    (void)unlink(path);
    close_world(&world);
}

static const struct flaw_row {
    const char *what;
    enum pki_flaw flaw;
    lb_err err;
} flaw_rows[] = {
    { "an expired leaf is taken: it is to be renewed", PKI_EXPIRED, LB_OK },
    { "one that is not yet valid is taken: the clock may be wrong", PKI_NOT_YET_VALID, LB_OK },
    { "one of another CA is not", PKI_OTHER_CA, LB_CORRUPT },
    { "one signed by itself is not", PKI_SELF_SIGNED, LB_CORRUPT },
    { "one for another use is not", PKI_WRONG_USAGE, LB_CORRUPT },
    { "one of another network's name is not", PKI_OTHER_NETWORK, LB_CORRUPT },
    { "a CA is not", PKI_CA_AS_LEAF, LB_CORRUPT },
    { "one with a weak key is not", PKI_WEAK_KEY, LB_CORRUPT },
};

static void flawed_certificates(void **state)
{
    const struct flaw_row *row = *state;
    struct membership_problem problem = { "" };
    struct membership *self = NULL;
    struct world world;

    open_world(&world, row->flaw);
    assert_int_equal(membership_load(world.folder, &world.member.identity, NOW_S, &self, &problem),
                     row->err);
    membership_free(&self);
    close_world(&world);
}

static void another_identity_is_refused(void **state)
{
    struct membership_problem problem = { "" };
    struct membership *self = NULL;
    struct identity other;
    struct world world;

    (void)state;
    open_world(&world, PKI_SOUND);
    other = world.member.identity;
    other.node = pki_node(8);
    assert_int_equal(membership_load(world.folder, &other, NOW_S, &self, &problem), LB_CORRUPT);
    other = world.member.identity;
    other.network[0] ^= 1;
    assert_int_equal(membership_load(world.folder, &other, NOW_S, &self, &problem), LB_CORRUPT);
    close_world(&world);
}

static void a_renewal_is_seen_once(void **state)
{
    struct world world;
    struct membership *self;
    uint64_t serial;

    (void)state;
    open_world(&world, PKI_SOUND);
    self = load(&world);
    serial = membership_claims(self)->serial;
    pki_member_renew(&world.network, &world.member, NOW_S + 5 * DAY_S);
    put_certificate(&world, world.member.leaf);
    assert_int_equal(membership_refresh(self, NOW_S + 5 * DAY_S), MEMBERSHIP_NEW_CERTIFICATE);
    assert_int_equal(membership_claims(self)->serial, serial + 1);
    assert_int_equal(membership_claims(self)->not_after_s, NOW_S + 5 * DAY_S + CERTIFICATE_LEAF_S);
    assert_int_equal(membership_refresh(self, NOW_S + 5 * DAY_S), MEMBERSHIP_SAME);
    membership_free(&self);
    close_world(&world);
}

static void what_does_not_count_changes_nothing(void **state)
{
    struct pki_member other;
    struct membership *self;
    struct world world;
    char path[64];

    (void)state;
    open_world(&world, PKI_SOUND);
    put_denied(&world, 4, 3);
    self = load(&world);
    pki_member_make(&world.network, 8, CERTIFICATE_MEMBER, PKI_SOUND, &other);
    put_certificate(&world, other.leaf);
    path_in(&world, "denied", path);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(membership_refresh(self, NOW_S), MEMBERSHIP_SAME);
    assert_int_equal(X509_cmp(membership_leaf(self), world.member.leaf), 0);
    assert_int_equal(deny_list_number(membership_denied(self)), 4);
    pki_member_done(&other);
    membership_free(&self);
    close_world(&world);
}

static void a_deny_list_only_grows_newer(void **state)
{
    const struct node_id three = pki_node(3), four = pki_node(4);
    struct membership *self;
    struct world world;

    (void)state;
    open_world(&world, PKI_SOUND);
    self = load(&world);
    put_denied(&world, 2, 3);
    assert_int_equal(membership_refresh(self, NOW_S), MEMBERSHIP_NEW_DENIED);
    assert_true(deny_list_has(membership_denied(self), &three));
    put_denied(&world, 1, 4); /* an old one put back */
    assert_int_equal(membership_refresh(self, NOW_S), MEMBERSHIP_SAME);
    assert_true(deny_list_has(membership_denied(self), &three));
    put_denied(&world, 3, 4);
    assert_int_equal(membership_refresh(self, NOW_S), MEMBERSHIP_NEW_DENIED);
    assert_false(deny_list_has(membership_denied(self), &three));
    assert_true(deny_list_has(membership_denied(self), &four));
    membership_free(&self);
    close_world(&world);
}

/* A deny list that came while no file could be opened counts as soon as one can be. */
static void what_could_not_be_read_is_read_later(void **state)
{
    struct rlimit limit, none;
    struct membership *self;
    struct world world;

    (void)state;
    open_world(&world, PKI_SOUND);
    self = load(&world);
    put_denied(&world, 1, 3);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(membership_refresh(self, NOW_S), MEMBERSHIP_SAME);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(membership_refresh(self, NOW_S), MEMBERSHIP_NEW_DENIED);
    membership_free(&self);
    close_world(&world);
}

static void coordinators_are_read_again(void **state)
{
    char many[20 * 16] = "";
    const char *const *addresses;
    struct membership *self;
    struct world world;

    (void)state;
    open_world(&world, PKI_SOUND);
    self = load(&world);
    for (int i = 0; i < 20; i++) {
        snprintf(many + strlen(many), sizeof(many) - strlen(many), "10.0.0.%d:1\n", i);
    }
    assert_int_equal(membership_put_file(world.folder, "coordinators", bytes_of_text(many), 0644),
                     LB_OK);
    assert_int_equal(membership_refresh(self, NOW_S), MEMBERSHIP_NEW_COORDINATORS);
    assert_int_equal(membership_coordinators(self, &addresses), MEMBERSHIP_COORDINATORS_MAX);
    assert_string_equal(addresses[15], "10.0.0.15:1");
    membership_free(&self);
    close_world(&world);
}

/* Hours ago: our certificate, the coordinator's answer (0: never), our deny list (0: none). */
static const struct news_row {
    const char *what;
    int ours_h, reached_h, denied_h;
    int peers_h; /* its certificate */
    bool is_resumed, is_known;
    bool is_let_in;
} news_rows[] = {
    { "a coordinator was reached an hour ago", 48, 1, 0, 48, false, false, true },
    { "... 23 hours ago", 48, 23, 0, 48, false, false, true },
    { "... 25: who is new waits", 48, 25, 0, 48, false, false, false },
    { "... in three days: that clock was wrong", 48, -72, 0, 48, false, false, false },
    { "... in an hour: the clock was put right", 48, -1, 0, 48, false, false, true },
    { "never, and our own certificate is of today", 1, 0, 0, 48, false, false, true },
    { "never, and our own is of two days ago", 48, 0, 0, 48, false, false, false },
    { "another node had a deny list of today", 48, 72, 2, 48, false, false, true },
    { "one of two days ago is no news", 48, 72, 48, 48, false, false, false },
    { "who was vouched for today is let in", 48, 25, 0, 3, false, false, true },
    { "who is resumed is", 48, 25, 0, 48, true, false, true },
    { "who is known is", 48, 25, 0, 48, false, true, true },
};

static uint64_t ago(int hours)
{
    return (uint64_t)((int64_t)NOW_S - (int64_t)hours * 3600);
}

static void put_denied_of(struct world *world, uint64_t made_s)
{
    uint64_t now_s = world->network.now_s;

    world->network.now_s = made_s;
    put_denied(world, 1, 9);
    world->network.now_s = now_s;
}

static void without_news_only_who_is_known(void **state)
{
    const struct news_row *row = *state;
    struct certificate_claims peer = { .node = pki_node(3),
                                       .not_before_s = ago(row->peers_h) - CERTIFICATE_BACKDATE_S };
    struct membership *self;
    struct world world;

    open_world(&world, PKI_SOUND);
    pki_member_renew(&world.network, &world.member, ago(row->ours_h));
    pki_write_folder(&world.network, &world.member, world.folder);
    assert_int_equal(membership_put_reached(world.folder, NOW_S), LB_OK);
    self = load(&world);
    if (row->is_known) {
        assert_int_equal(membership_admit(self, &peer, false, NOW_S), REFUSED_NOT);
    }
    if (row->reached_h != 0) {
        assert_int_equal(membership_put_reached(world.folder, ago(row->reached_h)), LB_OK);
    } else {
        assert_int_equal(membership_put_file(world.folder, "reached", bytes_of_text("?\n"), 0644),
                         LB_OK);
    }
    if (row->denied_h != 0) {
        put_denied_of(&world, ago(row->denied_h));
    }
    (void)membership_refresh(self, NOW_S);
    assert_int_equal(membership_admit(self, &peer, row->is_resumed, NOW_S),
                     row->is_let_in ? REFUSED_NOT : REFUSED_NO_NEWS);
    membership_free(&self);
    close_world(&world);
}

static void keys_are_saved_once(void **state)
{
    EVP_PKEY *key = key_new(), *other = key_new(), *loaded = NULL;
    struct stat about;
    struct world world;
    char path[64];

    (void)state;
    open_world(&world, PKI_SOUND);
    path_in(&world, "denied", path); /* any name that is cleaned up */
    assert_int_equal(key_save(key, path), LB_OK);
    assert_int_equal(key_save(other, path), LB_EXISTS);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0600);
    assert_int_equal(key_load(path, &loaded), LB_OK);
#ifndef LB_SANITIZED /* libcommon/shield.h */
    assert_int_equal(prctl(PR_GET_DUMPABLE), 0);
#endif
    assert_int_equal(EVP_PKEY_eq(loaded, key), 1);
    assert_int_equal(key_save(key, "/nonexistent/folder/key"), LB_NOT_FOUND);
    assert_int_equal(key_load("/nonexistent/folder/key", &loaded), LB_NOT_FOUND);
    key_free(&loaded);
    key_free(&key);
    key_free(&other);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest others[] = {
        cmocka_unit_test(a_whole_folder_is_loaded),
        cmocka_unit_test(another_identity_is_refused),
        cmocka_unit_test(a_renewal_is_seen_once),
        cmocka_unit_test(what_does_not_count_changes_nothing),
        cmocka_unit_test(a_deny_list_only_grows_newer),
        cmocka_unit_test(what_could_not_be_read_is_read_later),
        cmocka_unit_test(coordinators_are_read_again),
        cmocka_unit_test(keys_are_saved_once),
    };

    return RUN_ROWS(harm_rows, harmed_folders) + RUN_ROWS(flaw_rows, flawed_certificates) +
           RUN_ROWS(news_rows, without_news_only_who_is_known) +
           cmocka_run_group_tests(others, NULL, NULL);
}
