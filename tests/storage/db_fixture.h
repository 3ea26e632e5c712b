/* For files whose tests have one world each: it is made before a test and removed after it. */
#pragma once

#include "tests/storage/db_world.h"

#define WORLD_MAP_SMALL (1024u * 1024)

static struct world world;

static inline int set_up(void **state)
{
    (void)state;
    world_init(&world, WORLD_MAP);
    return 0;
}

static inline int set_up_small(void **state)
{
    (void)state;
    world_init(&world, WORLD_MAP_SMALL);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    world_done(&world);
    return 0;
}

#define IN(set_up_function, test) cmocka_unit_test_setup_teardown(test, set_up_function, tear_down)
