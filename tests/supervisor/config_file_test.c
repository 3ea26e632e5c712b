/* config/littlebird.conf is the table of libcommon/config.h, in words: each key, each default. */
#include "libcommon/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A copy in which the "#key = value" lines are no comments; "# words" stay. The caller unlinks. */
static void write_uncommented(char *path)
{
    FILE *from = fopen(LB_CONFIG_FILE, "r");
    int fd = mkstemp(path);
    FILE *to = fd >= 0 ? fdopen(fd, "w") : NULL;
    char line[512];

    assert_non_null(from);
    assert_non_null(to);
    while (fgets(line, sizeof line, from)) {
        bool is_key = line[0] == '#' && line[1] != ' ' && line[1] != '\n';

        fputs(is_key ? line + 1 : line, to);
    }
    fclose(from);
    assert_int_equal(fclose(to), 0);
}

static struct config *load(const char *path)
{
    struct config *config = NULL;
    struct config_problem problem = { "" };

    if (config_load(&config, path, NULL, &problem) != LB_OK) {
        fail_msg("%s", problem.text);
    }
    return config;
}

static void as_it_stands_it_sets_nothing(void **state)
{
    struct config *config = load(LB_CONFIG_FILE);

    (void)state;
    for (int key = 0; key < CONFIG_KEYS_COUNT; key++) {
        assert_string_equal(config_origin(config, (enum config_key)key), "default");
    }
    config_free(&config);
}

static void uncommented_it_sets_every_key_to_its_default(void **state)
{
    char path[] = "/tmp/lb-conf-XXXXXX";
    struct config *config;

    (void)state;
    write_uncommented(path);
    config = load(path);
    unlink(path);
    for (int i = 0; i < CONFIG_KEYS_COUNT; i++) {
        enum config_key key = (enum config_key)i;

        if (strcmp(config_origin(config, key), "default") == 0) {
            fail_msg("%s.%s is not in config/littlebird.conf", config_section_name(key),
                     config_key_name(key));
        }
        assert_string_equal(config_text(config, key), config_default(key));
    }
    config_free(&config);
}

static void every_key_has_its_words(void **state)
{
    FILE *file = fopen(LB_CONFIG_FILE, "r");
    char before[512] = "";
    char line[512];

    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#' && line[1] != ' ' && line[1] != '\n') {
            assert_int_equal(strncmp(before, "# ", 2), 0);
        }
        strcpy(before, line);
    }
    fclose(file);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_it_stands_it_sets_nothing),
        cmocka_unit_test(uncommented_it_sets_every_key_to_its_default),
        cmocka_unit_test(every_key_has_its_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
