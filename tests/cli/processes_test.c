/* Which exit code a node's processes mean, and what is said when one is missing. */
#include "services/cli/processes.h"

#include "libcommon/clock.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One letter per service (supervisor routing transport storage swarm gateway, and where there are
 * more signer coordinator member): r ready, d degraded, b backoff, f failed, h hung, s stopped, x
 * killed unnoticed, . absent. */
static const struct level_row {
    const char *what, *services;
    enum level level;
    enum readiness readiness;
    const char *why;
} level_rows[] = {
    { "all are ready", "rrrrrr", LEVEL_WELL, READINESS_READY, NULL },
    { "one is degraded", "rrdrrr", LEVEL_DEGRADED, READINESS_DEGRADED, NULL },
    { "the supervisor is degraded", "drrrrr", LEVEL_DEGRADED, READINESS_DEGRADED, NULL },
    { "there is no supervisor", ".rrrrr", LEVEL_WELL, READINESS_READY, NULL },
    { "one waits to be started again", "rrrrbr", LEVEL_DOWN, READINESS_STARTING,
      "swarm is backoff: a note" },
    { "one has failed", "rrrbfr", LEVEL_DOWN, READINESS_FAILED, "swarm is failed: a note" },
    { "one hangs", "rrrrrh", LEVEL_DOWN, READINESS_STARTING, "gateway is hung: a note" },
    { "one was never started", "rrrr.r", LEVEL_DOWN, READINESS_STARTING, "not every service runs" },
    { "a member is ready", "rrrrrr..r", LEVEL_WELL, READINESS_READY, NULL },
    { "a member's lb-member was stopped", "rrrrrr..s", LEVEL_DOWN, READINESS_STARTING,
      "member is stopped: a note" },
    { "a coordinator's signer has failed", "rrrrrrfrr", LEVEL_DOWN, READINESS_FAILED,
      "signer is failed: a note" },
    { "one was killed, and its supervisor too", "xrrrrx", LEVEL_DOWN, READINESS_STARTING, NULL },
    { "all were killed", "xxxxxx", LEVEL_NOT_RUNNING, READINESS_STARTING, NULL },
    { "all were stopped", "ssssss", LEVEL_NOT_RUNNING, READINESS_STARTING, NULL },
    { "nothing ever ran", "......", LEVEL_NOT_RUNNING, READINESS_STARTING,
      "not every service runs" },
};

static char folder[64];

static enum service_state state_of(char letter)
{
    switch (letter) {
    case 'd':
        return STATE_DEGRADED;
    case 'b':
        return STATE_BACKOFF;
    case 'f':
        return STATE_FAILED;
    case 's':
        return STATE_STOPPED;
    case '.':
        return STATE_ABSENT;
    default:
        return STATE_READY;
    }
}

/* Of those that only some nodes have there is nothing where the row is shorter. */
static char letter_of(const char *services, enum service service)
{
    const enum service optional = SERVICE_SIGNER;
    const size_t everywhere = strlen("srtdwg");

    if (!service_is_optional(service))
        return services[service < optional ? service : everywhere - 1];
    return strlen(services) > everywhere ? services[everywhere + service - optional] : '.';
}

/* Pids: our own is alive, the largest possible one is not. */
static void draw(struct page *page, const char *services)
{
    uint64_t now_ms = clock_monotonic_ms();

    for (int i = 0; i < SERVICES_COUNT; i++) {
        struct status_slot *slot = status_page_slot(page, (enum service)i, 0);
        char letter = letter_of(services, (enum service)i);

        memset(slot, 0, sizeof *slot);
        atomic_store(&slot->state, state_of(letter));
        atomic_store(&slot->pid, strchr("rdh", letter) != NULL ? (uint32_t)getpid()
                                 : letter == 'x'               ? INT32_MAX - 1u
                                                               : 0);
        atomic_store(&slot->heartbeat_ms, letter == 'h' ? now_ms - STATUS_HUNG_MS - 1000 : now_ms);
        atomic_store(&slot->since_ms, now_ms - 5000);
        status_slot_note(slot, "a note");
    }
}

