/*
 * The filter on real sockets: loopback hands a datagram over before sendto() returns, so what has
 * not arrived then never will.
 */
#include "services/transport/gate.h"

#include "libcommon/listen.h"
#include "tests/libcommon/cmocka_row.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct address home_v6 = { .ip = { [15] = 1 } };

static struct address home(uint8_t last)
{
    return address_v4(127, 0, 0, last, 0);
}

static int bound_socket(const struct address *address)
{
    struct sockaddr_storage name;
    unsigned size = address_to_sockaddr(address, &name);
    int fd = socket(name.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0 && bind(fd, (const struct sockaddr *)&name, size) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* How many of `count` datagrams from this address arrive. */
static unsigned arrive(int to, const struct address *bound, const struct address *from,
                       unsigned count)
{
    struct sockaddr_storage name;
    unsigned size = address_to_sockaddr(bound, &name), arrived = 0;
    int fd = bound_socket(from);
    uint8_t data[8];

    assert_true(fd >= 0);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(sendto(fd, "d", 1, 0, (const struct sockaddr *)&name, size), 1);
        while (recv(to, data, sizeof(data), MSG_DONTWAIT) == 1)
            arrived++;
    }
    close(fd);
    return arrived;
}

static struct overload_rule rule(struct address source, uint32_t keep, uint8_t size)
{
    return (struct overload_rule){ .source = source, .keep = keep, .size = size };
}

static void a_source_is_heard_as_its_rule_says(void **state)
{
    const struct address where = home(1), a = home(2), b = home(3), c = home(4);
    struct overload_rule rules[OVERLOAD_RULES_MAX];
    struct address bound;
    int fd;

    (void)state;
    assert_int_equal(listen_udp(&where, 1, &fd, &bound), LB_OK);
    for (unsigned i = 0; i < OVERLOAD_RULES_MAX; i++)
        rules[i] = rule(address_v4(127, 1, 0, (uint8_t)(1 + i), 0), 0, 16);
    rules[0] = rule(a, 0, 16);
    rules[OVERLOAD_RULES_MAX - 1] = rule(b, UINT32_MAX / 2, 16);
    assert_int_equal(gate_set(fd, true, rules, OVERLOAD_RULES_MAX), LB_OK);
    assert_int_equal(arrive(fd, &bound, &a, 50), 0);
    assert_in_range(arrive(fd, &bound, &b, 1000), 300, 700); /* 12 deviations */
    assert_int_equal(arrive(fd, &bound, &c, 50), 50);
    gate_open(fd);
    assert_int_equal(arrive(fd, &bound, &a, 50), 50);
    assert_int_equal(gate_set(fd, true, rules, 1), LB_OK);
    assert_int_equal(arrive(fd, &bound, &a, 50), 0);
    assert_int_equal(gate_set(fd, true, NULL, 0), LB_OK);
    assert_int_equal(arrive(fd, &bound, &a, 50), 50);
    close(fd);
}

static void of_ipv6_a_whole_address_or_a_64_is_meant(void **state)
{
    struct overload_rule rules[] = { rule(home_v6, 0, 16), rule(home(2), 0, 16) };
    struct address bound;
    int fd;

    (void)state;
    if (listen_udp(&home_v6, 1, &fd, &bound) != LB_OK) {
        print_message("this machine has no IPv6\n");
        return;
    }
    assert_int_equal(gate_set(fd, false, rules, 2), LB_OK);
    assert_int_equal(arrive(fd, &bound, &home_v6, 10), 0);
    rules[0].source.ip[15] = 2;
    assert_int_equal(gate_set(fd, false, rules, 2), LB_OK);
    assert_int_equal(arrive(fd, &bound, &home_v6, 10), 10);
    rules[0].size = 8;
    assert_int_equal(gate_set(fd, false, rules, 2), LB_OK);
    assert_int_equal(arrive(fd, &bound, &home_v6, 10), 0);
    rules[0].source.ip[7] = 1;
    assert_int_equal(gate_set(fd, false, rules, 2), LB_OK);
    assert_int_equal(arrive(fd, &bound, &home_v6, 10), 10);
    close(fd);
}

static void a_socket_that_takes_none_says_so(void **state)
{
    const struct address where = home(1);
    const struct overload_rule rules[] = { rule(home(2), 0, 16) };
    struct address bound;
    int fd, on = 1;

    (void)state;
    assert_int_equal(listen_udp(&where, 1, &fd, &bound), LB_OK);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on)), 0);
    assert_int_equal(gate_set(fd, true, rules, 1), LB_DENIED);
    close(fd);
}

/* As kernels up to 6.8 have it for each socket, old program and new together. */
static bool have_little_memory(void)
{
    int fd = unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0
                 ? open("/proc/sys/net/core/optmem_max", O_WRONLY | O_CLOEXEC)
                 : -1;
    bool is_set = fd >= 0 && write(fd, "20480", 5) == 5;

    if (fd >= 0)
        close(fd);
    return is_set;
}

/* Last: this process is in a network of its own afterwards. */
static void rules_are_replaced_where_filters_have_little_room(void **state)
{
    struct overload_rule rules[OVERLOAD_RULES_MAX];

    (void)state;
    if (!have_little_memory()) {
        print_message("the limit cannot be set here\n");
        return;
    }
    for (unsigned family = 0; family < 2; family++) {
        int fd = socket(family == 0 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        for (unsigned i = 0; i < OVERLOAD_RULES_MAX; i++) {
            rules[i] = rule(family == 0 ? home((uint8_t)(1 + i)) : home_v6, 7, 16);
            rules[i].source.ip[14] = (uint8_t)i;
        }
        assert_int_equal(gate_set(fd, family == 0, rules, OVERLOAD_RULES_MAX), LB_OK);
        assert_int_equal(gate_set(fd, family == 0, rules, OVERLOAD_RULES_MAX), LB_OK);
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_is_heard_as_its_rule_says),
        cmocka_unit_test(of_ipv6_a_whole_address_or_a_64_is_meant),
        cmocka_unit_test(a_socket_that_takes_none_says_so),
        cmocka_unit_test(rules_are_replaced_where_filters_have_little_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
