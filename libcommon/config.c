#include "libcommon/config.h"

#include "libcommon/bytes.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/rate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (1024 * 1024)
#define FILES_MAX      256 /* in conf.d */
#define LINE_BYTES_MAX 2000
#define ITEMS_MAX      64 /* of a list */
#define LIMIT_SIZE     32 /* bytes of the text of a limit */

struct row {
    const char *section, *key;
    enum config_type type;
    const char *value;
    uint64_t least, most;
    const char *help;
};

#define LB_ROW(name, section, key, type, value, least, most, help)                                 \
    [CONFIG_##name] = { section, key, CONFIG_##type, value, least, most, help },
static const struct row rows[CONFIG_KEYS_COUNT] = { LB_CONFIG(LB_ROW) };
#undef LB_ROW

struct value {
    char *text;
    char *origin;
    uint64_t number;
    char **items;
    size_t items_count;
};

struct config {
    struct value values[CONFIG_KEYS_COUNT];
};

/* ---- values ---- */

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    { "", 1 },
    { "B", 1 },
    { "kB", 1000 },
    { "KB", 1000 },
    { "KiB", UINT64_C(1) << 10 },
    { "MB", 1000000 },
    { "MiB", UINT64_C(1) << 20 },
    { "GB", 1000000000 },
    { "GiB", UINT64_C(1) << 30 },
    { "TB", 1000000000000 },
    { "TiB", UINT64_C(1) << 40 },
    { NULL, 0 },
};

static const struct unit time_units[] = {
    { "", 1000 },   { "ms", 1 },      { "s", 1000 },     { "sec", 1000 },    { "min", 60000 },
    { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 }, { "w", 604800000 }, { NULL, 0 },
};

/* Digits, perhaps spaces, a unit; the product within 64 bits. */
static lb_err parse_number(const char *text, const struct unit *units, uint64_t *ret_number)
{
    const char *digits = text;
    uint64_t number = 0;

    for (; *text >= '0' && *text <= '9'; text++) {
        if (__builtin_mul_overflow(number, (uint64_t)10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*text - '0'), &number))
            return LB_INVALID;
    }
    if (text == digits)
        return LB_INVALID;
    while (*text == ' ')
        text++;
    for (const struct unit *unit = units; unit->name != NULL; unit++) {
        if (strcmp(text, unit->name) == 0)
            return __builtin_mul_overflow(number, unit->factor, ret_number) ? LB_INVALID : LB_OK;
    }
    return LB_INVALID;
}

lb_err config_parse_size(const char *text, uint64_t *ret_bytes)
{
    uint64_t number;

    if (parse_number(text, size_units, &number) != LB_OK)
        return LB_INVALID;
    *ret_bytes = number;
    return LB_OK;
}

lb_err config_parse_time(const char *text, uint64_t *ret_ms)
{
    uint64_t number;

    if (parse_number(text, time_units, &number) != LB_OK)
        return LB_INVALID;
    *ret_ms = number;
    return LB_OK;
}

static lb_err parse_count(const char *text, uint64_t *ret_count)
{
    static const struct unit none[] = { { "", 1 }, { NULL, 0 } };

    return parse_number(text, none, ret_count);
}

static lb_err parse_workers(const char *text, uint64_t *ret_count)
{
    if (strcmp(text, "auto") == 0) {
        *ret_count = 0;
        return LB_OK;
    }
    if (parse_count(text, ret_count) != LB_OK || *ret_count == 0)
        return LB_INVALID;
    return LB_OK;
}

static lb_err parse_bool(const char *text, uint64_t *ret_number)
{
    if (strcmp(text, "yes") == 0 || strcmp(text, "true") == 0 || strcmp(text, "on") == 0)
        *ret_number = 1;
    else if (strcmp(text, "no") == 0 || strcmp(text, "false") == 0 || strcmp(text, "off") == 0)
        *ret_number = 0;
    else
        return LB_INVALID;
    return LB_OK;
}

static lb_err parse_level(const char *text, uint64_t *ret_number)
{
    enum log_level level;

    if (log_level_parse(text, &level) != LB_OK)
        return LB_INVALID;
    *ret_number = (uint64_t)level;
    return LB_OK;
}

static lb_err parse_mode(const char *text, uint64_t *ret_number)
{
    static const char *const modes[] = { "auto", "open", "cooperative" };

    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(text, modes[i]) == 0) {
            *ret_number = i;
            return LB_OK;
        }
    }
    return LB_INVALID;
}

