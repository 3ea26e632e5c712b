/* What is wrong with a node, what to do next, and what a monitor is told: a row is a node. */
#include "services/cli/troubles.h"

#include "services/cli/health.h"
#include "services/cli/status_text.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * One letter a service: supervisor, routing, transport, storage, swarm, gateway, and on a private
 * network signer, coordinator, member: r ready, d degraded, s starting, S starting for long, b
 * backoff, f failed, c failed for its configuration, p for a permission, h hung, z stopped by a
 * signal, x killed unnoticed, q stopped in order, o slow (its oldest request waits), n silent for
 * some seconds, D draining, . absent.
 */
static const struct trouble_row {
    const char *what, *services;
    bool is_system;
    enum health health;
    const char *first;  /* the worst; NULL: all is well */
    const char *advice; /* "": none is given */
    unsigned count;
} rows[] = {
    { "all is well", "rrrrrr", false, HEALTH_OK, NULL, NULL, 0 },
    { "without a supervisor too", ".rrrrr", true, HEALTH_OK, NULL, NULL, 0 },
    { "one has failed", "rrrfrr", false, HEALTH_CRITICAL, "storage has failed: a note",
      "see littlebird.log for why; then lb-admin restart storage", 1 },
    { "one has failed under systemd", "rrrrrf", true, HEALTH_CRITICAL, "gateway has failed: a note",
      "see journalctl -u littlebird-gateway for why; then lb-admin restart gateway", 1 },
    { "a worker has failed under systemd", "rrrrfr", true, HEALTH_CRITICAL,
      "swarm has failed: a note",
      "see journalctl -u littlebird-swarm@0 for why; then lb-admin restart swarm", 1 },
    { "its configuration is at fault", "rrrcrr", false, HEALTH_CRITICAL,
      "storage has failed: a note", "lb-admin config check; then lb-admin restart storage", 1 },
    { "it may not", "rrrrpr", false, HEALTH_CRITICAL, "swarm has failed: a note",
      "see littlebird.log for what it may not; then lb-admin restart swarm", 1 },
    { "one hangs", "rrhrrr", false, HEALTH_CRITICAL, "transport hangs: no sign of life for 1m 1s",
      "its manager starts it again; if not: lb-admin restart transport", 1 },
    { "one is stopped by a signal", "rrrrzr", false, HEALTH_CRITICAL,
      "swarm hangs: its process 105 is stopped by a signal",
      "kill -CONT 105, or lb-admin restart swarm", 1 },
    { "the supervisor hangs", "hrrrrr", false, HEALTH_WARNING,
      "supervisor hangs: no sign of life for 1m 1s",
      "its manager starts it again; if not: littlebird down, then littlebird up", 1 },
    { "the supervisor is stopped under systemd", "zrrrrr", true, HEALTH_WARNING,
      "supervisor hangs: its process 101 is stopped by a signal",
      "kill -CONT 101, or systemctl restart littlebird-supervisor", 1 },
    { "one was killed and nobody noticed", "rrxrrr", false, HEALTH_CRITICAL,
      "transport does not run", "lb-admin restart transport", 1 },
    { "nor will anybody", "xrxrrr", false, HEALTH_CRITICAL, "transport does not run",
      "nobody restarts it: littlebird down, then littlebird up", 2 },
    { "one was never started", "rrr.rr", true, HEALTH_CRITICAL, "storage does not run",
      "systemctl start littlebird.target", 1 },
    { "one was stopped alone", "rrrrqr", true, HEALTH_CRITICAL, "swarm does not run",
      "systemctl start littlebird.target", 1 },
    { "one is to be started again", "rbrrrr", false, HEALTH_CRITICAL,
      "routing ended and is to be started again: a note", "", 1 },
    { "one starts", "rrrsrr", false, HEALTH_CRITICAL, "storage has been starting for 2s", "", 1 },
    { "one starts for long", "rrrSrr", false, HEALTH_CRITICAL,
      "storage has been starting for 2m 0s", "see littlebird.log for what it waits for", 1 },
    { "one drains", "rrrrDr", false, HEALTH_CRITICAL, "swarm is being stopped", "", 1 },
    { "one misses something", "rrrrdr", false, HEALTH_WARNING, "swarm: a note",
      "littlebird list says which", 1 },
    { "routing finds nobody", "rdrrrr", false, HEALTH_WARNING, "routing: a note",
      "is a bootstrap node up, and does UDP get through? lb-admin peers", 1 },
    { "requests wait", "rrrorr", false, HEALTH_WARNING,
      "storage has requests that wait since 7s, 3 of them", "", 1 },
    { "one is silent", "rrnrrr", false, HEALTH_WARNING,
      "transport has given no sign of life for 4s", "", 1 },
    { "what is worse comes first", "rdrfrr", false, HEALTH_CRITICAL, "storage has failed: a note",
      "see littlebird.log for why; then lb-admin restart storage", 2 },
    { "a coordinator that is well", "rrrrrrrrr", false, HEALTH_OK, NULL, NULL, 0 },
    { "its signer has failed", "rrrrrrfrr", true, HEALTH_CRITICAL, "signer has failed: a note",
      "see journalctl -u littlebird-signer for why; then lb-admin restart signer", 1 },
    { "a member's lb-member was stopped alone", "rrrrrr..q", true, HEALTH_CRITICAL,
      "member does not run", "systemctl start littlebird.target", 1 },
    { "all hang", "zzzzzz", false, HEALTH_CRITICAL,
      "routing hangs: its process 102 is stopped by a signal",
      "kill -CONT 102, or lb-admin restart routing", 6 },
    { "the node was stopped", "qqqqqq", false, HEALTH_CRITICAL, "the node is not running",
      "littlebird up", 1 },
    { "the system's node was stopped", "qqqqqq", true, HEALTH_CRITICAL, "the node is not running",
      "systemctl start littlebird.target", 1 },
    { "there never was one", "......", false, HEALTH_CRITICAL, "the node is not running",
      "littlebird up", 1 },
};

