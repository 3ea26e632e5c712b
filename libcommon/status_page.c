#include "libcommon/status_page.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LB_TEXT(name, text) text,
static const char *const service_texts[] = { LB_SERVICES(LB_TEXT) };
static const char *const state_texts[] = { LB_STATES(LB_TEXT) };
#undef LB_TEXT

const char *service_text(enum service service)
{
    return (unsigned)service < SERVICES_COUNT ? service_texts[service] : "unknown";
}

lb_err service_parse(const char *text, enum service *ret_service)
{
    for (int i = 0; i < SERVICES_COUNT; i++) {
        if (strcmp(text, service_texts[i]) == 0) {
            *ret_service = (enum service)i;
            return LB_OK;
        }
    }
    return LB_NOT_FOUND;
}

const char *service_state_text(enum service_state state)
{
    return (unsigned)state < STATES_COUNT ? state_texts[state] : "unknown";
}

/* What stands before the layout stays where it is in every version; its size does not. */
static lb_err check(const struct page *page)
{
    const struct status_page *self = page->memory;

    if (self->magic != STATUS_PAGE_MAGIC)
        return LB_CORRUPT;
    if (self->layout != STATUS_PAGE_LAYOUT)
        return LB_UNSUPPORTED;
    return page->size < sizeof *self ? LB_CORRUPT : LB_OK;
}

static lb_err open_valid(struct page *ret_page, const char *path, bool writable)
{
    struct page page;
    lb_err err = page_open(&page, path, offsetof(struct status_page, slots), writable);

    if (err != LB_OK)
        return err;
    err = check(&page);
    if (err == LB_OK)
        *ret_page = page;
    else
        page_close(&page);
    return err;
}

/* In the system's run folder the file was made for us, empty (systemd/littlebird.tmpfiles). */
static lb_err create(struct page *ret_page, const char *path)
{
    struct page page;
    lb_err err = page_create(&page, path, sizeof(struct status_page));
    bool adopted = err == LB_DENIED;
    struct status_page *self;

    if (adopted)
        err = page_adopt(&page, path, sizeof(struct status_page));
    if (err != LB_OK)
        return err;
    self = page.memory;
    memset(self, 0, sizeof *self);
    self->layout = STATUS_PAGE_LAYOUT;
    self->magic = STATUS_PAGE_MAGIC;
    if (!adopted)
        err = page_publish(&page, path);
    if (err != LB_OK)
        page_close(&page);
    else
        *ret_page = page;
    return err;
}

lb_err status_page_open(struct page *ret_page, const char *run_folder, bool writable)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/status.shm", run_folder);
    lb_err err;
    int folder;

    if (size < 0 || (size_t)size >= sizeof path)
        return LB_TOO_BIG;
    if (!writable)
        return open_valid(ret_page, path, false);
    /* Two processes that start together must not both create it: the folder itself is the lock. */
    folder = open(run_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return LB_NOT_FOUND;
    if (flock(folder, LOCK_EX) != 0) {
        close(folder);
        return LB_IO;
    }
    err = open_valid(ret_page, path, true);
    if (err == LB_NOT_FOUND || err == LB_CORRUPT || err == LB_UNSUPPORTED)
        err = create(ret_page, path);
    close(folder);
    return err;
}

struct status_slot *status_page_slot(const struct page *page, enum service service,
                                     unsigned instance)
{
    struct status_page *self = page->memory;

    if (self == NULL || (unsigned)service >= SERVICES_COUNT || instance >= STATUS_INSTANCES_MAX)
        return NULL;
    return &self->slots[service][instance];
}

unsigned status_page_active(const struct page *page, enum service service)
{
    const struct status_page *self = page->memory;
    uint32_t active;

    if (self == NULL || (unsigned)service >= SERVICES_COUNT)
        return 1;
    active = atomic_load(&self->active[service]);
    if (active == 0)
        return 1;
    return active < STATUS_INSTANCES_MAX ? active : STATUS_INSTANCES_MAX;
}

void status_page_set_active(const struct page *page, enum service service, unsigned instances)
{
    struct status_page *self = page->memory;

    atomic_store(&self->active[service], instances);
}

bool service_state_serves(enum service_state state)
{
    return state == STATE_READY || state == STATE_DEGRADED;
}

enum service_state status_slot_state(const struct status_slot *slot, uint64_t now_ms)
{
    enum service_state state = (enum service_state)atomic_load(&slot->state);
    uint64_t heartbeat_ms = atomic_load(&slot->heartbeat_ms);

    if (service_state_serves(state) && now_ms > heartbeat_ms &&
        now_ms - heartbeat_ms > STATUS_HUNG_MS)
        return STATE_HUNG;
    return state;
}

struct status_counter *status_slot_counter(struct status_slot *slot, const char *name)
{
    for (int i = 0; i < STATUS_COUNTERS_MAX; i++) {
        struct status_counter *counter = &slot->counters[i];

        if (counter->name[0] == '\0') {
            atomic_store_explicit(&counter->value, 0, memory_order_relaxed);
            snprintf(counter->name, sizeof counter->name, "%s", name);
            return counter;
        }
        if (strncmp(counter->name, name, sizeof counter->name - 1) == 0)
            return counter;
    }
    return NULL;
}

const struct status_counter *status_slot_find(const struct status_slot *slot, const char *name)
{
    for (int i = 0; i < STATUS_COUNTERS_MAX && slot->counters[i].name[0] != '\0'; i++) {
        if (strncmp(slot->counters[i].name, name, STATUS_NAME_SIZE - 1) == 0)
            return &slot->counters[i];
    }
    return NULL;
}

void status_counter_add(struct status_counter *counter, uint64_t by)
{
    atomic_fetch_add_explicit(&counter->value, by, memory_order_relaxed);
}

void status_counter_set(struct status_counter *counter, uint64_t value)
{
    atomic_store_explicit(&counter->value, value, memory_order_relaxed);
}

void status_slot_clear(struct status_slot *slot)
{
    memset(slot, 0, sizeof *slot);
}

void status_slot_note(struct status_slot *slot, const char *format, ...)
{
    char note[STATUS_NOTE_SIZE];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(note, sizeof note, format, arguments);
    va_end(arguments);
    for (char *c = note; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    memcpy(slot->note, note, strlen(note) + 1);
}

void status_slot_listens(struct status_slot *slot, const char *protocol, const char *address)
{
    char line[STATUS_NOTE_SIZE];
    int size = snprintf(line, sizeof line, "%s%s%s %s", slot->listens,
                        slot->listens[0] != '\0' ? ", " : "", protocol, address);

    if (size > 0 && (size_t)size < sizeof line)
        memcpy(slot->listens, line, (size_t)size + 1);
}
