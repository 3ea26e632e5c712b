/*
 * A restart that was asked for. A row is a line of steps after "begin": one letter for each
 * instance says how it is, r ready, b busy, f failed, a capital letter that it has been started
 * anew since it was told; and what came of each step.
 */
#include "services/supervisor/restarts.h"

#include "tests/libcommon/cmocka_row.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct told {
    struct restart restart;
    char trace[256];
};

static enum manager_condition condition_of(char letter)
{
    switch (tolower((unsigned char)letter)) {
    case 'r':
        return MANAGER_READY;
    case 'f':
        return MANAGER_FAILED;
    default:
        return MANAGER_BUSY;
    }
}

static void note(struct told *self, const char *what)
{
    size_t used = strlen(self->trace);

    snprintf(self->trace + used, sizeof self->trace - used, "%s%s", used ? " " : "", what);
}

static void step(struct told *self, const char *instances)
{
    unsigned wanted = (unsigned)strlen(instances);

    for (;;) {
        static const char *const ends[] = {
            [RESTART_DONE] = "done", [RESTART_FAILED] = "failed", [RESTART_GONE] = "gone"
        };
        unsigned at = self->restart.instance;
        char letter = at < wanted ? instances[at] : 'b';
        uint32_t generation = isupper((unsigned char)letter) ? 8 : 7;
        enum restart_verb verb =
            restart_next(&self->restart, wanted, condition_of(letter), generation);
        char text[32];

        if (verb == RESTART_WAIT) {
            return;
        }
        if (verb != RESTART_TELL) {
            note(self, ends[verb]);
            return;
        }
        self->restart.generation = 7;
        snprintf(text, sizeof text, "tell%u", self->restart.instance);
        note(self, text);
        assert_true(self->restart.instance < wanted);
        return; /* what has become of it is seen in the next step */
    }
}

static const struct row {
    const char *what;
    unsigned first, last;
    bool is_of_one;
    const char *steps;
    const char *orders;
} rows[] = {
    { "one, until it is ready again", 0, 0, true, "r b b R", "tell0 done" },
    { "it is not done while the old process is still there", 0, 0, true, "r r R", "tell0 done" },
    { "the second of three", 1, 1, true, "rrr rbr rRr", "tell1 done" },
    { "all, one after the other", 0, 2, false, "rrr brr Rrr Rbr RRr RRb RRR",
      "tell0 tell1 tell2 done" },
    { "one that crashes on the way and comes back", 0, 1, false, "rr br Br Br Rr RR",
      "tell0 tell1 done" },
    { "one that does not come back: the rest is left alone", 0, 2, false, "rrr brr Frr",
      "tell0 failed" },
    { "one that had failed is started", 0, 0, true, "f B R", "tell0 done" },
    { "one in the middle that had failed is started", 0, 2, false, "rfr Rfr RRr RRR",
      "tell0 tell1 tell2 done" },
    { "the one meant is scaled away", 2, 2, true, "rrr rrb rr", "tell2 gone" },
    { "the one meant is scaled away before it was told", 2, 2, true, "rr", "gone" },
    { "of all, those that are scaled away need no restart", 0, 2, false, "rrr Rrr RR",
      "tell0 tell1 done" },
    { "of all, also the one that is being restarted", 0, 1, false, "rr Rr R", "tell0 tell1 done" },
    { "those that come meanwhile are new anyway", 0, 0, false, "r bb RR", "tell0 done" },
};

static void restarted(void **state)
{
    const struct row *row = *state;
    struct told told = { .trace = "" };
    char words[128];
    char *rest = NULL;

    restart_init(&told.restart, SERVICE_TRANSPORT, row->first, row->last, row->is_of_one);
    strcpy(words, row->steps);
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        step(&told, word);
    }
    assert_string_equal(told.trace, row->orders);
}

int main(void)
{
    return RUN_ROWS(rows, restarted);
}
