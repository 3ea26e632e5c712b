#include "services/swarm/device.h"

#include "libcommon/memory.h"
#include "services/swarm/beneath.h"
#include "services/swarm/name.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define TEXT_MAX    (4u * 1024 * 1024) /* of a file in /proc */
#define PATH_SIZE   4096u
#define SERIAL_SIZE 160u
#define SECTOR_SIZE 512u /* of what sysfs counts */

/* A device under examination. */
struct look {
    const char *path; /* as given */
    char *real;       /* what it points to */
    dev_t number;
    char folder[PATH_SIZE]; /* in sysfs */
    bool is_partition;
    unsigned parts_count;
    struct part { /* itself first, then its partitions */
        dev_t number;
        char name[NAME_MAX + 1];
    } parts[DEVICE_PARTS_MAX];
    char *problem;
};

__attribute__((format(printf, 3, 4))) static lb_err refuse(struct look *self, lb_err err,
                                                           const char *format, ...)
{
    char why[DEVICE_PROBLEM_SIZE], line[2 * DEVICE_PROBLEM_SIZE];
    bool renamed = self->real && strcmp(self->real, self->path) != 0;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, sizeof(why), format, arguments);
    va_end(arguments);
    snprintf(line, sizeof(line), "%.200s%s%.100s%s %s", self->path, renamed ? " (" : "",
             renamed ? self->real : "", renamed ? ")" : "", why);
    name_make_safe(bytes_of_text(line), self->problem, DEVICE_PROBLEM_SIZE);
    return err;
}

static lb_err refuse_errno(struct look *self, const char *verb)
{
    lb_err err = beneath_error(errno);
    char text[128];

    return refuse(self, err, "%s: %s", verb, strerror_r(errno, text, sizeof(text)));
}

/* ---- what the kernel tells as text ---- */

static struct bytes cut(struct bytes *from, char at)
{
    const uint8_t *end = from->size > 0 ? memchr(from->data, at, from->size) : NULL;
    struct bytes part = bytes_of(from->data, end ? (size_t)(end - from->data) : from->size);
    size_t used = part.size + (end ? 1 : 0);

    *from = bytes_of(from->data + used, from->size - used);
    return part;
}

static bool read_pair(struct bytes text, unsigned *ret_major, unsigned *ret_minor)
{
    char copy[32];

    if (text.size == 0 || text.size >= sizeof(copy))
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return sscanf(copy, "%u:%u", ret_major, ret_minor) == 2;
}

/* proc(5): id, parent, major:minor, root, where, options, any number of fields, "-", type, source.
 */
static bool read_mount(struct bytes line, struct device_mount *ret_mount)
{
    struct device_mount mount = { 0 };

    cut(&line, ' ');
    cut(&line, ' ');
    if (!read_pair(cut(&line, ' '), &mount.major, &mount.minor))
        return false;
    cut(&line, ' ');
    mount.where = cut(&line, ' ');
    while (line.size > 0 && !bytes_equal_text(cut(&line, ' '), "-"))
        ;
    cut(&line, ' ');
    mount.source = cut(&line, ' ');
    if (mount.where.size == 0)
        return false;
    *ret_mount = mount;
    return true;
}

bool device_next_mount(struct bytes *text, struct device_mount *ret_mount)
{
    while (text->size > 0) {
        if (read_mount(cut(text, '\n'), ret_mount))
            return true;
    }
    return false;
}

bool device_next_swap(struct bytes *text, struct bytes *ret_path)
{
    while (text->size > 0) {
        struct bytes line = cut(text, '\n'), path = cut(&line, ' ');

        path = cut(&path, '\t');
        if (path.size == 0 || path.data[0] != '/')
            continue; /* the heading */
        *ret_path = path;
        return true;
    }
    return false;
}

static struct bytes read_text(const char *path, uint8_t **ret_data)
{
    FILE *file = fopen(path, "re");
    size_t size = 0;

    *ret_data = NULL;
    if (!file)
        return bytes_of(NULL, 0);
    *ret_data = xmalloc(TEXT_MAX);
    size = fread(*ret_data, 1, TEXT_MAX, file);
    fclose(file);
    return bytes_of(*ret_data, size);
}

/* One value of sysfs without the spaces around it; "" when there is none. */
static void read_value(const char *folder, const char *name, char *ret_value, size_t size)
{
    char path[PATH_SIZE + 64], line[SERIAL_SIZE] = "";
    char *begin = line, *end;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "re");
    if (file && !fgets(line, sizeof(line), file))
        line[0] = '\0';
    if (file)
        fclose(file);
    while (*begin == ' ')
        begin++;
    for (end = begin + strlen(begin); end > begin && (end[-1] == '\n' || end[-1] == ' ');)
        *--end = '\0';
    snprintf(ret_value, size, "%s", begin);
}

/* ---- the device in sysfs ---- */

static bool read_number(const char *folder, dev_t *ret_number)
{
    char value[SERIAL_SIZE];
    unsigned major_number, minor_number;

    read_value(folder, "dev", value, sizeof(value));
    if (sscanf(value, "%u:%u", &major_number, &minor_number) != 2)
        return false;
    *ret_number = makedev(major_number, minor_number);
    return true;
}

