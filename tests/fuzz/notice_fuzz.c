/* sd_notify datagrams as lb-supervisor reads them: cut, printable, never beyond their bounds. */
#include "services/supervisor/notice.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct notice notice;

    notice_parse(&notice, (const char *)data, size);
    if (!memchr(notice.status, '\0', sizeof notice.status)) {
        abort();
    }
    for (const char *c = notice.status; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            abort();
        }
    }
    return 0;
}
