#include "libcommon/paths.h"

#include "tests/libcommon/cmocka_row.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether the system's node runs is the test's to say, not the machine's: this is in front of
 * libc's. */
static bool system_node_runs;

int access(const char *path, int mode)
{
    if (strcmp(path, "/run/littlebird/api.sock") != 0)
        return faccessat(AT_FDCWD, path, mode, 0);
    assert_int_equal(mode, W_OK);
    if (system_node_runs)
        return 0;
    errno = ENOENT;
    return -1;
}

/* The environment, then what paths_find(dir) says; the system's node does not matter. */
static const struct find_row {
    const char *what;
    const char *dir, *variable; /* --dir and LITTLEBIRD_DIR */
    lb_err err;
    const char *config_file, *state_folder, *run_folder;
} find_rows[] = {
    { "a folder", "/srv/a", NULL, LB_OK, "/srv/a/littlebird.conf", "/srv/a/data", "/srv/a/run" },
    { "slashes at its end do not matter", "/srv/a//", NULL, LB_OK, "/srv/a/littlebird.conf",
      "/srv/a/data", "/srv/a/run" },
    { "a relative folder", "a", NULL, LB_OK, "/tmp/a/littlebird.conf", "/tmp/a/data",
      "/tmp/a/run" },
    { "a relative folder with a dot", "./a", NULL, LB_OK, "/tmp/a/littlebird.conf", "/tmp/a/data",
      "/tmp/a/run" },
    { "the variable", NULL, "/srv/b", LB_OK, "/srv/b/littlebird.conf", "/srv/b/data",
      "/srv/b/run" },
    { "the option wins over the variable", "/srv/a", "/srv/b", LB_OK, "/srv/a/littlebird.conf",
      "/srv/a/data", "/srv/a/run" },
    { "the longest run folder for which sockets fit",
      "/23456789a123456789b123456789c123456789d123456789e123456789f123456789g123456789h1234", NULL,
      LB_OK, NULL, NULL,
      "/23456789a123456789b123456789c123456789d123456789e123456789f123456789g123456789h1234/run" },
    { "one byte more",
      "/23456789a123456789b123456789c123456789d123456789e123456789f123456789g123456789h12345", NULL,
      LB_TOO_BIG, NULL, NULL, NULL },
};

static void find(void **state)
{
    const struct find_row *row = *state;
    struct paths paths = { .config_file = "untouched" };

    assert_int_equal(chdir("/tmp"), 0);
    system_node_runs = true;
    if (row->variable != NULL)
        setenv("LITTLEBIRD_DIR", row->variable, 1);
    else
        unsetenv("LITTLEBIRD_DIR");
    assert_int_equal(paths_find(&paths, row->dir), row->err);
    if (row->err != LB_OK)
        assert_string_equal(paths.config_file, "untouched");
    if (row->config_file != NULL)
        assert_string_equal(paths.config_file, row->config_file);
    if (row->state_folder != NULL)
        assert_string_equal(paths.state_folder, row->state_folder);
    if (row->run_folder != NULL)
        assert_string_equal(paths.run_folder, row->run_folder);
    if (row->err == LB_OK) {
        paths_of_service(&paths, SERVICE_SWARM); /* all of one user: nothing is apart */
        assert_string_equal(paths.pages_folder, paths.run_folder);
        assert_string_equal(paths.private_folder, paths.run_folder);
    }
}

static void a_folder_name_of_any_length_is_refused_not_cut(void **state)
{
    char dir[PATHS_SIZE + 100];
    struct paths paths;

    (void)state;
    for (size_t size = 90; size < sizeof dir; size++) {
        memset(dir, 'x', size);
        dir[0] = '/';
        dir[size] = '\0';
        assert_int_equal(paths_find(&paths, dir), LB_TOO_BIG);
        assert_int_equal(paths_find(&paths, dir + 1), LB_TOO_BIG);
    }
}

static void a_user_without_options_has_folders_by_xdg(void **state)
{
    struct paths paths;

    (void)state;
    system_node_runs = false;
    unsetenv("LITTLEBIRD_DIR");
    setenv("HOME", "/home/u", 1);
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    setenv("XDG_DATA_HOME", "relative/is/ignored", 1);
    unsetenv("XDG_CONFIG_HOME");
    assert_int_equal(paths_find(&paths, NULL), LB_OK);
    assert_string_equal(paths.config_file, "/home/u/.config/littlebird/littlebird.conf");
    assert_string_equal(paths.state_folder, "/home/u/.local/share/littlebird");
    assert_string_equal(paths.run_folder, "/run/user/7/littlebird");
    assert_string_equal(paths.identity_file, "/home/u/.local/share/littlebird/identity");
    setenv("XDG_DATA_HOME", "/data", 1);
    unsetenv("XDG_RUNTIME_DIR");
    assert_int_equal(paths_find(&paths, NULL), LB_OK);
    assert_string_equal(paths.state_folder, "/data/littlebird");
    assert_string_equal(paths.run_folder, "/data/littlebird/run");
}

