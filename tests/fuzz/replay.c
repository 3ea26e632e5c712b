/*
 * Stands in for libFuzzer in an ordinary build: feeds every file of the files and folders named on
 * the command line to the fuzz target once. Fails when one is missing, or a folder holds no file.
 */
#include "libcommon/memory.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX ((size_t)16 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool problem(const char *path, const char *what)
{
    fprintf(stderr, "replay: %s: %s\n", path, what);
    return false;
}

static bool replay_file(const char *path, unsigned *count)
{
    FILE *file = fopen(path, "rb");
    uint8_t *buffer, *exact;
    size_t size;

    if (!file)
        return problem(path, strerror(errno));
    buffer = xmalloc(INPUT_MAX);
    size = fread(buffer, 1, INPUT_MAX, file);
    fclose(file);
    /* Memory of exactly this size, so that the sanitizer sees the first byte read past it. */
    exact = malloc(size);
    if (size > 0)
        memcpy(exact, buffer, size);
    free(buffer);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    ++*count;
    return true;
}

static bool replay_folder(const char *path, unsigned *count)
{
    struct dirent **entries;
    int entries_count = scandir(path, &entries, NULL, alphasort);
    unsigned before = *count;
    bool good = true;

    if (entries_count < 0)
        return problem(path, strerror(errno));
    for (int i = 0; i < entries_count; i++) {
        char *file = xasprintf("%s/%s", path, entries[i]->d_name);
        struct stat about;

        if (stat(file, &about) == 0 && S_ISREG(about.st_mode))
            good = replay_file(file, count) && good;
        free(file);
        free(entries[i]);
    }
    free(entries);
    if (*count == before)
        return problem(path, "no file in it");
    return good;
}

static bool replay(const char *path, unsigned *count)
{
    struct stat about;

    if (stat(path, &about) != 0)
        return problem(path, strerror(errno));
    return S_ISDIR(about.st_mode) ? replay_folder(path, count) : replay_file(path, count);
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    bool good = argc > 1;

    if (argc < 2)
        fprintf(stderr, "usage: %s FILE|FOLDER...\n", argv[0]);
    for (int i = 1; i < argc; i++)
        good = replay(argv[i], &count) && good;
    printf("%u inputs replayed\n", count);
    return good ? 0 : 1;
}
