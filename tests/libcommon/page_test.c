/* Shared-memory files, and the status page that lives in one. */
#include "libcommon/page.h"

#include "libcommon/status_page.h"
#include "tests/libcommon/cmocka_row.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64], path[80], status_path[80];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lb-page-test-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/x.shm", folder);
    snprintf(status_path, sizeof status_path, "%s/status.shm", folder);
    return 0;
}

static int remove_folder(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void a_page_has_its_name_only_once_published(void **state)
{
    struct page writer, reader = { NULL, 0 };

    (void)state;
    assert_int_equal(page_create(&writer, path, 10000), LB_OK);
    assert_int_equal(writer.size, 10000);
    assert_int_equal(((char *)writer.memory)[9999], 0);
    assert_int_equal(page_open(&reader, path, 1, false), LB_NOT_FOUND);
    assert_null(reader.memory);
    assert_int_equal(page_publish(&writer, path), LB_OK);
    assert_int_equal(page_open(&reader, path, 10000, false), LB_OK);
    ((char *)writer.memory)[9999] = 7;
    assert_int_equal(((char *)reader.memory)[9999], 7);
    page_close(&reader);
    page_close(&writer);
    assert_null(writer.memory);
    page_close(&writer); /* again */
}

static void a_new_page_takes_the_name_and_leaves_old_readers_theirs(void **state)
{
    struct page old, reader, next;

    (void)state;
    assert_int_equal(page_create(&old, path, 100), LB_OK);
    assert_int_equal(page_publish(&old, path), LB_OK);
    *(char *)old.memory = 1;
    assert_int_equal(page_open(&reader, path, 100, false), LB_OK);
    assert_int_equal(page_create(&next, path, 100), LB_OK);
    *(char *)next.memory = 2;
    assert_int_equal(page_publish(&next, path), LB_OK);
    assert_int_equal(*(char *)reader.memory, 1);
    page_close(&reader);
    assert_int_equal(page_open(&reader, path, 100, true), LB_OK);
    assert_int_equal(*(char *)reader.memory, 2);
    page_close(&reader);
    page_close(&old);
    page_close(&next);
}

static void a_page_that_is_too_short_is_refused(void **state)
{
    struct page page = { NULL, 0 };

    (void)state;
    assert_int_equal(page_create(&page, path, 100), LB_OK);
    assert_int_equal(page_publish(&page, path), LB_OK);
    page_close(&page);
    assert_int_equal(page_open(&page, path, 101, false), LB_CORRUPT);
    assert_int_equal(page_open(&page, folder, 1, false), LB_CORRUPT);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(page_open(&page, path, 0, false), LB_CORRUPT);
    assert_null(page.memory);
    assert_int_equal(page_create(&page, "/nowhere/x.shm", 100), LB_NOT_FOUND);
}

static void the_first_writer_creates_the_status_page(void **state)
{
    struct page one, two, reader = { NULL, 0 };

    (void)state;
    assert_int_equal(status_page_open(&reader, folder, false), LB_NOT_FOUND);
    assert_int_equal(status_page_open(&one, folder, true), LB_OK);
    assert_int_equal(status_page_open(&two, folder, true), LB_OK);
    assert_int_equal(status_page_open(&reader, folder, false), LB_OK);
    atomic_store(&status_page_slot(&one, SERVICE_SWARM, 3)->pid, 42);
    assert_int_equal(atomic_load(&status_page_slot(&two, SERVICE_SWARM, 3)->pid), 42);
    assert_int_equal(atomic_load(&status_page_slot(&reader, SERVICE_SWARM, 3)->pid), 42);
    page_close(&one);
    page_close(&two);
    page_close(&reader);
}

#define OPENERS 8

static void writers_that_start_together_share_one_status_page(void **state)
{
    struct page page;

    (void)state;
    unlink(status_path);
    for (unsigned i = 0; i < OPENERS; i++) {
        if (fork() == 0) {
            if (status_page_open(&page, folder, true) != LB_OK)
                _exit(1);
            atomic_store(&status_page_slot(&page, SERVICE_SWARM, i)->pid, i + 1);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < OPENERS; i++) {
        int status;

        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(status_page_open(&page, folder, false), LB_OK);
    for (unsigned i = 0; i < OPENERS; i++)
        assert_int_equal(atomic_load(&status_page_slot(&page, SERVICE_SWARM, i)->pid), i + 1);
    page_close(&page);
}

static void a_status_page_that_is_none_is_made_anew(void **state)
{
    struct page page = { NULL, 0 };
    int fd = open(status_path, O_RDWR | O_CREAT | O_TRUNC, 0600);

    (void)state;
    assert_int_equal(ftruncate(fd, sizeof(struct status_page)), 0);
    close(fd);
    assert_int_equal(status_page_open(&page, folder, false), LB_CORRUPT);
    assert_int_equal(status_page_open(&page, folder, true), LB_OK);
    page_close(&page);
    assert_int_equal(truncate(status_path, 10), 0);
    assert_int_equal(status_page_open(&page, folder, true), LB_OK);
    page_close(&page);
    assert_int_equal(status_page_open(&page, folder, false), LB_OK);
    page_close(&page);
}

/* Of another version, whose page may be shorter or longer than ours. */
static void a_status_page_of_another_layout_is_told_from_a_damaged_one(void **state)
{
    static const off_t sizes[] = { 4096, sizeof(struct status_page), 1 << 20 };
    struct page page = { NULL, 0 };
    struct status_page *self;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(status_page_open(&page, folder, true), LB_OK);
        self = page.memory;
        self->layout = STATUS_PAGE_LAYOUT + 1;
        page_close(&page);
        assert_int_equal(truncate(status_path, sizes[i]), 0);
        assert_int_equal(status_page_open(&page, folder, false), LB_UNSUPPORTED);
        assert_int_equal(status_page_open(&page, folder, true), LB_OK); /* made anew */
        page_close(&page);
        assert_int_equal(status_page_open(&page, folder, false), LB_OK);
        page_close(&page);
    }
}

/* As a service of the system's node: it may write the file, but make none in the folder. */
static int open_without_the_folder(void)
{
    struct page page;
    lb_err err;

    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        return -1;
    err = status_page_open(&page, folder, true);
    if (err == LB_OK)
        atomic_fetch_add(&status_page_slot(&page, SERVICE_SWARM, 3)->generation, 1);
    return (int)err;
}

static void a_status_page_is_begun_in_the_file_that_was_made_for_it(void **state)
{
    struct page page;
    int fd, status;

    (void)state;
    assert_int_equal(unlink(status_path), 0);
    fd = open(status_path, O_RDWR | O_CREAT, 0666);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, 0666), 0);
    close(fd);
    assert_int_equal(chmod(folder, 0555), 0);
    for (int i = 0; i < 2; i++) { /* the second finds it valid */
        if (fork() == 0)
            _exit(open_without_the_folder());
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(status_page_open(&page, folder, false), LB_OK);
    assert_int_equal(atomic_load(&status_page_slot(&page, SERVICE_SWARM, 3)->generation), 2);
    page_close(&page);
    assert_int_equal(chmod(folder, 0700), 0);
}

static void slots_end_with_the_page(void **state)
{
    struct page page, none = { NULL, 0 };

    (void)state;
    assert_int_equal(status_page_open(&page, folder, true), LB_OK);
    assert_null(status_page_slot(&page, SERVICES_COUNT, 0));
    assert_null(status_page_slot(&page, SERVICE_SWARM, STATUS_INSTANCES_MAX));
    assert_null(status_page_slot(&none, SERVICE_SWARM, 0));
    assert_ptr_equal(status_page_slot(&page, SERVICES_COUNT - 1, STATUS_INSTANCES_MAX - 1) + 1,
                     (char *)page.memory + sizeof(struct status_page));
    page_close(&page);
}

static void counters_are_made_at_first_use_until_the_slot_is_full(void **state)
{
    static struct status_slot slot;
    struct status_counter *packets = status_slot_counter(&slot, "packets");
    char name[16];

    (void)state;
    status_counter_add(packets, 2);
    status_counter_add(packets, 3);
    assert_ptr_equal(status_slot_counter(&slot, "packets"), packets);
    assert_int_equal(atomic_load(&packets->value), 5);
    for (int i = 1; i < STATUS_COUNTERS_MAX; i++) {
        snprintf(name, sizeof name, "c%d", i);
        assert_non_null(status_slot_counter(&slot, name));
    }
    assert_null(status_slot_counter(&slot, "one more"));
    assert_ptr_equal(status_slot_counter(&slot, "packets"), packets);
    status_counter_set(packets, 1);
    assert_int_equal(atomic_load(&packets->value), 1);
}

static void a_note_is_one_line_and_cut(void **state)
{
    static struct status_slot slot;
    char text[300];

    (void)state;
    status_slot_note(&slot, "%s", "two\nlines \033[1m");
    assert_string_equal(slot.note, "two?lines ?[1m");
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    status_slot_note(&slot, "%s", text);
    assert_int_equal(strlen(slot.note), STATUS_NOTE_SIZE - 1);
}

static void a_service_without_a_heartbeat_is_hung(void **state)
{
    static struct status_slot slot;

    (void)state;
    atomic_store(&slot.heartbeat_ms, 5000);
    atomic_store(&slot.state, STATE_READY);
    assert_int_equal(status_slot_state(&slot, 4000), STATE_READY);
    assert_int_equal(status_slot_state(&slot, 5000 + STATUS_HUNG_MS), STATE_READY);
    assert_int_equal(status_slot_state(&slot, 5001 + STATUS_HUNG_MS), STATE_HUNG);
    atomic_store(&slot.state, STATE_BACKOFF); /* has no process */
    assert_int_equal(status_slot_state(&slot, 5001 + STATUS_HUNG_MS), STATE_BACKOFF);
}

static void services_and_states_have_names(void **state)
{
    enum service service = SERVICE_ROUTING;

    (void)state;
    assert_int_equal(service_parse("swarm", &service), LB_OK);
    assert_int_equal(service, SERVICE_SWARM);
    assert_int_equal(service_parse("swarms", &service), LB_NOT_FOUND);
    assert_int_equal(service, SERVICE_SWARM);
    assert_string_equal(service_text(SERVICE_GATEWAY), "gateway");
    assert_string_equal(service_text(SERVICES_COUNT), "unknown");
    assert_string_equal(service_state_text(STATE_HUNG), "hung");
    assert_string_equal(service_state_text((enum service_state)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_has_its_name_only_once_published),
        cmocka_unit_test(a_new_page_takes_the_name_and_leaves_old_readers_theirs),
        cmocka_unit_test(a_page_that_is_too_short_is_refused),
        cmocka_unit_test(the_first_writer_creates_the_status_page),
        cmocka_unit_test(writers_that_start_together_share_one_status_page),
        cmocka_unit_test(a_status_page_that_is_none_is_made_anew),
        cmocka_unit_test(a_status_page_of_another_layout_is_told_from_a_damaged_one),
        cmocka_unit_test(a_status_page_is_begun_in_the_file_that_was_made_for_it),
        cmocka_unit_test(slots_end_with_the_page),
        cmocka_unit_test(counters_are_made_at_first_use_until_the_slot_is_full),
        cmocka_unit_test(a_note_is_one_line_and_cut),
        cmocka_unit_test(a_service_without_a_heartbeat_is_hung),
        cmocka_unit_test(services_and_states_have_names),
    };

    return cmocka_run_group_tests_name("page", tests, make_folder, remove_folder);
}