static const struct letter {
    char letter;
    enum service_state state;
    bool alive;
    int32_t last_exit;
    uint64_t since_ms, heartbeat_age_ms;
} letters[] = {
    { 'r', STATE_READY, true, 0, 60000, 300 },   { 'd', STATE_DEGRADED, true, 0, 60000, 300 },
    { 's', STATE_STARTING, true, 0, 2000, 300 }, { 'S', STATE_STARTING, true, 0, 120000, 300 },
    { 'b', STATE_BACKOFF, false, 1, 0, 0 },      { 'f', STATE_FAILED, false, 1, 0, 0 },
    { 'c', STATE_FAILED, false, 78, 0, 0 },      { 'p', STATE_FAILED, false, 77, 0, 0 },
    { 'h', STATE_HUNG, true, 0, 120000, 61000 }, { 'z', STATE_HUNG, true, 0, 60000, 300 },
    { 'x', STATE_STOPPED, false, 0, 0, 0 },      { 'q', STATE_STOPPED, false, 0, 0, 0 },
    { 'o', STATE_READY, true, 0, 60000, 300 },   { 'n', STATE_READY, true, 0, 60000, 4000 },
    { 'D', STATE_DRAINING, true, 0, 2000, 300 },
};

static const struct letter *find_letter(char wanted)
{
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++) {
        if (letters[i].letter == wanted)
            return &letters[i];
    }
    fail_msg("no letter %c", wanted);
    return NULL;
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

static size_t draw(const char *services, struct process *ret_rows)
{
    size_t count = 0;

    for (int i = 0; i < SERVICES_COUNT; i++) {
        char drawn = letter_of(services, (enum service)i);
        const struct letter *letter;

        if (drawn == '.')
            continue;
        letter = find_letter(drawn);
        ret_rows[count++] = (struct process){
            .service = (enum service)i,
            .state = letter->state,
            .alive = letter->alive,
            .pid = letter->alive ? 101 + (uint32_t)i : 0,
            .stopped = drawn == 'z',
            .killed = drawn == 'x',
            .since_ms = letter->since_ms,
            .heartbeat_age_ms = letter->heartbeat_age_ms,
            .last_exit = letter->last_exit,
            .queue = drawn == 'o' ? 3 : 0,
            .backlog_ms = drawn == 'o' ? 7000 : 0,
            .note = "a note",
        };
    }
    return count;
}

