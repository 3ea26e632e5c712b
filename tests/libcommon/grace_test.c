/*
 * A line of looks, 250 ms apart from the start on: w the neighbours are there, - they are not; what
 * came of each: s it is still starting, . it tells how it is.
 */
#include "libcommon/grace.h"

#include "tests/libcommon/cmocka_row.h"

#define STEP_MS 250u

static const struct row {
    const char *what, *neighbours, *after;
} rows[] = {
    { "they are there at once", "w", "." },
    { "they come in time", "--w", "ss." },
    { "they come late: it is said without them after a second", "-----w", "ssss.." },
    { "one that is lost within the second is told at once", "-w--", "s..." },
    { "one that is lost for long as well", "wwwwww--", "........" },
};

static void waited(void **state)
{
    const struct row *row = *state;
    const uint64_t began_ms = UINT64_C(77000);
    struct grace grace;

    grace_init(&grace, began_ms);
    for (unsigned i = 0; row->neighbours[i] != '\0'; i++)
        assert_int_equal(
            grace_lasts(&grace, row->neighbours[i] == 'w', began_ms + (uint64_t)i * STEP_MS),
            row->after[i] == 's');
}

int main(void)
{
    return RUN_ROWS(rows, waited);
}
