/*
 * Joining, renewing and asking for news, over real sockets to coordinators on threads: true ones,
 * dead ones, impostors; and a full disk at each step.
 */
#include "libcommon/pki/enrol.h"

#include "libcommon/clock.h"
#include "libcommon/pki/membership.h"
#include "libcommon/stored.h"
#include "tests/libcommon/fake_coordinator.h"
#include "tests/libcommon/nth_failure.h"

#include <limits.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NODE 50u

static struct pki_network network;

static const uint8_t secret[JOIN_SECRET_SIZE] = "s3cret-s3cret-16";

struct world {
    char folder[64];
    char member[96], identity[96], bootstrap[96];
    struct enrol_place place;
    struct enrol_joining joining;
    struct enrol_limits limits;
    struct enrol_report report;
    unsigned pending, waiting;
};

static void on_pending(void *ctx, const char *fingerprint, unsigned ask_again_s)
{
    struct world *world = ctx;

    assert_int_equal(strlen(fingerprint), KEY_FINGERPRINT_SIZE - 1);
    assert_true(ask_again_s >= 1);
    world->pending++;
}

static void on_waiting(void *ctx, const char *why)
{
    struct world *world = ctx;

    assert_true(why[0] != '\0');
    world->waiting++;
}

static void world_init(struct world *world)
{
    /* In memory, if there is such a place: every file is synced, hundreds of times. */
    *world = (struct world){ .folder = "/dev/shm/lb-enrol-test-XXXXXX" };
    if (mkdtemp(world->folder) == NULL) {
        snprintf(world->folder, sizeof(world->folder), "/tmp/lb-enrol-test-XXXXXX");
        assert_non_null(mkdtemp(world->folder));
    }
    snprintf(world->member, sizeof(world->member), "%s/member", world->folder);
    snprintf(world->identity, sizeof(world->identity), "%s/identity", world->folder);
    snprintf(world->bootstrap, sizeof(world->bootstrap), "%s/bootstrap", world->folder);
    world->place = (struct enrol_place){ .member_folder = world->member,
                                         .identity_file = world->identity,
                                         .bootstrap_file = world->bootstrap };
    world->limits =
        (struct enrol_limits){ .deadline_ms = clock_monotonic_ms() + 60000, .cancel_fd = -1 };
    world->joining.host_name = "pc-12";
    world->joining.on_pending = on_pending;
    world->joining.on_waiting = on_waiting;
    world->joining.ctx = world;
    memcpy(world->joining.token.network, network.id, NETWORK_ID_SIZE);
    memcpy(world->joining.token.secret, secret, JOIN_SECRET_SIZE);
}

static void world_done(const struct world *world)
{
    static const char *const names[] = { "member/root.pem",
                                         "member/member.key",
                                         "member/member.pem",
                                         "member/coordinators",
                                         "member/denied",
                                         "member/reached",
                                         "member/intermediates",
                                         "member",
                                         "identity",
                                         "bootstrap",
                                         "" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[PATH_MAX];

        snprintf(path, sizeof(path), "%s/%s", world->folder, names[i]);
        (void)remove(path);
    }
    assert_int_not_equal(access(world->folder, F_OK), 0); /* nothing else was left there */
}