static lb_err parse_subnets(const char *text)
{
    struct subnet_rate rates[SUBNET_RATE_MAX];
    unsigned count;

    return subnet_rates_parse(text, rates, &count);
}

static void free_items(struct value *value)
{
    for (size_t i = 0; i < value->items_count; i++)
        free(value->items[i]);
    free(value->items);
    value->items = NULL;
    value->items_count = 0;
}

static lb_err parse_list(const char *text, struct value *value)
{
    char *copy = xstrdup(text), *rest = NULL;

    free_items(value);
    value->items = xcalloc(ITEMS_MAX, sizeof *value->items);
    for (char *item = strtok_r(copy, ", \t", &rest); item != NULL;
         item = strtok_r(NULL, ", \t", &rest)) {
        if (value->items_count == ITEMS_MAX) {
            free(copy);
            return LB_TOO_BIG;
        }
        value->items[value->items_count++] = xstrdup(item);
    }
    free(copy);
    return LB_OK;
}

/* What a value of this type looks like, for the message about one that does not. */
static const char *expectation(enum config_type type)
{
    switch (type) {
    case CONFIG_COUNT:
        return "a whole number";
    case CONFIG_WORKERS:
        return "a whole number from 1 on, or auto";
    case CONFIG_SIZE:
        return "a size such as 512 MiB, 10 GB or 4096";
    case CONFIG_TIME:
        return "a time such as 250ms, 30s, 5 min or 2h";
    case CONFIG_BOOL:
        return "yes or no";
    case CONFIG_LEVEL:
        return "error, warn, info or debug";
    case CONFIG_MODE:
        return "auto, open or cooperative";
    case CONFIG_LIST:
        return "at most 64 items";
    case CONFIG_RATE:
        return "a rate such as 10 Mbit/s, 5 MB/s or none";
    case CONFIG_SUBNETS:
        return "subnets with their rates, such as 10.2.0.0/16 20 Mbit/s, at most 64";
    case CONFIG_TEXT:
        break;
    }
    return "one line of text";
}

static lb_err parse_value(const struct row *row, const char *text, struct value *value)
{
    switch (row->type) {
    case CONFIG_COUNT:
        return parse_count(text, &value->number);
    case CONFIG_WORKERS:
        return parse_workers(text, &value->number);
    case CONFIG_SIZE:
        return config_parse_size(text, &value->number);
    case CONFIG_TIME:
        return config_parse_time(text, &value->number);
    case CONFIG_BOOL:
        return parse_bool(text, &value->number);
    case CONFIG_LEVEL:
        return parse_level(text, &value->number);
    case CONFIG_MODE:
        return parse_mode(text, &value->number);
    case CONFIG_LIST:
        return parse_list(text, value);
    case CONFIG_RATE:
        return rate_parse(text, &value->number);
    case CONFIG_SUBNETS:
        return parse_subnets(text);
    case CONFIG_TEXT:
        break;
    }
    return LB_OK;
}

static bool has_limits(enum config_type type)
{
    return type == CONFIG_COUNT || type == CONFIG_SIZE || type == CONFIG_TIME;
}

/* auto, which is 0, is within the limits of any number of workers. */
static bool is_within_limits(const struct row *row, uint64_t number)
{
    if (row->type == CONFIG_WORKERS)
        return number <= row->most;
    return !has_limits(row->type) || (number >= row->least && number <= row->most);
}

static bool has_units(enum config_type type)
{
    return type == CONFIG_SIZE || type == CONFIG_TIME;
}

/* A limit as a person writes it: in the largest unit that it is a whole number of. */
static const char *limit_text(enum config_type type, uint64_t number, char ret_text[LIMIT_SIZE])
{
    const struct unit *units = type == CONFIG_SIZE ? size_units : time_units, *best = NULL;

    for (const struct unit *unit = units; has_units(type) && unit->name != NULL; unit++) {
        if (number % unit->factor == 0 && unit->name[0] != '\0' &&
            (best == NULL || unit->factor > best->factor))
            best = unit;
    }
    snprintf(ret_text, LIMIT_SIZE, "%llu%s%s",
             (unsigned long long)(best != NULL ? number / best->factor : number),
             best != NULL && type == CONFIG_SIZE ? " " : "", best != NULL ? best->name : "");
    return ret_text;
}

