/* The inbox: what was taken is there, once, whatever happens to the process or the disk. */
#include "services/member/inbox.h"

#include "libcommon/random.h"
#include "tests/libcommon/nth_failure.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNTIL 5000u

struct world {
    char folder[64];
    struct inbox *inbox;
};

static void world_open(struct world *world)
{
    assert_int_equal(inbox_open(world->folder, &world->inbox), LB_OK);
}

static void world_init(struct world *world)
{
    *world = (struct world){ .folder = "/tmp/lb-inbox-test-XXXXXX" };
    assert_non_null(mkdtemp(world->folder));
}

/* For thousands of commits: in memory, if there is such a place. */
static void world_init_quick(struct world *world)
{
    *world = (struct world){ .folder = "/dev/shm/lb-inbox-test-XXXXXX" };
    if (mkdtemp(world->folder) == NULL) {
        world_init(world);
    }
}

static void world_done(struct world *world)
{
    char path[96];

    inbox_close(&world->inbox);
    snprintf(path, sizeof(path), "%s/data.mdb", world->folder);
    (void)unlink(path);
    snprintf(path, sizeof(path), "%s/lock.mdb", world->folder);
    (void)unlink(path);
    assert_int_equal(rmdir(world->folder), 0);
}

/* A message by its number: all of it follows from that. */
static struct inbox_mail mail_of(unsigned number, unsigned sender, size_t size)
{
    static uint8_t text[32 * 1024];
    struct inbox_mail mail = { .sent_s = 1000 + number,
                               .received_s = 2000 + number,
                               .until_s = UNTIL,
                               .text = bytes_of(text, size) };

    store_u32(mail.id, number + 1);
    store_u32(mail.name, number + 1);
    mail.name[31] = 1;
    store_u32(mail.sender.bytes, sender);
    memset(text, (int)(number & 0xff), size);
    return mail;
}

static lb_err put(struct world *world, unsigned number)
{
    struct inbox_mail mail = mail_of(number, 7, 100);
    uint64_t at;

    return inbox_put(world->inbox, &mail, &at);
}

/* The numbers of all that is there, as text. */
static void list(struct world *world, char ret_text[512])
{
    struct inbox_info infos[64];
    bool more;
    size_t count = inbox_list(world->inbox, 0, infos, 64, &more);
    size_t size = 0;

    ret_text[0] = '\0';
    assert_false(more);
    for (size_t i = 0; i < count; i++) {
        size += (size_t)snprintf(ret_text + size, 512 - size, "%s%u:%u", i > 0 ? " " : "",
                                 (unsigned)infos[i].number, (unsigned)load_u32(infos[i].id) - 1);
    }
}

/*
 * Steps: pN put message N; rN remove number N; nN put another sealed form of N (its id differs, its
 * sender's name does not); oo close and open; sN the time is N thousand: sweep. Each
 * answers k (OK), e (had been), n (not found).
 */
static const struct row {
    const char *what, *steps, *answers, *list;
} rows[] = {
    { "what comes is there, oldest first", "p1 p2 p3", "kkk", "1:1 2:2 3:3" },
    { "twice it is taken once", "p1 p1 p2 p1", "keke", "1:1 2:2" },
    { "also when its seal was changed", "p1 n1", "ke", "1:1" },
    { "also after it was removed", "p1 r1 p1 n1", "kkee", "" },
    { "also by the next process", "p1 oo p1", "k.e", "1:1" },
    { "numbers are not used again", "p1 p2 r2 p3", "kkkk", "1:1 3:3" },
    { "not by the next process either", "p1 r1 oo p2", "kk.k", "2:2" },
    { "what is not there cannot be removed", "p1 r2 r1 r1", "knkn", "" },
    { "it is remembered as long as it may come", "p1 r1 s4 p1", "kk.e", "" },
    { "and then forgotten", "p1 r1 s6 p1", "kk.k", "2:1" },
    { "what is forgotten is still there to be read", "p1 s6", "k.", "1:1" },
};

static char letter_of(lb_err err)
{
    switch (err) {
    case LB_OK:
        return 'k';
    case LB_EXISTS:
        return 'e';
    case LB_NOT_FOUND:
        return 'n';
    default:
        return '!';
    }
}

static char take_step(struct world *world, char what, unsigned number)
{
    struct inbox_mail mail = mail_of(number, 7, 100);
    uint64_t at;
    bool more = true;

    switch (what) {
    case 'p':
        return letter_of(inbox_put(world->inbox, &mail, &at));
    case 'n':
        mail.id[30] = 9;
        return letter_of(inbox_put(world->inbox, &mail, &at));
    case 'r':
        return letter_of(inbox_remove(world->inbox, number));
    case 's':
        while (more) {
            assert_int_equal(inbox_sweep(world->inbox, number * 1000, 1, &more), LB_OK);
        }
        return '.';
    default:
        inbox_close(&world->inbox);
        world_open(world);
        return '.';
    }
}

