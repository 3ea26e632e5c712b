#include "tests/sim/swarm_svg.h"

#include <math.h>
#include <stdarg.h>

/* The plot within the picture, in its units. */
#define WIDTH  760.0
#define HEIGHT 420.0
#define LEFT   64.0
#define RIGHT  740.0
#define TOP    64.0
#define BOTTOM 366.0
#define POINTS 120u /* of a curve */

#define BYTES_OF_GBIT 125e6

#define SWARM_COLOUR  "#1a6fb5"
#define SERVER_COLOUR "#c2452d"
#define BOUND_COLOUR  "#444"

struct picture {
    FILE *file;
    double first_s, last_s; /* the time axis, which is logarithmic */
};

static double x_of(const struct picture *self, double at_s)
{
    const double within = at_s < self->first_s ? self->first_s : at_s;

    return LEFT + (RIGHT - LEFT) * log(within / self->first_s) / log(self->last_s / self->first_s);
}

static double y_of(double share)
{
    return BOTTOM - (BOTTOM - TOP) * share;
}

/* anchor: which of its ends stands at x */
__attribute__((format(printf, 6, 7))) static void text(const struct picture *self, double x,
                                                       double y, const char *anchor,
                                                       const char *attributes, const char *format,
                                                       ...)
{
    va_list list;

    fprintf(self->file, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" %s>", x, y, anchor,
            attributes);
    va_start(list, format);
    vfprintf(self->file, format, list);
    va_end(list);
    fputs("</text>\n", self->file);
}

static void line(const struct picture *self, double x, double y, double to_x, double to_y,
                 const char *attributes)
{
    fprintf(self->file, "<path d=\"M%.1f %.1fL%.1f %.1f\" %s/>\n", x, y, to_x, to_y, attributes);
}

/* "42.1 s", "83 min" */
static void put_time(char *to, size_t size, double time_s)
{
    if (time_s < 100) {
        snprintf(to, size, "%.1f s", time_s);
    } else if (time_s < 600) {
        snprintf(to, size, "%.0f s", time_s);
    } else {
        snprintf(to, size, "%.0f min", time_s / 60);
    }
}

/* ---- the axes ---- */

static void draw_times(const struct picture *self)
{
    static const struct mark {
        double at_s;
        const char *name;
    } marks[] = {
        { 1, "1 s" },    { 3, "3 s" },     { 10, "10 s" },    { 30, "30 s" },
        { 60, "1 min" }, { 180, "3 min" }, { 600, "10 min" }, { 1800, "30 min" },
        { 3600, "1 h" }, { 10800, "3 h" }, { 36000, "10 h" },
    };

    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        if (marks[i].at_s < self->first_s || marks[i].at_s > self->last_s) {
            continue;
        }
        const double x = x_of(self, marks[i].at_s);
        line(self, x, TOP, x, BOTTOM, "class=\"grid\"");
        text(self, x, BOTTOM + 18, "middle", "", "%s", marks[i].name);
    }
    text(self, (LEFT + RIGHT) / 2, BOTTOM + 40, "middle", "",
         "time since the first student came (logarithmic)");
}

static void draw_shares(const struct picture *self)
{
    for (unsigned percent = 0; percent <= 100; percent += 25) {
        const double y = y_of(percent / 100.0);
        line(self, LEFT, y, RIGHT, y, "class=\"grid\"");
        text(self, LEFT - 8, y + 4, "end", "", "%u %%", percent);
    }
}

/* ---- the curves ---- */

static void draw_swarm(const struct picture *self, const struct swarm_report *report, bool complete,
                       const char *attributes)
{
    const uint32_t count = report->points_count;
    const uint32_t step = count / POINTS + 1;
    char command = 'M';

    fputs("<path d=\"", self->file);
    for (uint32_t i = 0; i < count; i++) {
        const struct swarm_point *point = &report->points[i];
        if (point->at_s < self->first_s || (i % step != 0 && i + 1 != count)) {
            continue;
        }
        fprintf(self->file, "%c%.1f %.1f", command, x_of(self, point->at_s),
                y_of(complete ? point->complete : point->progress));
        command = 'L';
    }
    fprintf(self->file, "L%.1f %.1f\" %s/>\n", RIGHT, TOP, attributes);
}