__attribute__((format(printf, 2, 3))) static lb_err problem(struct config_problem *ret_problem,
                                                            const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(ret_problem->text, sizeof ret_problem->text, format, arguments);
    va_end(arguments);
    for (char *c = ret_problem->text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    return LB_INVALID;
}

/* origin is where it stands, for messages and config_origin(). */
static lb_err set_value(struct config *self, enum config_key key, const char *text,
                        const char *origin, struct config_problem *ret_problem)
{
    const struct row *row = &rows[key];
    struct value *value = &self->values[key];
    char least[LIMIT_SIZE], most[LIMIT_SIZE];

    if (parse_value(row, text, value) != LB_OK)
        return problem(ret_problem, "%s: '%.100s' does not fit '%s' in [%s]: expected %s", origin,
                       text, row->key, row->section, expectation(row->type));
    if (!is_within_limits(row, value->number))
        return problem(
            ret_problem, "%s: '%.100s' does not fit '%s' in [%s]: least %s, most %s%s", origin,
            text, row->key, row->section, limit_text(row->type, row->least, least),
            limit_text(row->type, row->most, most), row->type == CONFIG_WORKERS ? ", or auto" : "");
    free(value->text);
    value->text = xstrdup(text);
    if (value->origin == NULL || strcmp(value->origin, origin) != 0) {
        free(value->origin);
        value->origin = xstrdup(origin);
    }
    return LB_OK;
}

static bool is_section(const char *section)
{
    for (int i = 0; i < CONFIG_KEYS_COUNT; i++) {
        if (strcmp(rows[i].section, section) == 0)
            return true;
    }
    return false;
}

static lb_err find_key(const char *section, const char *key, const char *origin,
                       enum config_key *ret_key, struct config_problem *ret_problem)
{
    for (int i = 0; i < CONFIG_KEYS_COUNT; i++) {
        if (strcmp(rows[i].section, section) == 0 && strcmp(rows[i].key, key) == 0) {
            *ret_key = (enum config_key)i;
            return LB_OK;
        }
    }
    if (section[0] == '\0')
        return problem(ret_problem, "%s: key '%.100s' stands before any [section]", origin, key);
    if (!is_section(section))
        return problem(ret_problem, "%s: unknown section [%.100s]", origin, section);
    return problem(ret_problem, "%s: unknown key '%.100s' in [%s]", origin, key, section);
}

/* ---- files ---- */

/* One file while inih reads it line by line. */
struct reading {
    struct config *config;
    const char *file;
    const char *text;
    size_t size, at;
    unsigned line;
    bool seen[CONFIG_KEYS_COUNT];
    struct config_problem *problem;
    lb_err err; /* the first */
};

static void make_origin(const struct reading *reading, char ret_origin[PATH_MAX + 16])
{
    snprintf(ret_origin, PATH_MAX + 16, "%s:%u", reading->file, reading->line);
}

/* inih calls us only for keys: a wrong section without any is found here. */
static void check_section(struct reading *reading, const char *line)
{
    char origin[PATH_MAX + 16], section[64];

    line += strspn(line, " \t");
    if (reading->err != LB_OK || sscanf(line, "[%63[^]]", section) != 1 || is_section(section))
        return;
    make_origin(reading, origin);
    reading->err = problem(reading->problem, "%s: unknown section [%s]", origin, section);
}

/* As fgets(3), for inih: the next line, counted. */
static char *read_line(char *line, int capacity, void *ctx)
{
    struct reading *reading = ctx;
    const char *start = reading->text + reading->at;
    const char *end = memchr(start, '\n', reading->size - reading->at);
    size_t size = end != NULL ? (size_t)(end - start) + 1 : reading->size - reading->at;
    char origin[PATH_MAX + 16];

    if (size == 0 || reading->err != LB_OK)
        return NULL;
    reading->line++;
    reading->at += size;
    if (size >= (size_t)capacity || size > LINE_BYTES_MAX || memchr(start, '\0', size) != NULL) {
        make_origin(reading, origin);
        reading->err = problem(reading->problem, "%s: the line is too long or no text", origin);
        return NULL;
    }
    memcpy(line, start, size);
    line[size] = '\0';
    check_section(reading, line);
    return line;
}

/* inih: 1 says well, 0 wrong. */
static int take_key(void *ctx, const char *section, const char *key, const char *value)
{
    struct reading *reading = ctx;
    char origin[PATH_MAX + 16];
    enum config_key found;

    if (reading->err != LB_OK)
        return 0;
    make_origin(reading, origin);
    reading->err = find_key(section, key, origin, &found, reading->problem);
    if (reading->err == LB_OK && reading->seen[found])
        reading->err = problem(reading->problem, "%s: '%s' in [%s] stands here a second time",
                               origin, key, section);
    if (reading->err == LB_OK) {
        reading->seen[found] = true;
        reading->err = set_value(reading->config, found, value, origin, reading->problem);
    }
    return reading->err == LB_OK;
}

static lb_err parse_text(struct config *self, const char *file, const char *text, size_t size,
                         struct config_problem *ret_problem)
{
    struct reading reading = {
        .config = self, .file = file, .text = text, .size = size, .problem = ret_problem
    };
    int line;

    ini_allow_multiline = false;
    ini_allow_inline_comments = true;
    ini_use_stack = false;
    ini_max_line = LINE_BYTES_MAX + 3;
    ini_initial_alloc = LINE_BYTES_MAX + 3;
    line = ini_parse_stream(read_line, &reading, take_key, &reading);
    if (reading.err != LB_OK)
        return reading.err;
    if (line != 0)
        return problem(ret_problem, "%s:%d: neither [section] nor 'key = value'", file, line);
    return LB_OK;
}

static lb_err read_whole(int fd, char **ret_text, size_t *ret_size)
{
    char *text = xmalloc(FILE_BYTES_MAX + 1);
    size_t size = 0;

    while (size <= FILE_BYTES_MAX) {
        ssize_t got = read(fd, text + size, FILE_BYTES_MAX + 1 - size);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            free(text);
            return LB_IO;
        }
        if (got == 0)
            break;
        size += (size_t)got;
    }
    if (size > FILE_BYTES_MAX) {
        free(text);
        return LB_TOO_BIG;
    }
    *ret_text = text;
    *ret_size = size;
    return LB_OK;
}

