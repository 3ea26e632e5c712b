/*
 * The register of a coordinator: what stands in a log or a snapshot may be anything, and whatever
 * it becomes holds its invariants, and is the same again from its own snapshot.
 *
 * Input: commands, each with a u16 size before it; or, when it begins like one, a snapshot.
 */
#include "services/coordinator/cursor.h"
#include "services/coordinator/register.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(struct network_register *self)
{
    struct network_register *other = register_new();
    uint8_t *first, *second;
    size_t first_size, second_size;
    lb_err err;

    register_snapshot(self, &first, &first_size);
    err = register_restore(other, bytes_of(first, first_size));
    assert(err == LB_OK);
    register_snapshot(other, &second, &second_size);
    assert(bytes_equal(bytes_of(first, first_size), bytes_of(second, second_size)));
    free(first);
    free(second);
    register_free(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct network_register *self = register_new();
    struct cursor in = { .data = data, .left = size };

    if (size > 5 && memcmp(data, "LBREG", 5) == 0) {
        (void)!register_restore(self, bytes_of(data, size));
    } else {
        while (in.left > 0 && !in.failed) {
            struct bytes command = cursor_blob(&in, REGISTER_COMMAND_MAX);

            (void)register_apply(self, command);
        }
    }
    register_check(self);
    again(self);
    register_free(&self);
    return 0;
}
