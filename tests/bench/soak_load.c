/*
 * The queries of tests/bench/soak: a steady number a second to one node, ping, find_node, get_peers
 * and get in turn, until it is ended. Once a second: how many were answered of how many.
 *
 * usage: bench-soak-load ADDRESS PORT QUERIES_A_SECOND
 */
#include "libcommon/clock.h"
#include "tests/bench/dht_load.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PATIENCE_US 200000u  /* for one batch */
#define LATE_US     1000000u /* farther behind than this it does not catch up */

static void sleep_until(uint64_t until_us)
{
    const uint64_t now_us = clock_monotonic_us();
    struct timespec pause;

    if (now_us >= until_us)
        return;
    pause.tv_sec = (time_t)((until_us - now_us) / 1000000);
    pause.tv_nsec = (long)((until_us - now_us) % 1000000 * 1000);
    nanosleep(&pause, NULL);
}

static void ask_on_and_on(struct load *load, uint64_t tick_us)
{
    uint64_t due_us = clock_monotonic_us(), told_us = due_us, sent = 0, answered = 0, took_us;

    for (unsigned batch = 0;; batch++) {
        const enum load_method method = batch % LOAD_PUT; /* all but the last */

        answered += load_run(load, method, PATIENCE_US, LOAD_BATCH, &took_us);
        sent += LOAD_BATCH;
        due_us += tick_us;
        if (clock_monotonic_us() > due_us + LATE_US)
            due_us = clock_monotonic_us();
        if (clock_monotonic_us() >= told_us + 1000000) {
            told_us += 1000000;
            printf("%llu %llu\n", (unsigned long long)answered, (unsigned long long)sent);
            fflush(stdout);
            answered = sent = 0;
        }
        sleep_until(due_us);
    }
}

int main(int argc, char **argv)
{
    static struct load load;
    const long rate = argc == 4 ? strtol(argv[3], NULL, 10) : 0;

    if (rate < 1 || rate > 1000000) {
        fprintf(stderr, "usage: bench-soak-load ADDRESS PORT QUERIES_A_SECOND\n");
        return 2;
    }
    load_open(&load, "127.0.0.9");
    load_aim(&load, argv[1], (uint16_t)strtol(argv[2], NULL, 10));
    ask_on_and_on(&load, LOAD_BATCH * 1000000u / (uint64_t)rate);
}