static lb_err load_file(struct config *self, const char *file, struct config_problem *ret_problem)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    size_t size;
    char *text;
    lb_err err;

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return LB_OK;
    if (fd < 0) {
        (void)problem(ret_problem, "%s: %s", file, strerror(errno));
        return LB_IO;
    }
    err = read_whole(fd, &text, &size);
    if (err == LB_TOO_BIG)
        err = problem(ret_problem, "%s: larger than %d bytes", file, FILE_BYTES_MAX);
    else if (err != LB_OK)
        (void)problem(ret_problem, "%s: %s", file, strerror(errno));
    else {
        err = parse_text(self, file, text, size, ret_problem);
        free(text);
    }
    close(fd);
    return err;
}

static int is_conf(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);

    return entry->d_name[0] != '.' && size > 5 && strcmp(entry->d_name + size - 5, ".conf") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* The conf.d folder beside file. */
static lb_err load_folder(struct config *self, const char *file, struct config_problem *ret_problem)
{
    const char *slash = strrchr(file, '/');
    char folder[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
    struct dirent **entries;
    lb_err err = LB_OK;
    int count, size;

    size = snprintf(folder, sizeof folder, "%.*sconf.d",
                    slash != NULL ? (int)(slash - file) + 1 : 0, file);
    if (size < 0 || (size_t)size >= sizeof folder)
        return LB_OK;
    count = scandir(folder, &entries, is_conf, by_name);
    if (count < 0 && (errno == ENOENT || errno == ENOTDIR))
        return LB_OK;
    if (count < 0) {
        (void)problem(ret_problem, "%s: %s", folder, strerror(errno));
        return LB_IO;
    }
    if (count > FILES_MAX)
        err = problem(ret_problem, "%s: more than %d files", folder, FILES_MAX);
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (err == LB_OK)
            err = load_file(self, path, ret_problem);
        free(entries[i]);
    }
    free(entries);
    return err;
}

static lb_err apply_override(struct config *self, const char *text,
                             struct config_problem *ret_problem)
{
    static const char origin[] = "command line";
    char section[64], key[64];
    enum config_key found;
    int used = 0;
    lb_err err;