static void level(void **state)
{
    const struct level_row *row = *state;
    char why[PROCESSES_WHY_SIZE] = "";
    struct paths paths = { .run_folder = "" };
    struct processes processes;
    struct page page;

    snprintf(paths.run_folder, sizeof paths.run_folder, "%s", folder);
    assert_int_equal(status_page_open(&page, folder, true), LB_OK);
    draw(&page, row->services);
    assert_int_equal(processes_read(&processes, &paths), LB_OK);
    assert_int_equal(processes.level, row->level);
    processes_done(&processes);
    assert_int_equal(processes_readiness(&paths, 0, why), row->readiness);
    if (row->why != NULL)
        assert_string_equal(why, row->why);
    page_close(&page);
}

static void a_process_is_measured(void **state)
{
    struct paths paths = { .run_folder = "" };
    struct processes processes;
    struct page page;

    (void)state;
    snprintf(paths.run_folder, sizeof paths.run_folder, "%s", folder);
    assert_int_equal(status_page_open(&page, folder, true), LB_OK);
    draw(&page, "rrrrrb");
    atomic_store(&status_page_slot(&page, SERVICE_GATEWAY, 0)->next_start_ms,
                 clock_monotonic_ms() + 1000000);
    assert_int_equal(processes_read(&processes, &paths), LB_OK);
    assert_int_equal(processes.count, 6);
    assert_true(processes.rows[0].memory_bytes > 100000);
    assert_in_range(processes.rows[0].since_ms, 5000, 60000);
    assert_true(processes.rows[0].cpu_percent >= 0);
    assert_int_equal(strncmp(processes.rows[5].note, "a note; again in 16m ", 21), 0);
    assert_false(processes.has_node_id);
    processes_done(&processes);
    page_close(&page);
}

static void another_supervisors_node_is_not_ours(void **state)
{
    struct paths paths = { .run_folder = "" };
    char why[PROCESSES_WHY_SIZE];
    struct page page;

    (void)state;
    snprintf(paths.run_folder, sizeof paths.run_folder, "%s", folder);
    assert_int_equal(status_page_open(&page, folder, true), LB_OK);
    draw(&page, "rrrrrr");
    assert_int_equal(processes_readiness(&paths, (uint32_t)getpid(), why), READINESS_READY);
    assert_int_equal(processes_readiness(&paths, (uint32_t)getpid() + 1, why), READINESS_STARTING);
    assert_string_equal(why, "the supervisor has not begun");
    page_close(&page);
    snprintf(paths.run_folder, sizeof paths.run_folder, "/nowhere");
    assert_int_equal(processes_readiness(&paths, 0, why), READINESS_STARTING);
    assert_string_equal(why, "nothing runs there");
}

/* The number of a process that was killed belongs to another one by now. */
static void a_process_that_started_at_another_time_is_not_ours(void **state)
{
    struct paths paths = { .run_folder = "" };
    struct processes processes;
    struct page page;

    (void)state;
    snprintf(paths.run_folder, sizeof paths.run_folder, "%s", folder);
    assert_int_equal(status_page_open(&page, folder, true), LB_OK);
    draw(&page, "rrrrrr");
    for (int i = 0; i < SERVICES_COUNT; i++)
        atomic_fetch_add(&status_page_slot(&page, (enum service)i, 0)->since_ms, 3600000);
    assert_int_equal(processes_read(&processes, &paths), LB_OK);
    assert_int_equal(processes.level, LEVEL_NOT_RUNNING);
    assert_int_equal(processes.rows[0].state, STATE_STOPPED);
    processes_done(&processes);
    page_close(&page);
}

static void a_node_of_another_version_is_called_so(void **state)
{
    struct paths paths = { .run_folder = "" };
    char why[PROCESSES_WHY_SIZE];
    struct page page;

    (void)state;
    snprintf(paths.run_folder, sizeof paths.run_folder, "%s", folder);
    assert_int_equal(status_page_open(&page, folder, true), LB_OK);
    ((struct status_page *)page.memory)->layout--;
    page_close(&page);
    assert_int_equal(processes_readiness(&paths, 0, why), READINESS_STARTING);
    assert_string_equal(why, "its status cannot be read: the node runs another version of "
                             "Littlebird than this program");
}

static int remove_folder(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_is_measured),
        cmocka_unit_test(a_process_that_started_at_another_time_is_not_ours),
        cmocka_unit_test(another_supervisors_node_is_not_ours),
        cmocka_unit_test(a_node_of_another_version_is_called_so),
    };

    snprintf(folder, sizeof folder, "/tmp/lb-processes-test-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    return RUN_ROWS(level_rows, level) +
           cmocka_run_group_tests_name("processes", tests, NULL, remove_folder);
}