static void add_address(struct world *world, const char *address)
{
    struct join_token *token = &world->joining.token;

    snprintf(token->addresses[token->addresses_count++], JOIN_ADDRESS_SIZE, "%s", address);
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* A whole membership, of this network and node. */
static struct membership *load(const struct world *world)
{
    struct identity identity = { .network_name = "" };
    struct membership *membership = NULL;
    struct membership_problem problem;
    struct stored file;

    assert_int_equal(stored_read(world->identity, IDENTITY_FILE_MAX, STORED_TRUSTED, &file), LB_OK);
    assert_int_equal(identity_parse(bytes_of(file.data, file.size), &identity), LB_OK);
    stored_free(&file);
    assert_string_equal(identity.network_name, network.name);
    assert_int_equal(
        membership_load(world->member, &identity, clock_wall_s(), &membership, &problem), LB_OK);
    return membership;
}

/* ---- joining ---- */

/*
 * One coordinator a word: who it is (S sound, O other CA, F other leaf beneath the true root, M a
 * member, E expired, T speaks TLS only, D nobody listens), then its script (fake_coordinator.h).
 * A leader that is named is the second one.
 */
static const struct row {
    const char *what, *coordinators;
    lb_err err;
    const char *says; /* in the report's text */
    bool secret_seen; /* by the first coordinator that listens */
    unsigned pending, waiting;
} rows[] = {
    { "a valid token is enough", "SA", LB_OK, "", true, 0, 0 },
    { "a man in the middle hears nothing", "OA", LB_DENIED, "told nothing", false, 0, 0 },
    { "nor does one with the true root behind its chain", "FA", LB_DENIED, "told nothing", false, 0,
      0 },
    { "nor a member that is no coordinator", "MA", LB_DENIED, "not a coordinator", false, 0, 0 },
    { "nor one whose certificate has ended", "EA", LB_DENIED, "expired", false, 0, 0 },
    { "nor one that speaks only TLS", "TA", LB_DENIED, "no coordinator", false, 0, 0 },
    { "a dead one is passed over", "D SA", LB_OK, "", true, 0, 0 },
    { "an impostor too", "OA SA", LB_OK, "", false, 0, 0 },
    { "one that hangs up too", "SH SA", LB_OK, "", true, 0, 0 },
    { "said once", "SUUUA", LB_OK, "", true, 0, 1 },
    { "it waits for approval", "SPPA", LB_OK, "", true, 2, 0 },
    { "what is refused is refused", "SR SA", LB_DENIED, "used up", true, 0, 0 },
    { "refused after it waited", "SPR", LB_DENIED, "used up", true, 1, 0 },
    { "without a majority the next is asked", "SU SA", LB_OK, "", true, 0, 0 },
    { "and they are asked again, which is said", "SUA", LB_OK, "", true, 0, 1 },
    { "the leader is asked", "SL SA", LB_OK, "", true, 0, 0 },
    { "garbage is no answer", "SG", LB_CORRUPT, "no reply", true, 0, 0 },
    { "nor is a frame of a gigabyte", "SB", LB_CORRUPT, "no reply", true, 0, 0 },
    { "a certificate for another key is not taken", "SO", LB_CORRUPT, "no certificate", true, 0,
      0 },
    { "nor one of another network", "SX", LB_CORRUPT, "no certificate", true, 0, 0 },
    { "news are no answer to it", "SN", LB_CORRUPT, "something else", true, 0, 0 },
};

static const char *start(struct fake_coordinator *self, const char *at)
{
    static const struct {
        char letter;
        enum fake_kind kind;
    } kinds[] = { { 'S', FAKE_SOUND },  { 'O', FAKE_OTHER_CA }, { 'F', FAKE_OTHER_LEAF },
                  { 'M', FAKE_MEMBER }, { 'E', FAKE_EXPIRED },  { 'T', FAKE_WITHOUT_ALPN } };
    static char scripts[2][16];
    static unsigned next;
    char *script = scripts[next++ % 2];
    size_t size = strcspn(at, " ");

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (kinds[i].letter == *at) {
            self->kind = kinds[i].kind;
        }
    }
    snprintf(script, 16, "%.*s", (int)size - 1, at + 1);
    self->network = &network;
    self->script = script;
    self->node = NODE;
    fake_coordinator_start(self);
    return at + size;
}

static unsigned start_all(struct world *world, const char *text, struct fake_coordinator *ret_all)
{
    unsigned count = 0;

    /* The last first: the first may name it as the leader. */
    const char *second = strchr(text, ' ');

    if (second) {
        (void)start(&ret_all[1], second + 1);
        ret_all[0].leader = ret_all[1].address;
        count++;
    }
    if (text[0] == 'D') {
        add_address(world, "127.0.0.1:9"); /* discard: nobody listens there */
    } else {
        (void)start(&ret_all[0], text);
        add_address(world, ret_all[0].address);
        count++;
    }
    if (second && !strchr(text, 'L')) {
        add_address(world, ret_all[1].address);
    }
    return count;
}

