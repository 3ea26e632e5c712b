#include "services/gateway/changes.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <string.h>

/* Two letters a thing, its name and its state; changes as + new, ~ other, - gone. */
static const struct row {
    const char *what, *before, *after, *changes;
} rows[] = {
    { "nothing stays nothing", "", "", "" },
    { "all is new at first", "", "a1b1", "+a+b" },
    { "the same is no change", "a1b1", "a1b1", "" },
    { "one changes", "a1b1", "a1b2", "~b" },
    { "one goes", "a1b1", "b1", "-a" },
    { "one comes in front", "b1", "a1b1", "+a" },
    { "the order means nothing", "a1b1", "b1a1", "" },
    { "all at once", "a1b1c1", "d1c2a1", "-b+d~c" },
    { "all go", "a1b1", "", "-a-b" },
};

static size_t draw(const char *text, struct thing things[8])
{
    size_t count = strlen(text) / 2;

    for (size_t i = 0; i < count; i++)
        things[i] = (struct thing){ .id = { { (uint8_t)text[2 * i] } },
                                    .fingerprint = (uint64_t)text[2 * i + 1] };
    return count;
}

static void note(void *ctx, enum change change, const struct thing *thing, size_t index)
{
    char *trace = ctx;
    size_t size = strlen(trace);

    (void)index;
    trace[size] = " +~-"[change];
    trace[size + 1] = (char)thing->id.bytes[0];
    trace[size + 2] = '\0';
}

static void reports(void **state)
{
    const struct row *row = *state;
    struct changes changes = { NULL, 0 };
    struct thing things[8];
    char trace[32] = "";

    changes_take(&changes, things, draw(row->before, things), note, trace);
    trace[0] = '\0';
    changes_take(&changes, things, draw(row->after, things), note, trace);
    assert_string_equal(trace, row->changes);

    changes_clear(&changes);
    trace[0] = '\0';
    changes_take(&changes, things, draw("z1", things), note, trace);
    assert_string_equal(trace, "+z");
    changes_clear(&changes);
}

int main(void)
{
    return RUN_ROWS(rows, reports);
}
