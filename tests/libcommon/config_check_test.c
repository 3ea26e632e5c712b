/* Addresses in the configuration: what config_load() takes for any list of texts. */
#include "libcommon/address.h"
#include "libcommon/config.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <string.h>

static const struct address_row {
    const char *what, *override;
    const char *said; /* NULL: it is accepted */
} address_rows[] = {
    { "the defaults", NULL, NULL },
    { "one address", "node.listen=127.0.0.1:7001", NULL },
    { "any free port", "node.listen=127.0.0.1:0", NULL },
    { "one of each family", "node.listen=[::1]:7001,127.0.0.1:7001", NULL },
    { "a name", "node.listen=here:7001",
      "command line: 'here:7001' does not fit 'listen' in [node]: expected ADDR:PORT, as "
      "0.0.0.0:6881 or [::]:6881" },
    { "no port", "node.listen=127.0.0.1",
      "command line: '127.0.0.1' does not fit 'listen' in [node]: expected ADDR:PORT, as "
      "0.0.0.0:6881 or [::]:6881" },
    { "two of one family", "node.listen=127.0.0.1:1,127.0.0.2:1",
      "command line: '127.0.0.2:1' does not fit 'listen' in [node]: at most one IPv4 and one IPv6 "
      "address" },
    { "metrics on loopback", "gateway.metrics_listen=127.0.0.1:9881", NULL },
    { "metrics on IPv6", "gateway.metrics_listen=[::1]:9881", NULL },
    { "metrics without a port", "gateway.metrics_listen=127.0.0.1",
      "command line: '127.0.0.1' does not fit 'metrics_listen' in [gateway]: expected ADDR:PORT, "
      "as 127.0.0.1:9881 or [::1]:9881" },
    { "a coordinator on one address", "coordinator.listen=192.0.2.1:7891", NULL },
    { "a coordinator without a port", "coordinator.listen=192.0.2.1",
      "command line: '192.0.2.1' does not fit 'listen' in [coordinator]: expected ADDR:PORT, as "
      "0.0.0.0:6891 or [::]:6891" },
    { "a coordinator on two of one family", "coordinator.listen=[::1]:1,[::2]:1",
      "command line: '[::2]:1' does not fit 'listen' in [coordinator]: at most one IPv4 and one "
      "IPv6 address" },
    { "a bootstrap name", "node.bootstrap=teacher.example:6881", NULL },
    { "a bootstrap address", "node.bootstrap=192.0.2.1:6881 [2001:db8::1]:6881", NULL },
    { "a bootstrap without a port", "node.bootstrap=teacher",
      "command line: 'teacher' does not fit 'bootstrap' in [node]: expected HOST:PORT" },
    { "a bootstrap of port 0", "node.bootstrap=teacher:0",
      "command line: 'teacher:0' does not fit 'bootstrap' in [node]: expected HOST:PORT" },
    { "a bootstrap without brackets", "node.bootstrap=2001:db8::1:6881",
      "command line: '2001:db8::1:6881' does not fit 'bootstrap' in [node]: expected HOST:PORT" },
};

static void addresses(void **state)
{
    const struct address_row *row = *state;
    const char *overrides[] = { row->override, NULL };
    struct config_problem problem = { "" };
    struct config *config;

    assert_int_equal(config_load(&config, NULL, overrides, &problem), LB_OK);
    assert_int_equal(config_check_addresses(config, &problem),
                     row->said != NULL ? LB_INVALID : LB_OK);
    assert_string_equal(problem.text, row->said != NULL ? row->said : "");
    config_free(&config);
}

static const struct handed_row {
    const char *what, *listen, *bound;
    bool agrees;
} handed_rows[] = {
    { "the default", "0.0.0.0:6881, [::]:6881", "0.0.0.0:6881", true },
    { "the other family", "0.0.0.0:6881, [::]:6881", "[::]:6881", true },
    { "any port", "127.0.0.1:0", "127.0.0.1:4711", true },
    { "another port", "0.0.0.0:7001, [::]:7001", "0.0.0.0:6881", false },
    { "another address", "127.0.0.1:6881", "0.0.0.0:6881", false },
    { "a family that is not listened on", "0.0.0.0:6881", "[::]:6881", false },
};

static void handed(void **state)
{
    const struct handed_row *row = *state;
    char override[64];
    const char *overrides[] = { override, NULL };
    struct config_problem problem;
    struct config *config;
    struct address bound;

    snprintf(override, sizeof override, "node.listen=%s", row->listen);
    assert_int_equal(config_load(&config, NULL, overrides, &problem), LB_OK);
    assert_int_equal(address_parse(row->bound, &bound), LB_OK);
    assert_int_equal(config_check_handed(config, CONFIG_LISTEN, &bound), row->agrees);
    config_free(&config);
}

int main(void)
{
    return RUN_ROWS(address_rows, addresses) + RUN_ROWS(handed_rows, handed);
}