static void test_row(void **state)
{
    const struct row *row = *state;
    char answers[64] = "";
    char text[512];
    size_t count = 0;
    struct world world;

    world_init(&world);
    world_open(&world);
    for (const char *at = row->steps; *at != '\0'; at += at[2] == ' ' ? 3 : 2) {
        answers[count++] = take_step(&world, at[0], (unsigned)(at[1] - '0'));
    }
    assert_string_equal(answers, row->answers);
    list(&world, text);
    assert_string_equal(text, row->list);
    world_done(&world);
}

static void all_of_a_message_comes_back(void **state)
{
    struct inbox_mail mail = mail_of(5, 9, 32 * 1024);
    struct inbox_info info;
    struct world world;
    uint64_t number;
    uint8_t *text;

    (void)state;
    world_init(&world);
    world_open(&world);
    assert_int_equal(inbox_put(world.inbox, &mail, &number), LB_OK);
    assert_int_equal(inbox_read(world.inbox, number, &info, &text), LB_OK);
    assert_int_equal(info.size, mail.text.size);
    assert_memory_equal(text, mail.text.data, mail.text.size);
    assert_true(node_id_equal(&info.sender, &mail.sender));
    assert_int_equal(info.sent_s, mail.sent_s);
    assert_int_equal(info.received_s, mail.received_s);
    assert_memory_equal(info.id, mail.id, INBOX_ID_SIZE);
    free(text);
    assert_int_equal(inbox_read(world.inbox, number + 1, &info, &text), LB_NOT_FOUND);
    world_done(&world);
}

static void a_list_comes_in_pages(void **state)
{
    struct inbox_info infos[4];
    struct world world;
    uint64_t after = 0;
    unsigned seen = 0;
    bool more = true;

    (void)state;
    world_init(&world);
    world_open(&world);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(put(&world, i), LB_OK);
    }
    while (more) {
        size_t count = inbox_list(world.inbox, after, infos, 4, &more);

        for (size_t i = 0; i < count; i++) {
            assert_int_equal(infos[i].number, ++seen);
        }
        after = infos[count - 1].number;
    }
    assert_int_equal(seen, 10);
    assert_int_equal(inbox_list(world.inbox, UINT64_MAX, infos, 4, &more), 0);
    world_done(&world);
}

/* One sender has a quarter of the room; the others are still taken, until all is used. */
static void room_is_shared(void **state)
{
    const size_t size = 32 * 1024;
    const unsigned share = INBOX_SENDER_BYTES_MAX / (32 * 1024);
    struct inbox_stats stats;
    struct inbox_mail mail;
    struct world world;
    uint64_t number;
    unsigned next = 0;

    (void)state;
    world_init_quick(&world);
    world_open(&world);
    for (unsigned sender = 0; sender < INBOX_BYTES_MAX / INBOX_SENDER_BYTES_MAX; sender++) {
        for (unsigned i = 0; i < share; i++) {
            mail = mail_of(next++, sender, size);
            assert_int_equal(inbox_put(world.inbox, &mail, &number), LB_OK);
        }
        mail = mail_of(next++, sender, 1);
        assert_int_equal(inbox_put(world.inbox, &mail, &number), LB_FULL);
    }
    mail = mail_of(next, 99, 1); /* there is no room for anybody */
    assert_int_equal(inbox_put(world.inbox, &mail, &number), LB_FULL);
    inbox_get_stats(world.inbox, &stats);
    assert_int_equal(stats.bytes, INBOX_BYTES_MAX);
    assert_int_equal(inbox_remove(world.inbox, 1), LB_OK);
    assert_int_equal(inbox_put(world.inbox, &mail, &number), LB_OK);
    world_done(&world);
}

static void one_sender_has_so_many_messages(void **state)
{
    struct inbox_mail mail;
    struct world world;
    uint64_t number;

    (void)state;
    world_init_quick(&world);
    world_open(&world);
    for (unsigned i = 0; i < INBOX_SENDER_MESSAGES_MAX; i++) {
        mail = mail_of(i, 3, 1);
        assert_int_equal(inbox_put(world.inbox, &mail, &number), LB_OK);
    }
    mail = mail_of(999999, 3, 1);
    assert_int_equal(inbox_put(world.inbox, &mail, &number), LB_FULL);
    mail = mail_of(999999, 4, 1);
    assert_int_equal(inbox_put(world.inbox, &mail, &number), LB_OK);
    world_done(&world);
}

/* ---- killed ---- */

/* Takes messages and removes every third, and says each once it was acknowledged. */
static void take_until_killed(const char *folder, unsigned from, int out)
{
    struct world world = { .inbox = NULL };

    snprintf(world.folder, sizeof(world.folder), "%s", folder);
    if (inbox_open(world.folder, &world.inbox) != LB_OK) {
        _exit(1);
    }
    for (unsigned i = from;; i++) {
        struct inbox_mail mail = mail_of(i, i % 5, 100 + i % 3000);
        uint64_t number = 0;
        unsigned told[2] = { i, 0 };

        if (inbox_put(world.inbox, &mail, &number) != LB_OK) {
            _exit(2);
        }
        told[1] = (unsigned)number;
        if (write(out, told, sizeof(told)) != sizeof(told)) {
            _exit(3);
        }
    }
}