static void test_row(void **state)
{
    const struct row *row = *state;
    struct fake_coordinator *all = calloc(2, sizeof(*all));
    struct fake_coordinator *first = row->coordinators[0] == 'D' ? &all[1] : &all[0];
    struct world world;
    lb_err err;

    world_init(&world);
    (void)start_all(&world, row->coordinators, all);
    err = enrol_join(&world.place, &world.joining, &world.limits, &world.report);
    for (unsigned i = 0; i < 2; i++) {
        if (all[i].context) {
            fake_coordinator_end(&all[i]);
        }
    }
    assert_int_equal(err, row->err);
    if (!strstr(world.report.text, row->says)) {
        fail_msg("says: %s", world.report.text);
    }
    assert_int_equal(fake_coordinator_has_seen(first, secret, sizeof(secret)), row->secret_seen);
    if (!row->secret_seen) {
        assert_int_equal(first->seen_size, 0); /* not one byte inside TLS */
        assert_true(first->connections > 0);
    }
    assert_int_equal(world.pending, row->pending);
    assert_int_equal(world.waiting, row->waiting);
    assert_int_equal(is_there(world.identity), err == LB_OK);
    if (err == LB_OK) {
        struct membership *membership = load(&world);

        assert_int_equal(world.report.bootstrap_count, 1);
        membership_free(&membership);
    }
    world_done(&world);
    free(all);
}

/* A process that has ended: what it was writing is left. */
static pid_t ended_process(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return pid;
}

static void what_an_interrupted_join_left_is_removed(void **state)
{
    static struct fake_coordinator coordinator;
    static const char *const names[] = { "member/member.key", "member/member.pem", "identity" };
    pid_t ended = ended_process();
    struct world world;

    (void)state;
    coordinator = (struct fake_coordinator){ .network = &network, .script = "A", .node = NODE };
    world_init(&world);
    assert_int_equal(mkdir(world.member, 0700), 0);
    for (size_t i = 0; i < 3; i++) {
        char path[PATH_MAX];
        FILE *file;

        snprintf(path, sizeof(path), "%s/%s.new-%ld", world.folder, names[i], (long)ended);
        file = fopen(path, "w");
        assert_non_null(file);
        fclose(file);
    }
    fake_coordinator_start(&coordinator);
    add_address(&world, coordinator.address);
    assert_int_equal(enrol_join(&world.place, &world.joining, &world.limits, &world.report), LB_OK);
    fake_coordinator_end(&coordinator);
    world_done(&world); /* nothing of them is there */
}

static void a_member_does_not_join_again(void **state)
{
    static struct fake_coordinator coordinator;
    struct world world;

    (void)state;
    coordinator = (struct fake_coordinator){ .network = &network, .script = "A", .node = NODE };
    world_init(&world);
    fake_coordinator_start(&coordinator);
    add_address(&world, coordinator.address);
    assert_int_equal(enrol_join(&world.place, &world.joining, &world.limits, &world.report), LB_OK);
    assert_int_equal(enrol_join(&world.place, &world.joining, &world.limits, &world.report),
                     LB_EXISTS);
    assert_non_null(strstr(world.report.text, "member of \"lab\""));
    fake_coordinator_end(&coordinator);
    assert_int_equal(coordinator.connections, 1);
    world_done(&world);
}

/* Its clock says so, and the certificate is taken all the same: by the coordinator's clock. */
static void test_clock(int64_t off_s)
{
    static struct fake_coordinator coordinator;
    struct world world;

    coordinator = (struct fake_coordinator){
        .network = &network, .script = "A", .node = NODE, .clock_off_s = off_s
    };
    world_init(&world);
    fake_coordinator_start(&coordinator);
    add_address(&world, coordinator.address);
    assert_int_equal(enrol_join(&world.place, &world.joining, &world.limits, &world.report), LB_OK);
    fake_coordinator_end(&coordinator);
    assert_true(world.report.has_skew);
    assert_true(llabs(world.report.skew_s + off_s) <= 2);
    world_done(&world);
}

static void a_clock_five_minutes_late_is_told(void **state)
{
    (void)state;
    test_clock(300);
}

