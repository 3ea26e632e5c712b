#include "services/cli/units.h"

#include <stdio.h>
#include <time.h>

const char *units_bytes(uint64_t bytes, char ret_text[UNITS_SIZE])
{
    static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double number = (double)bytes;
    int unit = 0;

    while (number >= 1023.5) { /* 1023.5 would be printed as 1024 */
        number /= 1024;
        unit++;
    }
    if (unit == 0 || number >= 99.95)
        snprintf(ret_text, UNITS_SIZE, "%.0f %s", number, names[unit]);
    else
        snprintf(ret_text, UNITS_SIZE, "%.1f %s", number, names[unit]);
    return ret_text;
}

const char *units_rate(uint64_t bytes_per_s, char ret_text[UNITS_SIZE])
{
    char bytes[UNITS_SIZE];

    units_bytes(bytes_per_s, bytes);
    snprintf(ret_text, UNITS_SIZE, "%.20s/s", bytes);
    return ret_text;
}

const char *units_duration(uint64_t seconds, char ret_text[UNITS_SIZE])
{
    unsigned long long s = seconds;

    if (s < 60)
        snprintf(ret_text, UNITS_SIZE, "%llus", s);
    else if (s < 3600)
        snprintf(ret_text, UNITS_SIZE, "%llum %llus", s / 60, s % 60);
    else if (s < 86400)
        snprintf(ret_text, UNITS_SIZE, "%lluh %llum", s / 3600, s % 3600 / 60);
    else
        snprintf(ret_text, UNITS_SIZE, "%llud %lluh", s / 86400, s % 86400 / 3600);
    return ret_text;
}

const char *units_percent(uint64_t part, uint64_t whole, char ret_text[UNITS_SIZE])
{
    double percent = whole > 0 ? 100.0 * (double)part / (double)whole : 0;

    if (whole == 0)
        snprintf(ret_text, UNITS_SIZE, "-");
    else if (part >= whole)
        snprintf(ret_text, UNITS_SIZE, "100 %%");
    else
        snprintf(ret_text, UNITS_SIZE, "%.1f %%", percent < 99.9 ? percent : 99.9);
    return ret_text;
}

const char *units_moment(uint64_t unix_s, char ret_text[UNITS_SIZE])
{
    time_t moment = (time_t)unix_s;
    struct tm local;

    if (unix_s == 0 || moment < 0 || localtime_r(&moment, &local) == NULL ||
        strftime(ret_text, UNITS_SIZE, "%Y-%m-%d %H:%M", &local) == 0)
        snprintf(ret_text, UNITS_SIZE, "-");
    return ret_text;
}