/* The line of a monitor says the same, and begins with what the exit code says. */
static void check_line(const struct trouble_row *row, const struct processes *processes,
                       const struct troubles *troubles)
{
    static const char *const words[] = { "OK", "WARNING", "CRITICAL", "UNKNOWN" };
    char line[HEALTH_LINE_SIZE], begins[512];

    assert_int_equal(health_format(processes, troubles, line), row->health);
    snprintf(begins, sizeof begins, "LITTLEBIRD %s - %s", words[row->health],
             row->first != NULL ? row->first : "");
    assert_memory_equal(line, begins, strlen(begins));
    assert_null(strchr(line, '\n'));
    assert_true((strchr(line, '|') != NULL) == (processes->level != LEVEL_NOT_RUNNING));
}

static void trouble(void **state)
{
    const struct trouble_row *row = *state;
    struct processes *processes = calloc(1, sizeof *processes);
    struct troubles *troubles = calloc(1, sizeof *troubles);

    assert_non_null(processes);
    assert_non_null(troubles);
    processes->count = draw(row->services, processes->rows);
    processes->level = processes_level(processes->rows, processes->count);
    troubles_find(troubles, processes->rows, processes->count, row->is_system);
    assert_int_equal(troubles->count, row->count);
    if (row->first != NULL) {
        assert_string_equal(troubles->list[0].what, row->first);
        assert_string_equal(troubles->list[0].advice, row->advice);
    }
    check_line(row, processes, troubles);
    free(processes);
    free(troubles);
}

/* ---- several workers ---- */

static void another_worker_serves(void **state)
{
    struct process workers[7];
    struct troubles *troubles = calloc(1, sizeof *troubles);

    (void)state;
    assert_non_null(troubles);
    assert_int_equal(draw("rrrrrr", workers), 6);
    workers[6] = workers[4];
    workers[6].instance = 1;
    workers[6].state = STATE_FAILED;
    workers[6].alive = false;
    troubles_find(troubles, workers, 7, false);
    assert_int_equal(troubles->count, 1);
    assert_int_equal(troubles->list[0].weight, TROUBLE_WARNING);
    assert_string_equal(troubles->list[0].what, "swarm@1 has failed: a note");
    free(troubles);
}

/* ---- the screen ---- */

static char *print(const struct processes *processes, const struct troubles *troubles)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);

    assert_non_null(to);
    status_print(processes, troubles, to);
    assert_int_equal(fclose(to), 0);
    return text;
}

static void the_screen(void **state)
{
    static const char expected[] =
        "littlebird " LB_VERSION "  node not known yet  down, up 2h 0m\n"
        "reached at UDP 0.0.0.0:6881\n"
        "SERVICE     STATE   PID   SINCE  RESTARTS    CPU      RSS  QUEUE  NOTE\n"
        "supervisor  ready   101   1m 0s         0  0.0 %      0 B      0  a note\n"
        "routing     ready   102   1m 0s         0  0.0 %      0 B      0  a note\n"
        "transport   ready   103  2h 14m         3  1.5 %  9.0 MiB      2  a note\n"
        "storage     failed    -       -         0      -        -      0  a note\n"
        "swarm       ready   105   1m 0s         0  0.0 %      0 B      0  a note\n"
        "gateway     ready   109   1m 0s         0  0.0 %      0 B      0  a note\n"
        "\n"
        "storage has failed: a note\n"
        "    -> see littlebird.log for why; then lb-admin restart storage\n";
    struct processes *processes = calloc(1, sizeof *processes);
    struct troubles *troubles = calloc(1, sizeof *troubles);
    struct process *row;
    char *text;

    (void)state;
    assert_non_null(processes);
    assert_non_null(troubles);
    processes->count = draw("rrrfrr", processes->rows);
    processes->level = LEVEL_DOWN;
    processes->since_ms = 7200000;
    row = &processes->rows[SERVICE_TRANSPORT];
    row->since_ms = 8040000;
    row->restarts = 3;
    row->cpu_percent = 1.5;
    row->memory_bytes = 9u << 20;
    row->queue = 2;
    snprintf(row->listens, sizeof row->listens, "UDP 0.0.0.0:6881");
    troubles_find(troubles, processes->rows, processes->count, false);
    text = print(processes, troubles);
    assert_string_equal(text, expected);
    free(text);
    free(processes);
    free(troubles);
}

