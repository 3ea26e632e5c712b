/* What a configuration read again changes: at once, by whom anew, or not. */
#include "libcommon/config_reload.h"

#include "tests/libcommon/cmocka_row.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static struct config *load(const char *override, const char *second)
{
    const char *overrides[] = { override, second, NULL };
    struct config_problem problem = { "" };
    struct config *config = NULL;

    if (config_load(&config, NULL, overrides, &problem) != LB_OK)
        fail_msg("%s", problem.text);
    return config;
}

/* One change: what is said of it, and what the running configuration holds afterwards. */
static const struct change_row {
    const char *what, *before, *now;
    const char *said;  /* NULL: nothing has changed */
    const char *after; /* the value, then */
} rows[] = {
    { "a limit is live", "swarm.send_limit=none", "swarm.send_limit=5 MB/s",
      "swarm.send_limit = 5 MB/s (was none; command line)", "5 MB/s" },
    { "another way to write it is no change", "storage.max_size=1 GiB", "storage.max_size=1024 MiB",
      NULL, "1 GiB" },
    { "a list is the same however it is separated", "node.bootstrap=a:1,b:2",
      "node.bootstrap=a:1 b:2", NULL, "a:1,b:2" },
    { "a list that grew needs a restart", "node.bootstrap=a:1", "node.bootstrap=a:1,b:2",
      "node.bootstrap = a:1,b:2 (was a:1; command line): lb-admin restart routing", "a:1" },
    { "who serves it is restarted", "storage.max_size=1 GiB", "storage.max_size=2 GiB",
      "storage.max_size = 2 GiB (was 1 GiB; command line): lb-admin restart storage", "1 GiB" },
    { "all who read it are restarted", "node.network=a", "node.network=b",
      "node.network = b (was a; command line): lb-admin restart transport, lb-admin restart "
      "storage",
      "a" },
    { "workers are scaled", "transport.workers=1", "transport.workers=4",
      "transport.workers = 4 (was 1; command line): lb-admin scale transport=4", "1" },
    /* "auto", of a test that is bound to one core */
    { "workers that are counted by the cores are scaled to a number", "transport.workers=2",
      "transport.workers=auto",
      "transport.workers = auto (was 2; command line): lb-admin scale transport=1", "2" },
    { "sockets are the node's", "gateway.metrics_listen=", "gateway.metrics_listen=127.0.0.1:9881",
      "gateway.metrics_listen = 127.0.0.1:9881 (was nothing; command line): stop the node and "
      "start it",
      "" },
    { "the level of the log is live", "node.log_level=info", "node.log_level=debug",
      "node.log_level = debug (was info; command line)", "debug" },
};

static void change(void **state)
{
    const struct change_row *row = *state;
    struct config *running = load(row->before, NULL), *now = load(row->now, NULL);
    struct config_changes changes;
    char line[CONFIG_CHANGE_SIZE];
    size_t equals = strcspn(row->before, "=");

    config_compare(running, now, &changes);
    assert_int_equal(changes.count, row->said != NULL ? 1 : 0);
    if (row->said != NULL)
        assert_string_equal(config_change_text(running, now, changes.keys[0],
                                               config_services(changes.keys[0]), line),
                            row->said);
    config_adopt(running, now);
    for (int i = 0; i < CONFIG_KEYS_COUNT; i++) {
        enum config_key key = (enum config_key)i;
        char name[64];

        snprintf(name, sizeof name, "%s.%s", config_section_name(key), config_key_name(key));
        if (strlen(name) == equals && strncmp(name, row->before, equals) == 0)
            assert_string_equal(config_text(running, key), row->after);
    }
    config_free(&running);
    config_free(&now);
}

/* ---- the table ---- */

static void every_key_has_a_row(void **state)
{
    (void)state;
    for (int i = 0; i < CONFIG_KEYS_COUNT; i++) {
        enum config_key key = (enum config_key)i;

        if (config_effect(key) == CONFIG_EFFECT_UNKNOWN)
            fail_msg("%s.%s has no row in LB_CONFIG_EFFECTS", config_section_name(key),
                     config_key_name(key));
        if (config_effect(key) == CONFIG_ANEW)
            assert_int_not_equal(config_services(key), 0);
    }
}

static void what_is_not_live_stays_whole(void **state)
{
    struct config *running = load("node.network=a", "swarm.send_limit=1 MB/s");
    struct config *now = load("node.network=b", "swarm.send_limit=2 MB/s");
    struct config_changes changes;

    (void)state;
    config_adopt(running, now);
    assert_string_equal(config_text(running, CONFIG_NETWORK), "a");
    assert_int_equal(config_number(running, CONFIG_SWARM_SEND_LIMIT), 2000000);
    config_free(&now);
    /* What still waits for a restart is told again. */
    now = load("node.network=b", "swarm.send_limit=2 MB/s");
    config_compare(running, now, &changes);
    assert_int_equal(changes.count, 1);
    assert_int_equal(changes.keys[0], CONFIG_NETWORK);
    config_free(&running);
    config_free(&now);
}

static void digests_tell_files_apart(void **state)
{
    struct config *one = load("node.network=a", NULL), *same = load("node.network=a", NULL);
    struct config *other = load("node.network=b", NULL);

    (void)state;
    assert_true(config_digest(one) == config_digest(same));
    assert_true(config_digest(one) != config_digest(other));
    config_free(&one);
    config_free(&same);
    config_free(&other);
}

/* Of what a service has to be started anew for, and of nothing else. */
static const struct digest_row {
    const char *what, *change;
    enum service service;
    bool differs;
} digest_rows[] = {
    { "its own key", "storage.max_size=2 GiB", SERVICE_STORAGE, true },
    { "written in another way", "storage.max_size=1024 MiB", SERVICE_STORAGE, false },
    { "a key of several", "node.network=b", SERVICE_TRANSPORT, true },
    { "another's key", "storage.max_size=2 GiB", SERVICE_SWARM, false },
    { "a live key", "swarm.send_limit=1 MB/s", SERVICE_SWARM, false },
    { "one item more of a list", "node.bootstrap=a:1", SERVICE_ROUTING, true },
};

static void digest_of_a_service(void **state)
{
    const struct digest_row *row = *state;
    struct config *one = load(NULL, NULL), *other = load(row->change, NULL);

    assert_int_equal(config_digest_of(one, row->service) != config_digest_of(other, row->service),
                     row->differs);
    config_free(&one);
    config_free(&other);
}

int main(void)
{
    cpu_set_t one;

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_has_a_row),
        cmocka_unit_test(what_is_not_live_stays_whole),
        cmocka_unit_test(digests_tell_files_apart),
    };

    /* Of those there are, one that this process may use. */
    if (sched_getaffinity(0, sizeof one, &one) != 0)
        return 1;
    for (size_t core = 0, kept = 0; core < CPU_SETSIZE; core++) {
        if (CPU_ISSET(core, &one) && kept++ > 0)
            CPU_CLR(core, &one);
    }
    if (sched_setaffinity(0, sizeof one, &one) != 0)
        return 1;
    return RUN_ROWS(rows, change) + RUN_ROWS(digest_rows, digest_of_a_service) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
