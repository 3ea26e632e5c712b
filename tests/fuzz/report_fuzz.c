/* Reports: whatever is read is written and read again as the same. */
#include "services/swarm/report.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct report first, second;
    uint8_t buffer[REPORT_MESSAGE_MAX];
    struct writer writer;

    if (report_read(bytes_of(data, size), &first) != LB_OK)
        return 0;
    writer_init(&writer, buffer, sizeof(buffer));
    report_put(&writer, &first);
    assert(!writer.overflow);
    const lb_err err = report_read(bytes_of(buffer, writer.size), &second);
    assert(err == LB_OK);
    (void)err;
    assert(report_same(&first, &second) && first.have_bytes == second.have_bytes);
    return 0;
}