static void the_systems_node_comes_before_the_users(void **state)
{
    struct paths paths;

    (void)state;
    system_node_runs = true;
    unsetenv("LITTLEBIRD_DIR");
    setenv("HOME", "/home/u", 1);
    assert_int_equal(paths_find(&paths, NULL), LB_OK);
    assert_true(paths_is_system(&paths));
    assert_string_equal(paths.state_folder, "/var/lib/littlebird");
    assert_int_equal(paths_find(&paths, "/srv/a"), LB_OK);
    assert_string_equal(paths.state_folder, "/srv/a/data");
    assert_string_equal(paths.identity_file, "/srv/a/data/identity");
    assert_string_equal(paths.bootstrap_file, "/srv/a/data/bootstrap");
    assert_string_equal(paths.member_folder, "/srv/a/data/member");
    assert_string_equal(paths.register_folder, "/srv/a/data/coordinator");
    assert_string_equal(paths.ca_folder, "/srv/a/data/ca");
}

static void the_system_node_is_where_it_always_is(void **state)
{
    struct paths paths;

    (void)state;
    setenv("LITTLEBIRD_DIR", "/srv/b", 1);
    paths_system(&paths);
    assert_string_equal(paths.config_file, "/etc/littlebird/littlebird.conf");
    assert_string_equal(paths.state_folder, "/var/lib/littlebird");
    assert_string_equal(paths.run_folder, "/run/littlebird");
    assert_string_equal(paths.identity_file, "/var/lib/littlebird/identity");
    assert_string_equal(paths.bootstrap_file, "/var/lib/littlebird/bootstrap");
    assert_string_equal(paths.member_folder, "/var/lib/littlebird/net/member");
    assert_string_equal(paths.register_folder, "/var/lib/littlebird/coordinator");
    assert_string_equal(paths.ca_folder, "/var/lib/littlebird/ca");
}

static void in_the_systems_node_each_user_has_its_own(void **state)
{
    static const struct {
        enum service service;
        const char *state_folder, *private_folder;
    } rows[] = {
        { SERVICE_SUPERVISOR, "/var/lib/littlebird", "/run/littlebird" },
        { SERVICE_ROUTING, "/var/lib/littlebird/data", "/run/littlebird/data" },
        { SERVICE_TRANSPORT, "/var/lib/littlebird/net", "/run/littlebird/net" },
        { SERVICE_STORAGE, "/var/lib/littlebird/data", "/run/littlebird/data" },
        { SERVICE_SWARM, "/var/lib/littlebird/net", "/run/littlebird/net" },
        { SERVICE_SIGNER, "/var/lib/littlebird/ca", "/run/littlebird/ca" },
        { SERVICE_COORDINATOR, "/var/lib/littlebird/coordinator", "/run/littlebird/coordinator" },
        { SERVICE_MEMBER, "/var/lib/littlebird/net", "/run/littlebird/net" },
        { SERVICE_GATEWAY, "/var/lib/littlebird", "/run/littlebird" },
    };

    (void)state;
    assert_int_equal(sizeof rows / sizeof rows[0], SERVICES_COUNT);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct paths paths;

        paths_system(&paths);
        assert_true(paths_is_system(&paths));
        paths_of_service(&paths, rows[i].service);
        assert_string_equal(paths.state_folder, rows[i].state_folder);
        assert_string_equal(paths.private_folder, rows[i].private_folder);
        assert_string_equal(paths.run_folder, "/run/littlebird");
        assert_string_equal(paths.pages_folder, "/run/littlebird/data");
    }
}

static void folders_are_made_for_their_owner_alone(void **state)
{
    char root[] = "/tmp/lb-paths-test-XXXXXX", dir[64], command[128];
    struct paths paths;
    struct stat info;

    (void)state;
    assert_non_null(mkdtemp(root));
    snprintf(dir, sizeof dir, "%s/one/two", root);
    assert_int_equal(paths_find(&paths, dir), LB_OK);
    assert_int_equal(paths_make(&paths), LB_OK);
    assert_int_equal(stat(paths.state_folder, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0700);
    assert_int_equal(stat(paths.run_folder, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0700);
    assert_int_equal(paths_make(&paths), LB_OK); /* again */
    assert_int_equal(chmod(paths.run_folder, 0755), 0);
    assert_int_equal(paths_make(&paths), LB_OK); /* others are shut out of one that was open */
    assert_int_equal(stat(paths.run_folder, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0700);
    assert_int_equal(rmdir(paths.run_folder), 0);
    assert_int_equal(symlink("/dev/null", paths.run_folder), 0);
    assert_int_equal(paths_make(&paths), LB_IO); /* no folder */
    assert_int_equal(unlink(paths.run_folder), 0);
    if (geteuid() == 0) {
        assert_int_equal(mkdir(paths.run_folder, 0700), 0);
        assert_int_equal(chown(paths.run_folder, 65534, 65534), 0);
        assert_int_equal(paths_make(&paths), LB_DENIED); /* its owner could take our sockets */
    }
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_name_of_any_length_is_refused_not_cut),
        cmocka_unit_test(a_user_without_options_has_folders_by_xdg),
        cmocka_unit_test(the_systems_node_comes_before_the_users),
        cmocka_unit_test(the_system_node_is_where_it_always_is),
        cmocka_unit_test(in_the_systems_node_each_user_has_its_own),
        cmocka_unit_test(folders_are_made_for_their_owner_alone),
    };

    return RUN_ROWS(find_rows, find) + cmocka_run_group_tests_name("paths", tests, NULL, NULL);
}
