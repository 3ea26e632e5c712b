#include "libcommon/usage.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define USAGE_MS 2000u /* how often memory is looked at: it costs a file of /proc */

static uint64_t micros(const struct timeval *time)
{
    return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

/* The second number of /proc/self/statm, in pages; 0: not known. */
static uint64_t read_resident(void)
{
    unsigned long long resident = 0;
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;

    if (fd >= 0)
        close(fd);
    if (size <= 0)
        return 0;
    text[size] = '\0';
    if (sscanf(text, "%*u %llu", &resident) != 1)
        return 0;
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

void usage_publish(struct status_slot *slot, uint64_t now_ms)
{
    struct rusage used;

    if (getrusage(RUSAGE_SELF, &used) == 0)
        atomic_store(&slot->cpu_us, micros(&used.ru_utime) + micros(&used.ru_stime));
    if (now_ms % USAGE_MS < STATUS_HEARTBEAT_MS || atomic_load(&slot->memory_bytes) == 0)
        atomic_store(&slot->memory_bytes, read_resident());
}