static void what_was_taken_survives_a_kill(void **state)
{
    struct random random;
    struct world world;
    unsigned last[2] = { 0, 0 };
    unsigned known = 0;

    (void)state;
    random_init(&random, 4);
    world_init(&world);
    for (unsigned round = 0; round < 20; round++) {
        unsigned until = 1 + (unsigned)random_below(&random, 40);
        int fds[2];
        pid_t child;

        assert_int_equal(pipe(fds), 0);
        child = fork();
        if (child == 0) {
            take_until_killed(world.folder, 1000 * (round + 1), fds[1]);
        }
        close(fds[1]);
        for (unsigned i = 0; i < until; i++) {
            assert_int_equal(read(fds[0], last, sizeof(last)), sizeof(last));
            assert_true(last[1] > known); /* never a number twice */
            known = last[1];
        }
        kill(child, SIGKILL);
        while (read(fds[0], last, sizeof(last)) == (ssize_t)sizeof(last)) {
            known = last[1]; /* acknowledged before it died */
        }
        close(fds[0]);
        assert_int_equal(waitpid(child, NULL, 0), child);
        world_open(&world);
        {
            struct inbox_info info;
            uint8_t *text;

            assert_int_equal(inbox_read(world.inbox, known, &info, &text), LB_OK);
            free(text);
        }
        inbox_close(&world.inbox);
    }
    world_done(&world);
}

/* ---- a bad disk ---- */

#define BEFORE    5u
#define MEANWHILE 4u

static void check(struct world *world, const bool *taken, const bool *refused)
{
    struct inbox_info infos[64];
    bool more;
    size_t count = inbox_list(world->inbox, 0, infos, 64, &more);
    uint64_t before = 0;

    for (unsigned i = 0; i < BEFORE + MEANWHILE; i++) {
        struct inbox_mail mail = mail_of(i, 7, 100);
        unsigned there = 0;

        for (size_t j = 0; j < count; j++) {
            there += memcmp(infos[j].id, mail.id, INBOX_ID_SIZE) == 0 ? 1 : 0;
        }
        assert_true(there <= 1 && (!taken[i] || there == 1) && (!refused[i] || there == 0));
        /* Handed over again, as its sender would when it heard nothing, it is there once. */
        assert_int_equal(put(world, i), there == 1 ? LB_EXISTS : LB_OK);
    }
    for (size_t j = 0; j < count; j++) {
        assert_true(infos[j].number > before);
        before = infos[j].number;
    }
}

static void taking_on_a_bad_disk(struct nth_failure *self)
{
    bool taken[BEFORE + MEANWHILE] = { false };
    bool refused[BEFORE + MEANWHILE] = { false };
    struct world world;
    lb_err err = LB_OK;

    world_init(&world);
    world_open(&world);
    for (unsigned i = 0; i < BEFORE; i++) {
        taken[i] = put(&world, i) == LB_OK;
    }
    nth_failure_arm(self);
    for (unsigned i = BEFORE; i < BEFORE + MEANWHILE && err != LB_IO; i++) {
        err = put(&world, i); /* LB_IO: the process would end */
        taken[i] = err == LB_OK;
        refused[i] = err == LB_NO_SPACE;
        assert_true(err == LB_OK || err == LB_NO_SPACE || err == LB_IO);
    }
    nth_failure_disarm(self);
    inbox_close(&world.inbox);
    world_open(&world);
    check(&world, taken, refused);
    world_done(&world);
}

static void opening_on_a_bad_disk(struct nth_failure *self)
{
    bool taken[BEFORE + MEANWHILE] = { false };
    bool refused[BEFORE + MEANWHILE] = { false };
    struct world world;
    lb_err err;

    world_init(&world);
    world_open(&world);
    for (unsigned i = 0; i < BEFORE; i++) {
        taken[i] = put(&world, i) == LB_OK;
    }
    inbox_close(&world.inbox);
    nth_failure_arm(self);
    err = inbox_open(world.folder, &world.inbox);
    nth_failure_disarm(self);
    assert_true(err != LB_CORRUPT && err != LB_UNSUPPORTED); /* or it would be set aside */
    inbox_close(&world.inbox);
    world_open(&world);
    check(&world, taken, refused);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_a_message_comes_back),
        cmocka_unit_test(a_list_comes_in_pages),
        cmocka_unit_test(room_is_shared),
        cmocka_unit_test(one_sender_has_so_many_messages),
        cmocka_unit_test(what_was_taken_survives_a_kill),
    };

    return RUN_ROWS(rows, test_row) + cmocka_run_group_tests(tests, NULL, NULL) +
           NTH_FAILURE_RUN(taking_on_a_bad_disk, 8) + NTH_FAILURE_RUN(opening_on_a_bad_disk, 3);
}
