/*
 * What only an administrator of the machine can set up for a test: mounts, networks, devices. Who
 * has no right to is told why and the test counts as skipped; who has it and cannot has failed.
 */
#pragma once

#include "tests/libcommon/cmocka_row.h"

#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* CAP_SYS_ADMIN, and not that of a user namespace (a container without rights), which has an id
 * map. */
static inline bool rights_are_all(void)
{
    unsigned long long capabilities = 0;
    unsigned long inside = 1, outside = 1, count = 0;
    char line[128];
    FILE *status = fopen("/proc/self/status", "re"), *map = fopen("/proc/self/uid_map", "re");

    assert_non_null(status);
    assert_non_null(map);
    while (fgets(line, sizeof line, status) != NULL)
        (void)sscanf(line, "CapEff: %llx", &capabilities);
    assert_int_equal(fscanf(map, "%lu %lu %lu", &inside, &outside, &count), 3);
    fclose(status);
    fclose(map);
    return (capabilities >> CAP_SYS_ADMIN & 1) != 0 && inside == 0 && outside == 0 &&
           count == UINT32_MAX;
}

/* It could not be set up, by errno. Clean up before: this ends the test. */
static inline void rights_missing(const char *what, int error)
{
    if (rights_are_all())
        fail_msg("%s: %s", what, strerror(error));
    printf("skipped: %s: %s\n", what, strerror(error));
    skip();
}
