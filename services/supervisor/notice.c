#include "services/supervisor/notice.h"

#include <string.h>

static bool is(const char *line, size_t size, const char *text)
{
    return size == strlen(text) && memcmp(line, text, size) == 0;
}

static void take_status(struct notice *self, const char *text, size_t size)
{
    if (size > NOTICE_STATUS_SIZE - 1) {
        size = NOTICE_STATUS_SIZE - 1;
    }
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];

        self->status[i] = byte < 0x20 || byte == 0x7f ? '?' : text[i];
    }
    self->status[size] = '\0';
    self->has_status = true;
}

static void take_line(struct notice *self, const char *line, size_t size)
{
    static const char status[] = "STATUS=";

    if (size >= sizeof status - 1 && memcmp(line, status, sizeof status - 1) == 0) {
        take_status(self, line + sizeof status - 1, size - (sizeof status - 1));
    }
    self->ready = self->ready || is(line, size, "READY=1");
    self->stopping = self->stopping || is(line, size, "STOPPING=1");
    self->beat = self->beat || is(line, size, "WATCHDOG=1");
    self->broken = self->broken || is(line, size, "WATCHDOG=trigger");
    self->store = self->store || is(line, size, "FDSTORE=1");
}

void notice_parse(struct notice *ret_self, const char *data, size_t size)
{
    size_t start = 0;

    *ret_self = (struct notice){ 0 };
    if (size > NOTICE_SIZE_MAX) {
        size = NOTICE_SIZE_MAX;
    }
    while (start < size) {
        const char *end = memchr(data + start, '\n', size - start);
        size_t length = end ? (size_t)(end - data) - start : size - start;

        take_line(ret_self, data + start, length);
        start += length + 1;
    }
}
