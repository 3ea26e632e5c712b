/*
 * resume: the records of a torrent of three files, as they are and with a checksum that fits. One
 * that is read is written again byte for byte, and judging it gives no piece twice.
 */
#include "services/swarm/resume.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define K 16384u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct layout_file files[] = { { .offset = 0, .length = K + 5 },
                                            { .offset = K + 5, .length = 0 },
                                            { .offset = K + 5, .length = 3 * K } };
static const struct layout layout = {
    .length = 4 * K + 5, .piece_length = K, .piece_count = 5, .files_count = 3, .files = files
};

static void read_record(struct bytes data)
{
    const uint8_t infohash[20] = { 1, 2, 3 };
    struct resume_file found[3] = { { K + 5, 1, true }, { 0, 1, true }, { 3 * K, 1, true } };
    uint8_t verified[1], recheck[1], *again;
    struct resume *record = NULL;
    size_t size;

    if (resume_parse(data, infohash, &layout, &record) != LB_OK)
        return;
    resume_judge(record, &layout, found, verified, recheck);
    assert((verified[0] & recheck[0]) == 0);
    resume_judge(record, &layout, record->files, verified, recheck);
    assert(recheck[0] == 0);
    resume_encode(record, &again, &size);
    assert(size == data.size);
    free(again);
    resume_free(&record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *fitting;

    read_record(bytes_of(data, size));
    if (size < SHA256_SIZE)
        return 0;
    fitting = xmemdup(data, size);
    sha256(bytes_of(fitting, size - SHA256_SIZE), fitting + size - SHA256_SIZE);
    read_record(bytes_of(fitting, size));
    free(fitting);
    return 0;
}