static void a_clock_25_hours_ahead_is_told(void **state)
{
    (void)state;
    test_clock(-25 * 3600);
}

static void who_waits_too_long_is_told_what_to_do(void **state)
{
    static struct fake_coordinator coordinator;
    struct world world;

    (void)state;
    coordinator = (struct fake_coordinator){ .network = &network, .script = "P", .node = NODE };
    world_init(&world);
    fake_coordinator_start(&coordinator);
    add_address(&world, coordinator.address);
    world.limits.deadline_ms = clock_monotonic_ms() + 1500;
    assert_int_equal(enrol_join(&world.place, &world.joining, &world.limits, &world.report),
                     LB_TIMEOUT);
    assert_non_null(strstr(world.report.text, world.report.fingerprint));
    assert_non_null(strstr(world.report.text, "same token"));
    fake_coordinator_end(&coordinator);
    world_done(&world);
}

static void who_is_stopped_stops_at_once(void **state)
{
    static struct fake_coordinator coordinator;
    struct world world;
    int fds[2];

    (void)state;
    coordinator = (struct fake_coordinator){ .network = &network, .script = "W", .node = NODE };
    world_init(&world);
    fake_coordinator_start(&coordinator);
    add_address(&world, coordinator.address);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    world.limits.cancel_fd = fds[0];
    assert_int_equal(enrol_join(&world.place, &world.joining, &world.limits, &world.report),
                     LB_CANCELLED);
    close(fds[0]);
    close(fds[1]);
    fake_coordinator_end(&coordinator);
    world_done(&world);
}

/*
 * Whatever call on a file fails: it says so, the node is no member, and joining again with the same
 * token makes it one, with the same key.
 */
static void joining_on_a_bad_disk(struct nth_failure *self)
{
    static struct fake_coordinator coordinator;
    struct world world;
    size_t denied_size;
    struct node_id put_out = pki_node(7);
    uint8_t *denied = pki_deny_list(&network, 3, &put_out, 1, &denied_size);
    struct membership *membership;
    lb_err err;

    coordinator = (struct fake_coordinator){ .network = &network,
                                             .script = "A",
                                             .node = NODE,
                                             .denied = denied,
                                             .denied_size = denied_size };
    world_init(&world);
    fake_coordinator_start(&coordinator);
    add_address(&world, coordinator.address);
    nth_failure_arm(self);
    err = enrol_join(&world.place, &world.joining, &world.limits, &world.report);
    nth_failure_disarm(self);
    if (err != LB_OK) {
        assert_true(world.report.text[0] != '\0');
        err = enrol_join(&world.place, &world.joining, &world.limits, &world.report);
        assert_true(err == LB_OK || err == LB_EXISTS); /* the last sync of the identity failed */
    }
    fake_coordinator_end(&coordinator);
    assert_true(coordinator.keys_count == 1);
    membership = load(&world);
    assert_int_equal(deny_list_number(membership_denied(membership)), 3);
    membership_free(&membership);
    free(denied);
    world_done(&world);
}

/* ---- as a member ---- */

/* Makes it one whose certificate was issued so long ago. */
static void become_member(struct world *world, uint64_t issued_s)
{
    static struct fake_coordinator coordinator;

    coordinator = (struct fake_coordinator){
        .network = &network, .script = "A", .node = NODE, .issued_s = issued_s
    };
    fake_coordinator_start(&coordinator);
    add_address(world, coordinator.address);
    /* For the certificate to count when it was issued, its coordinator's clock stands there. */
    coordinator.clock_off_s = (int64_t)issued_s - (int64_t)clock_wall_s();
    assert_int_equal(enrol_join(&world->place, &world->joining, &world->limits, &world->report),
                     LB_OK);
    fake_coordinator_end(&coordinator);
}

static void set_coordinator(const struct world *world, const char *address)
{
    char line[64];

    snprintf(line, sizeof(line), "%s\n", address);
    assert_int_equal(
        membership_put_file(world->member, "coordinators", bytes_of(line, strlen(line)), 0644),
        LB_OK);
}

