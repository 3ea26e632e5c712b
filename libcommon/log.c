#include "libcommon/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1000

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static const int syslog_priority[] = { 3, 4, 6, 7 };

/* The one piece of process-wide state: where and how lines are written. */
static struct {
    char who[32];
    enum log_level level;
    bool with_priority;
} log_state = { "littlebird", LOG_LEVEL_INFO, false };

/* systemd.exec(5): JOURNAL_STREAM is "DEVICE:INODE" of the stream; stderr may have been redirected.
 */
static bool stderr_is_the_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat info;

    return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &info) == 0 && info.st_dev == device && info.st_ino == inode;
}

void log_init(const char *who, enum log_level level)
{
    const char *priority = getenv("LB_LOG_PRIORITY");

    snprintf(log_state.who, sizeof log_state.who, "%s", who);
    log_state.level = level;
    log_state.with_priority =
        (priority != NULL && strcmp(priority, "1") == 0) || stderr_is_the_journal();
}

void log_set_level(enum log_level level)
{
    log_state.level = level;
}

const char *log_level_text(enum log_level level)
{
    return level_names[level];
}

lb_err log_level_parse(const char *text, enum log_level *ret_level)
{
    for (unsigned i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return LB_OK;
        }
    }
    return LB_INVALID;
}

/* What stands before "who: ": the priority, or the time and the level. */
static int write_prefix(char *line, size_t size, enum log_level level)
{
    struct timespec now;
    struct tm local;
    char stamp[32];

    if (log_state.with_priority)
        return snprintf(line, size, "<%d>", syslog_priority[level]);
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &local);
    return snprintf(line, size, "%s.%03ld %-5s ", stamp, now.tv_nsec / 1000000, level_names[level]);
}

__attribute__((format(printf, 2, 0))) static void write_line(enum log_level level,
                                                             const char *format, va_list arguments)
{
    char line[LINE_MAX_BYTES + 1];
    size_t used, start;

    if (level > log_state.level)
        return;
    used = (size_t)write_prefix(line, sizeof line, level);
    used += (size_t)snprintf(line + used, sizeof line - used, "%s: ", log_state.who);
    start = used;
    vsnprintf(line + used, LINE_MAX_BYTES - used, format, arguments);
    used += strlen(line + used);
    for (size_t i = start; i < used; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    }
    line[used++] = '\n';
    /* One write, so that lines of several processes do not mix. A lost line is no fault. */
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}

#define DEFINE_LOG(name, level)                                                                    \
    void name(const char *format, ...)                                                             \
    {                                                                                              \
        va_list arguments;                                                                         \
                                                                                                   \
        va_start(arguments, format);                                                               \
        write_line(level, format, arguments);                                                      \
        va_end(arguments);                                                                         \
    }

DEFINE_LOG(log_error, LOG_LEVEL_ERROR)
DEFINE_LOG(log_warn, LOG_LEVEL_WARN)
DEFINE_LOG(log_info, LOG_LEVEL_INFO)
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)
