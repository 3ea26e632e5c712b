/*
 * A service that is stuck, on a virtual clock. A row is a line of looks at its slot: what is
 * overdue and how many requests it has answered by then, "OVERDUE_MS/ANSWERED", with "+MS" of time
 * between.
 */
#include "services/supervisor/stall.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_MS 60000u

static const struct row {
    const char *what;
    const char *looks;
    const char *stuck; /* one letter for each look: S stuck, . not */
} rows[] = {
    { "nothing is overdue", "0/5 +60000 0/5 +60000 0/5", "..." },
    { "overdue for less than the limit", "100/5 +59999 60099/5", ".." },
    { "overdue for the limit, nothing answered", "100/5 +60000 60100/5", ".S" },
    { "looks between change nothing", "1/5 +5000 5001/5 +5000 10001/5 +50000 60001/5", "...S" },
    { "one answer, and the minute begins anew", "1/5 +50000 1/6 +59999 1/6 +1 1/6", "...S" },
    { "all is answered in between", "1/5 +50000 0/9 +10000 1/9 +59999 1/9", "...." },
    { "a forgotten request while others are answered", "1/5 +60000 60001/6 +60000 120001/7",
      "..." },
    { "idle for an hour, then overdue: the hour does not count",
      "0/5 +3600000 1/5 +5000 5001/5 +55000 60001/5", "...S" },
    { "the very first look", "3600000/0", "." },
    { "said again after another minute", "1/5 +60000 60001/5 +5000 65001/5 +55000 120001/5",
      ".S.S" },
};

static void looked_at(void **state)
{
    const struct row *row = *state;
    struct stall stall;
    uint64_t now_ms = 1000000;
    char words[128];
    char stuck[32] = "";
    char *rest = NULL;

    stall_init(&stall, LIMIT_MS);
    strcpy(words, row->looks);
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *slash;
        uint32_t overdue_ms = (uint32_t)strtoul(word, &slash, 10);

        if (word[0] == '+') {
            now_ms += overdue_ms;
            continue;
        }
        strcat(stuck,
               stall_look(&stall, strtoull(slash + 1, NULL, 10), overdue_ms, now_ms) ? "S" : ".");
    }
    assert_string_equal(stuck, row->stuck);
}

int main(void)
{
    return RUN_ROWS(rows, looked_at);
}