/* Age of our certificate in hours (its life is 168), who the coordinator is, what comes of it. */
static const struct renewal_row {
    const char *what;
    uint64_t age_h;
    enum fake_kind kind;
    const char *script;
    lb_err err;
    bool asked; /* the coordinator has heard anything */
} renewal_rows[] = {
    { "one of a day", 24, FAKE_SOUND, "A", LB_OK, true },
    { "one that has ended", 170, FAKE_SOUND, "A", LB_OK, true },
    { "a refusal", 24, FAKE_SOUND, "R", LB_DENIED, true },
    { "no majority", 24, FAKE_SOUND, "U", LB_UNAVAILABLE, true },
    { "an impostor hears nothing", 24, FAKE_OTHER_CA, "A", LB_DENIED, false },
    { "nor does a member", 24, FAKE_MEMBER, "A", LB_DENIED, false },
    { "a coordinator's that ended an hour ago: clocks may be wrong", 24, FAKE_EXPIRED, "A", LB_OK,
      true },
    { "another key's is not taken", 24, FAKE_SOUND, "O", LB_CORRUPT, true },
    { "pending is no answer to it", 24, FAKE_SOUND, "P", LB_CORRUPT, true },
};

static void test_renewal(void **state)
{
    const struct renewal_row *row = *state;
    static struct fake_coordinator coordinator;
    uint64_t issued_s = clock_wall_s() - row->age_h * 3600;
    struct membership *membership;
    struct world world;

    world_init(&world);
    become_member(&world, issued_s);
    coordinator = (struct fake_coordinator){
        .network = &network, .kind = row->kind, .script = row->script, .node = NODE
    };
    fake_coordinator_start(&coordinator);
    set_coordinator(&world, coordinator.address);
    assert_int_equal(enrol_renew(&world.place, &world.limits, &world.report), row->err);
    fake_coordinator_end(&coordinator);
    assert_int_equal(coordinator.seen_size > 0, row->asked);
    assert_true(!row->asked || coordinator.saw_certificate);
    membership = load(&world); /* whatever came of it, it is whole */
    assert_int_equal(membership_claims(membership)->not_before_s > issued_s, row->err == LB_OK);
    membership_free(&membership);
    world_done(&world);
}

static void another_node_is_not_made_of_it(void **state)
{
    static struct fake_coordinator coordinator;
    struct membership *membership;
    struct world world;

    (void)state;
    world_init(&world);
    become_member(&world, clock_wall_s());
    coordinator = (struct fake_coordinator){ .network = &network, .script = "A", .node = NODE + 1 };
    fake_coordinator_start(&coordinator);
    set_coordinator(&world, coordinator.address);
    assert_int_equal(enrol_renew(&world.place, &world.limits, &world.report), LB_CORRUPT);
    fake_coordinator_end(&coordinator);
    membership = load(&world);
    membership_free(&membership);
    world_done(&world);
}

static void renewing_on_a_bad_disk(struct nth_failure *self)
{
    static struct fake_coordinator coordinator;
    struct membership *membership;
    struct world world;

    world_init(&world);
    become_member(&world, clock_wall_s() - 3600);
    coordinator = (struct fake_coordinator){ .network = &network, .script = "A", .node = NODE };
    fake_coordinator_start(&coordinator);
    set_coordinator(&world, coordinator.address);
    nth_failure_arm(self);
    (void)!enrol_renew(&world.place, &world.limits, &world.report);
    nth_failure_disarm(self);
    membership = load(&world); /* the old one or the new one, whole */
    membership_free(&membership);
    assert_int_equal(enrol_renew(&world.place, &world.limits, &world.report), LB_OK);
    fake_coordinator_end(&coordinator);
    world_done(&world);
}

/* The number of ours, that of the list that comes (0: none; -n: one signed by an impostor). */
static const struct news_row {
    const char *what;
    int ours, comes;
    lb_err err;
    uint64_t after;
} news_rows[] = {
    { "nothing new", 3, 0, LB_OK, 3 },
    { "the first", 0, 1, LB_OK, 1 },
    { "a newer one", 3, 5, LB_OK, 5 },
    { "an older one changes nothing", 5, 3, LB_OK, 5 },
    { "one that nobody of the network has signed is not taken", 3, -9, LB_CORRUPT, 3 },
};