/* The server alone: the share of all bytes that it has sent is the share of those who have all. */
static void draw_server(const struct picture *self, double whole_s)
{
    fputs("<path d=\"", self->file);
    for (unsigned i = 0; i <= POINTS; i++) {
        const double at_s = self->first_s * pow(whole_s / self->first_s, i / (double)POINTS);
        fprintf(self->file, "%c%.1f %.1f", i == 0 ? 'M' : 'L', x_of(self, at_s),
                y_of(at_s / whole_s));
    }
    fprintf(self->file, "L%.1f %.1f\" class=\"server\"/>\n", RIGHT, TOP);
}

/* Beside the line of the bound, on the side where there is room. */
static void draw_legend(const struct picture *self, const struct swarm_report *report,
                        double server_s)
{
    char last[32], server[32], bound[32];
    const double bound_x = x_of(self, report->bound_s);
    const bool left = bound_x > (LEFT + RIGHT) / 2;
    const double x = left ? bound_x - 10 : x_of(self, report->last_s) + 12;
    const char *anchor = left ? "end" : "start";
    const double y = left ? TOP : (TOP + BOTTOM) / 3;

    put_time(last, sizeof(last), report->last_s);
    put_time(server, sizeof(server), server_s);
    put_time(bound, sizeof(bound), report->bound_s);
    line(self, bound_x, TOP - 8, bound_x, BOTTOM, "class=\"bound\"");
    text(self, x, y + 20, anchor, "fill=\"" BOUND_COLOUR "\"",
         "dashed: the least time the links allow, %s", bound);
    text(self, x, y + 44, anchor, "font-weight=\"bold\" fill=\"" SWARM_COLOUR "\"",
         "Littlebird: all have it after %s", last);
    text(self, x, y + 64, anchor, "fill=\"" SWARM_COLOUR "\"",
         "thin: how much of it they have on average");
    text(self, x_of(self, 0.4 * server_s) - 14, y_of(0.4), "end",
         "font-weight=\"bold\" fill=\"" SERVER_COLOUR "\"", "one server, in turn: %s", server);
}

void swarm_svg_write(FILE *file, const struct swarm_scene *scene, const struct swarm_report *report)
{
    const double server_s = (double)scene->size * scene->students / (double)scene->origin_rate;
    const struct picture self = {
        .file = file,
        .first_s = 1,
        .last_s = 1.5 * (server_s > report->last_s ? server_s : report->last_s),
    };

    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
            "font-family=\"sans-serif\" font-size=\"13\" fill=\"#333\">\n"
            "<style>.grid{stroke:#ddd}path{fill:none}.swarm{stroke:" SWARM_COLOUR
            ";stroke-width:3}.mean{stroke:" SWARM_COLOUR
            ";stroke-width:1.2}.server{stroke:" SERVER_COLOUR
            ";stroke-width:3}.bound{stroke:" BOUND_COLOUR ";stroke-dasharray:5 4}</style>\n"
            "<rect width=\"100%%\" height=\"100%%\" rx=\"8\" fill=\"#fff\"/>\n",
            WIDTH, HEIGHT);
    text(&self, LEFT, 30, "start", "font-size=\"16\" font-weight=\"bold\"",
         "%u students, %.3g GB each: how many have all of it", scene->students,
         (double)scene->size / 1e9);
    text(&self, LEFT, 48, "start", "font-size=\"12\"",
         "server %.4g Gbit/s, students %.4g Gbit/s; the real scheduler in a simulated network",
         (double)scene->origin_rate / BYTES_OF_GBIT, (double)scene->rate / BYTES_OF_GBIT);
    draw_shares(&self);
    draw_times(&self);
    draw_server(&self, server_s);
    draw_swarm(&self, report, false, "class=\"mean\"");
    draw_swarm(&self, report, true, "class=\"swarm\"");
    draw_legend(&self, report, server_s);
    fputs("</svg>\n", file);
}