static lb_err find_parts(struct look *self)
{
    DIR *folder = opendir(self->folder);
    const struct dirent *entry;
    lb_err err = LB_OK;

    if (!folder)
        return refuse_errno(self, "cannot be looked up in /sys");
    while (err == LB_OK && (entry = readdir(folder))) {
        char path[PATH_SIZE + NAME_MAX + 16];
        struct part *part = &self->parts[self->parts_count];

        snprintf(path, sizeof(path), "%s/%s/partition", self->folder, entry->d_name);
        if (entry->d_name[0] == '.' || access(path, F_OK) < 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", self->folder, entry->d_name);
        if (self->parts_count == DEVICE_PARTS_MAX) {
            err = refuse(self, LB_TOO_BIG, "has more than %u partitions", DEVICE_PARTS_MAX);
        } else if (read_number(path, &part->number)) {
            snprintf(part->name, sizeof(part->name), "%s", entry->d_name);
            self->parts_count++;
        }
    }
    closedir(folder);
    return err;
}

static lb_err find(struct look *self)
{
    char link[64], path[PATH_SIZE + 16], *name;
    struct stat found;

    if (!self->real || stat(self->real, &found) < 0)
        return refuse_errno(self, "is not there");
    if (!S_ISBLK(found.st_mode))
        return refuse(self, LB_INVALID, "is no block device");
    self->number = found.st_rdev;
    snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(found.st_rdev),
             minor(found.st_rdev));
    if (!realpath(link, self->folder))
        return refuse_errno(self, "cannot be looked up in /sys");
    name = strrchr(self->folder, '/') + 1;
    self->parts[0].number = self->number;
    snprintf(self->parts[0].name, sizeof(self->parts[0].name), "%s", name);
    self->parts_count = 1;
    snprintf(path, sizeof(path), "%s/partition", self->folder);
    self->is_partition = access(path, F_OK) == 0;
    return self->is_partition ? LB_OK : find_parts(self);
}

static const struct part *part_of(const struct look *self, dev_t number)
{
    for (unsigned i = 0; i < self->parts_count; i++) {
        if (self->parts[i].number == number)
            return &self->parts[i];
    }
    return NULL;
}

/* The device a path names, if it is one. */
static const struct part *part_at(const struct look *self, struct bytes path)
{
    char text[PATH_SIZE];
    struct stat found;

    if (path.size == 0 || path.size >= sizeof(text) || path.data[0] != '/')
        return NULL;
    memcpy(text, path.data, path.size);
    text[path.size] = '\0';
    return stat(text, &found) == 0 && S_ISBLK(found.st_mode) ? part_of(self, found.st_rdev) : NULL;
}

/* ---- who uses it ---- */

static lb_err check_mounts(struct look *self)
{
    uint8_t *data;
    struct bytes text = read_text("/proc/self/mountinfo", &data);
    struct device_mount mount;
    lb_err err = LB_OK;

    if (!data)
        return refuse(self, LB_IO, "cannot be used: /proc/self/mountinfo cannot be read");
    while (err == LB_OK && device_next_mount(&text, &mount)) {
        const struct part *part = part_of(self, makedev(mount.major, mount.minor));

        /* btrfs and others show a number of their own, but name the device. */
        if (!part)
            part = part_at(self, mount.source);
        if (part)
            err = refuse(self, LB_DENIED, "is not written to: %s is mounted on %.*s", part->name,
                         (int)(mount.where.size < 200 ? mount.where.size : 200),
                         (const char *)mount.where.data);
    }
    free(data);
    return err;
}

static lb_err check_swaps(struct look *self)
{
    uint8_t *data;
    struct bytes text = read_text("/proc/swaps", &data), path;
    lb_err err = LB_OK;

    while (err == LB_OK && device_next_swap(&text, &path)) {
        const struct part *part = part_at(self, path);

        if (part)
            err = refuse(self, LB_DENIED, "is not written to: %s is swap", part->name);
    }
    free(data);
    return err;
}

/* Device mapper, RAID and their like. */
static lb_err check_holders(struct look *self, unsigned part)
{
    char path[2 * PATH_SIZE];
    DIR *folder;
    const struct dirent *entry;
    lb_err err = LB_OK;

    snprintf(path, sizeof(path), "%s/%s%sholders", self->folder,
             part > 0 ? self->parts[part].name : "", part > 0 ? "/" : "");
    folder = opendir(path);
    if (!folder)
        return LB_OK;
    while (err == LB_OK && (entry = readdir(folder))) {
        if (entry->d_name[0] != '.')
            err = refuse(self, LB_DENIED, "is not written to: %s is part of %s",
                         self->parts[part].name, entry->d_name);
    }
    closedir(folder);
    return err;
}

static lb_err check_use(struct look *self)
{
    char value[SERIAL_SIZE];
    lb_err err = check_mounts(self);

    if (err == LB_OK)
        err = check_swaps(self);
    for (unsigned i = 0; i < self->parts_count && err == LB_OK; i++)
        err = check_holders(self, i);
    read_value(self->folder, "ro", value, sizeof(value));
    if (err == LB_OK && strcmp(value, "1") == 0)
        err = refuse(self, LB_DENIED, "is read-only");
    return err;
}