static void test_news(void **state)
{
    const struct news_row *row = *state;
    static struct fake_coordinator coordinator;
    struct pki_network other;
    struct node_id put_out = pki_node(7);
    uint8_t *ours = NULL;
    uint8_t *comes = NULL;
    size_t ours_size = 0;
    size_t comes_size = 0;
    struct membership *membership;
    struct world world;

    pki_network_make(&other, network.name, network.now_s);
    world_init(&world);
    become_member(&world, clock_wall_s());
    if (row->ours > 0) {
        ours = pki_deny_list(&network, (uint64_t)row->ours, &put_out, 1, &ours_size);
        assert_int_equal(
            membership_put_file(world.member, "denied", bytes_of(ours, ours_size), 0644), LB_OK);
    }
    if (row->comes != 0) {
        comes = pki_deny_list(row->comes > 0 ? &network : &other, (uint64_t)abs(row->comes),
                              &put_out, 1, &comes_size);
    }
    coordinator = (struct fake_coordinator){
        .network = &network, .script = "N", .denied = comes, .denied_size = comes_size
    };
    fake_coordinator_start(&coordinator);
    set_coordinator(&world, coordinator.address);
    assert_int_equal(enrol_get_news(&world.place, &world.limits, &world.report), row->err);
    fake_coordinator_end(&coordinator);
    membership = load(&world);
    assert_int_equal(deny_list_number(membership_denied(membership)), row->after);
    membership_free(&membership);
    free(ours);
    free(comes);
    pki_network_done(&other);
    world_done(&world);
}

/* How many a member knows after its join (A) and after news (N), each with another one. */
static void other_coordinators_intermediates_are_known(void **state)
{
    static struct fake_coordinator coordinator;
    struct membership *membership;
    X509 *const *known;
    struct world world;

    (void)state;
    world_init(&world);
    become_member(&world, clock_wall_s());
    for (unsigned i = 0; i < 3; i++) {
        uint8_t der[CERTIFICATE_DER_MAX];
        EVP_PKEY *key;
        X509 *further;
        size_t size;

        pki_intermediate_make(&network, &key, &further);
        assert_int_equal(certificate_to_der(further, der, &size), LB_OK);
        der[size - 1] ^= i == 2; /* nobody of the network has signed that */
        coordinator = (struct fake_coordinator){ .network = &network,
                                                 .script = i == 0 ? "A" : "N",
                                                 .node = NODE,
                                                 .intermediate = der,
                                                 .intermediate_size = size };
        fake_coordinator_start(&coordinator);
        set_coordinator(&world, coordinator.address);
        assert_int_equal(
            (i == 0 ? enrol_renew : enrol_get_news)(&world.place, &world.limits, &world.report),
            LB_OK);
        fake_coordinator_end(&coordinator);
        membership = load(&world);
        assert_int_equal(membership_intermediates(membership, &known), i < 2 ? i + 1 : 2);
        assert_int_equal(X509_cmp(known[0], further) == 0, i < 2);
        membership_free(&membership);
        X509_free(further);
        key_free(&key);
    }
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_does_not_join_again),
        cmocka_unit_test(what_an_interrupted_join_left_is_removed),
        cmocka_unit_test(a_clock_five_minutes_late_is_told),
        cmocka_unit_test(a_clock_25_hours_ahead_is_told),
        cmocka_unit_test(who_waits_too_long_is_told_what_to_do),
        cmocka_unit_test(who_is_stopped_stops_at_once),
        cmocka_unit_test(another_node_is_not_made_of_it),
        cmocka_unit_test(other_coordinators_intermediates_are_known),
    };
    int failed;

    pki_network_make(&network, "lab", clock_wall_s());
    failed = RUN_ROWS(rows, test_row) + cmocka_run_group_tests(tests, NULL, NULL) +
             RUN_ROWS(renewal_rows, test_renewal) + RUN_ROWS(news_rows, test_news) +
             NTH_FAILURE_RUN(joining_on_a_bad_disk, 20) +
             NTH_FAILURE_RUN(renewing_on_a_bad_disk, 10);
    pki_network_done(&network);
    return failed;
}
