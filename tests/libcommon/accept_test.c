/* A mailbox of libzmq's in a process that has no descriptor left. */
#include "libcommon/accept.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

static void connect_to(int fd, const char *path)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };

    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
}

/* Until there is neither room nor a gap. */
static void use_up_descriptors(struct rlimit *ret_before)
{
    const int next = dup(STDIN_FILENO);
    struct rlimit limit;

    assert_true(next >= 0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, ret_before), 0);
    limit = *ret_before;
    limit.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(dup(STDIN_FILENO), -1);
}

static void who_connects_is_turned_away_until_there_are_descriptors(void **state)
{
    char folder[] = "/tmp/lb-accept-XXXXXX", path[64], endpoint[80], byte;
    struct rlimit before;
    void *context, *mailbox;
    int clients[4];

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/sock", folder);
    snprintf(endpoint, sizeof endpoint, "ipc://%s", path);
    accept_keep_spare();
    context = zmq_ctx_new();
    mailbox = zmq_socket(context, ZMQ_ROUTER);
    assert_int_equal(zmq_bind(mailbox, endpoint), 0);
    for (unsigned i = 0; i < 4; i++)
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    use_up_descriptors(&before);
    for (unsigned i = 0; i < 3; i++) { /* each time there is a spare one again */
        connect_to(clients[i], path);
        assert_true(read(clients[i], &byte, 1) <= 0);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    connect_to(clients[3], path);
    assert_int_equal(read(clients[3], &byte, 1), 1); /* the greeting (ZMTP 3.1) */
    for (unsigned i = 0; i < 4; i++)
        close(clients[i]);
    zmq_close(mailbox);
    zmq_ctx_term(context);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_connects_is_turned_away_until_there_are_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