static const struct network_row {
    const char *what;
    bool is_member, has_certificate_s;
    uint64_t certificate_s, deny_number;
    const char *line; /* the second; NULL: none of it */
    const char *coordinators[2];
} network_rows[] = {
    { "of the open network nothing is said", false, false, 0, 0, NULL, { NULL } },
    { "a member",
      true,
      true,
      4 * 86400 + 7200,
      3,
      "private network lab, certificate good for 4d 2h, deny list 3\n",
      { NULL } },
    { "a member that is none any more",
      true,
      true,
      0,
      3,
      "private network lab, certificate expired, deny list 3\n",
      { NULL } },
    { "a member whose lb-member has not looked",
      true,
      false,
      0,
      0,
      "private network lab, certificate not looked at yet, deny list 0\n",
      { NULL } },
    { "and where they admit and renew",
      true,
      true,
      4 * 86400 + 7200,
      3,
      "private network lab, certificate good for 4d 2h, deny list 3\n"
      "coordinators 192.0.2.1:6891, pc-2:6891\n",
      { "192.0.2.1:6891", "pc-2:6891" } },
};

static void the_network_is_named(void **state)
{
    const struct network_row *row = *state;
    struct processes *processes = calloc(1, sizeof *processes);
    struct troubles *troubles = calloc(1, sizeof *troubles);
    char *text, *line;

    assert_non_null(processes);
    assert_non_null(troubles);
    processes->count = draw("rrrrrr..r", processes->rows);
    processes->is_member = row->is_member;
    snprintf(processes->identity.network_name, NETWORK_NAME_SIZE, "lab");
    processes->has_certificate_s = row->has_certificate_s;
    processes->certificate_s = row->certificate_s;
    processes->deny_number = row->deny_number;
    for (size_t i = 0; i < 2 && row->coordinators[i] != NULL; i++)
        snprintf(processes->coordinators[processes->coordinators_count++], JOIN_ADDRESS_SIZE, "%s",
                 row->coordinators[i]);
    text = print(processes, troubles);
    line = strchr(text, '\n') + 1;
    if (row->line != NULL)
        assert_memory_equal(line, row->line, strlen(row->line));
    else
        assert_null(strstr(text, "private network"));
    free(text);
    free(processes);
    free(troubles);
}

/* What comes from elsewhere neither moves the cursor nor ends a line. */
static void notes_are_harmless(void **state)
{
    struct processes *processes = calloc(1, sizeof *processes);
    struct troubles *troubles = calloc(1, sizeof *troubles);
    char line[HEALTH_LINE_SIZE];
    char *text;

    (void)state;
    assert_non_null(processes);
    assert_non_null(troubles);
    processes->count = draw("rrrdrr", processes->rows);
    snprintf(processes->rows[3].note, sizeof processes->rows[3].note, "\033[2J|\nx");
    snprintf(processes->rows[3].listens, sizeof processes->rows[3].listens, "\033c");
    troubles_find(troubles, processes->rows, processes->count, false);
    text = print(processes, troubles);
    assert_null(strchr(text, '\033'));
    free(text);
    (void)health_format(processes, troubles, line);
    assert_null(strchr(line, '\033'));
    assert_ptr_equal(strchr(line, '|'), strrchr(line, '|'));
    free(processes);
    free(troubles);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_worker_serves),
        cmocka_unit_test(the_screen),
        cmocka_unit_test(notes_are_harmless),
    };

    return RUN_ROWS(rows, trouble) + RUN_ROWS(network_rows, the_network_is_named) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