/* ---- which one it is ---- */

static void find_serial(const char *disk, char *ret_serial, size_t size)
{
    /* Where SCSI, NVMe, virtio, MMC and device mapper keep theirs. */
    static const char *const names[] = { "wwid",   "device/wwid", "device/serial",
                                         "serial", "device/cid",  "dm/uuid" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        read_value(disk, names[i], ret_serial, size);
        if (ret_serial[0] != '\0')
            return;
    }
}

/* "serial S size N", or without a serial what holds until the next boot. */
static void identify(const struct look *self, uint64_t size, char *ret_identity)
{
    char disk[PATH_SIZE], serial[SERIAL_SIZE], begin[SERIAL_SIZE] = "", boot[SERIAL_SIZE];
    char sequence[SERIAL_SIZE], line[4 * SERIAL_SIZE];

    snprintf(disk, sizeof(disk), "%s", self->folder);
    if (self->is_partition) {
        read_value(self->folder, "start", begin, sizeof(begin));
        *strrchr(disk, '/') = '\0';
    }
    find_serial(disk, serial, sizeof(serial));
    if (serial[0] == '\0') {
        read_value("/proc/sys/kernel/random", "boot_id", boot, sizeof(boot));
        read_value(disk, "diskseq", sequence, sizeof(sequence));
        snprintf(serial, sizeof(serial), "%u:%u %.30s of boot %.40s", major(self->number),
                 minor(self->number), sequence, boot);
    }
    snprintf(line, sizeof(line), "%s%s%s size %llu", serial, begin[0] ? " at " : "", begin,
             (unsigned long long)size);
    name_make_safe(bytes_of_text(line), ret_identity, DEVICE_IDENTITY_SIZE);
}

static lb_err look(struct look *self, uint64_t size_needed, struct device_facts *ret_facts)
{
    char value[SERIAL_SIZE];
    uint64_t size;
    lb_err err = find(self);

    if (err == LB_OK)
        err = check_use(self);
    if (err != LB_OK)
        return err;
    read_value(self->folder, "size", value, sizeof(value));
    size = strtoull(value, NULL, 10) * SECTOR_SIZE;
    if (size < size_needed)
        return refuse(self, LB_TOO_BIG, "holds %llu bytes, and %llu are to be written",
                      (unsigned long long)size, (unsigned long long)size_needed);
    ret_facts->size = size;
    identify(self, size, ret_facts->identity);
    return LB_OK;
}

static struct look *look_new(const char *path, char *problem)
{
    struct look *self = xcalloc(1, sizeof(*self));

    self->path = path;
    self->real = realpath(path, NULL);
    self->problem = problem;
    return self;
}

static void look_free(struct look *self)
{
    free(self->real);
    free(self);
}

lb_err device_look(const char *path, uint64_t size_needed, struct device_facts *ret_facts,
                   char ret_problem[DEVICE_PROBLEM_SIZE])
{
    struct look *self = look_new(path, ret_problem);
    lb_err err = look(self, size_needed, ret_facts);

    look_free(self);
    return err;
}

/* ---- opening ---- */

/* What was opened is what was looked at. */
static lb_err check_opened(struct look *self, int fd, uint64_t size)
{
    uint64_t bytes = 0;
    struct stat found;

    if (fstat(fd, &found) < 0 || ioctl(fd, BLKGETSIZE64, &bytes) < 0)
        return refuse_errno(self, "cannot be asked for its size");
    if (!S_ISBLK(found.st_mode) || found.st_rdev != self->number || bytes != size)
        return refuse(self, LB_CONFLICT, "has become another device");
    return LB_OK;
}

static lb_err open_alone(struct look *self, uint64_t size, int *ret_fd)
{
    int fd = open(self->real, O_RDWR | O_EXCL | O_CLOEXEC | O_NOFOLLOW);
    lb_err err;

    if (fd < 0 && errno == EBUSY)
        return refuse(self, LB_UNAVAILABLE, "is in use by another program");
    if (fd < 0)
        return refuse_errno(self, "cannot be opened for writing");
    err = check_opened(self, fd, size);
    if (err == LB_OK)
        *ret_fd = fd;
    else
        close(fd);
    return err;
}

lb_err device_open(const char *path, const char *identity, uint64_t size_needed, int *ret_fd,
                   uint64_t *ret_size, char ret_problem[DEVICE_PROBLEM_SIZE])
{
    struct look *self = look_new(path, ret_problem);
    struct device_facts facts = { 0 };
    lb_err err = look(self, size_needed, &facts);

    if (err == LB_OK && strcmp(facts.identity, identity) != 0)
        err =
            refuse(self, LB_CONFLICT, "is not the device that was named: it is %.120s, was %.120s",
                   facts.identity, identity);
    if (err == LB_OK)
        err = open_alone(self, facts.size, ret_fd);
    if (err == LB_OK)
        *ret_size = facts.size;
    look_free(self);
    return err;
}