    if (sscanf(text, "%63[^.=].%63[^=]=%n", section, key, &used) != 2 || used == 0)
        return problem(ret_problem, "%s: '%.100s' is not section.key=value", origin, text);
    err = find_key(section, key, origin, &found, ret_problem);
    return err == LB_OK ? set_value(self, found, text + used, origin, ret_problem) : err;
}

lb_err config_load(struct config **ret_self, const char *file, const char *const *overrides,
                   struct config_problem *ret_problem)
{
    struct config *self = xcalloc(1, sizeof *self);
    struct config_problem found = { "" };
    lb_err err = LB_OK;

    for (int i = 0; i < CONFIG_KEYS_COUNT && err == LB_OK; i++)
        err = set_value(self, (enum config_key)i, rows[i].value, "default", &found);
    if (err == LB_OK && file != NULL)
        err = load_file(self, file, &found);
    if (err == LB_OK && file != NULL)
        err = load_folder(self, file, &found);
    for (; err == LB_OK && overrides != NULL && *overrides != NULL; overrides++)
        err = apply_override(self, *overrides, &found);
    if (err == LB_OK) {
        *ret_self = self;
        return LB_OK;
    }
    *ret_problem = found;
    config_free(&self);
    return err;
}

void config_free(struct config **self)
{
    if (*self == NULL)
        return;
    for (int i = 0; i < CONFIG_KEYS_COUNT; i++) {
        struct value *value = &(*self)->values[i];

        free(value->text);
        free(value->origin);
        free_items(value);
    }
    free(*self);
    *self = NULL;
}

/* ---- beside another ---- */

static bool is_number(enum config_type type)
{
    return type != CONFIG_TEXT && type != CONFIG_LIST && type != CONFIG_SUBNETS;
}

bool config_is_same(const struct config *a, const struct config *b, enum config_key key)
{
    const struct value *x = &a->values[key], *y = &b->values[key];

    if (is_number(rows[key].type))
        return x->number == y->number;
    if (rows[key].type != CONFIG_LIST)
        return strcmp(x->text, y->text) == 0;
    for (size_t i = 0; i < x->items_count && i < y->items_count; i++) {
        if (strcmp(x->items[i], y->items[i]) != 0)
            return false;
    }
    return x->items_count == y->items_count;
}

static uint64_t add_bytes(uint64_t digest, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++)
        digest = (digest ^ bytes[i]) * UINT64_C(0x100000001b3);
    return digest;
}

/* Texts with their ends, so that two of them cannot run together. */
uint64_t config_digest_value(const struct config *self, enum config_key key, uint64_t digest)
{
    const struct value *value = &self->values[key];

    if (is_number(rows[key].type))
        return add_bytes(digest, &value->number, sizeof value->number);
    if (rows[key].type != CONFIG_LIST)
        return add_bytes(digest, value->text, strlen(value->text) + 1);
    for (size_t i = 0; i < value->items_count; i++)
        digest = add_bytes(digest, value->items[i], strlen(value->items[i]) + 1);
    return add_bytes(digest, "", 1);
}

void config_take(struct config *self, struct config *from, enum config_key key)
{
    struct value mine = self->values[key];

    self->values[key] = from->values[key];
    from->values[key] = mine;
}

/* ---- reading ---- */

const char *config_text(const struct config *self, enum config_key key)
{
    return self->values[key].text;
}

uint64_t config_number(const struct config *self, enum config_key key)
{
    return self->values[key].number;
}

unsigned config_workers(const struct config *self, enum config_key key)
{
    uint64_t workers = self->values[key].number;
    cpu_set_t cores;

    if (workers == 0)
        workers = sched_getaffinity(0, sizeof cores, &cores) == 0 ? (uint64_t)CPU_COUNT(&cores) : 1;
    return (unsigned)(workers < rows[key].most ? workers : rows[key].most);
}

size_t config_list_count(const struct config *self, enum config_key key)
{
    return self->values[key].items_count;
}

const char *config_list_item(const struct config *self, enum config_key key, size_t index)
{
    return index < self->values[key].items_count ? self->values[key].items[index] : NULL;
}

const char *config_origin(const struct config *self, enum config_key key)
{
    return self->values[key].origin;
}

const char *config_section_name(enum config_key key)
{
    return rows[key].section;
}

const char *config_key_name(enum config_key key)
{
    return rows[key].key;
}

const char *config_default(enum config_key key)
{
    return rows[key].value;
}

const char *config_help(enum config_key key)
{
    return rows[key].help;
}
