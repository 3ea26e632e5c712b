#include "services/cli/status_text.h"

#include "services/cli/table.h"
#include "services/cli/target.h"
#include "services/cli/units.h"

#include <string.h>

static void add_numbers(struct table *table, const struct process *row)
{
    char text[UNITS_SIZE];

    if (row->pid == 0) {
        table_add(table, "-");
        table_add(table, "-");
        return;
    }
    table_add(table, "%.1f %%", row->cpu_percent);
    table_add(table, "%s", units_bytes(row->memory_bytes, text));
}

static void add_row(struct table *table, const struct process *row)
{
    char name[TARGET_NAME_SIZE], text[UNITS_SIZE];

    target_format(row->service, row->instance, name);
    table_add(table, "%s", name);
    table_add(table, "%s", service_state_text(row->state));
    if (row->pid != 0) {
        table_add(table, "%u", row->pid);
        table_add(table, "%s", units_duration(row->since_ms / 1000, text));
    } else {
        table_add(table, "-");
        table_add(table, "-");
    }
    table_add(table, "%u", row->restarts);
    add_numbers(table, row);
    table_add(table, "%u", row->queue);
    table_add(table, "%s", row->note);
}

/* PSS when all of it is, RSS when none is, as for who may not read it of others' processes. */
static const char *memory_title(const struct processes *self)
{
    size_t live = 0, shared_out = 0;

    for (size_t i = 0; i < self->count; i++) {
        live += self->rows[i].alive;
        shared_out += self->rows[i].memory_is_shared_out;
    }
    if (shared_out == live)
        return "PSS";
    return shared_out == 0 ? "RSS" : "MEMORY";
}

static void print_head(const struct processes *self, FILE *to)
{
    char id[NODE_ID_TEXT_SIZE] = "not known yet", text[UNITS_SIZE];

    if (self->has_node_id)
        node_id_format(&self->node_id, id);
    fprintf(to, "littlebird %s  node %s  %s", LB_VERSION, id, level_text(self->level));
    if (self->level != LEVEL_NOT_RUNNING)
        fprintf(to, ", up %s", units_duration(self->since_ms / 1000, text));
    fprintf(to, "\n");
}

static void print_network(const struct processes *self, FILE *to)
{
    char left[UNITS_SIZE];

    if (!self->is_member)
        return;
    fprintf(to, "private network %s, certificate ", self->identity.network_name);
    if (!self->has_certificate_s)
        fprintf(to, "not looked at yet");
    else if (self->certificate_s == 0)
        fprintf(to, "expired");
    else
        fprintf(to, "good for %s", units_duration(self->certificate_s, left));
    fprintf(to, ", deny list %llu\n", (unsigned long long)self->deny_number);
    for (size_t i = 0; i < self->coordinators_count; i++)
        fprintf(to, "%s%s", i == 0 ? "coordinators " : ", ", self->coordinators[i]);
    if (self->coordinators_count > 0)
        fprintf(to, "\n");
}

/* Several workers may share an address: it is told once. */
static void print_addresses(const struct processes *self, FILE *to)
{
    const char *before = "reached at ";

    for (size_t i = 0; i < self->count; i++) {
        char listens[STATUS_NOTE_SIZE];
        bool told = self->rows[i].listens[0] == '\0' || !self->rows[i].alive;

        for (size_t k = 0; k < i && !told; k++)
            told = strcmp(self->rows[k].listens, self->rows[i].listens) == 0;
        if (told)
            continue;
        memcpy(listens, self->rows[i].listens, sizeof listens);
        table_sanitize(listens);
        fprintf(to, "%s%s", before, listens);
        before = "; ";
    }
    if (before[0] == ';')
        fprintf(to, "\n");
}

static void print_line(FILE *to, const char *before, const char *text)
{
    char line[TROUBLE_TEXT_SIZE];

    snprintf(line, sizeof line, "%s", text);
    table_sanitize(line);
    fprintf(to, "%s%s\n", before, line);
}

static void print_troubles(const struct troubles *troubles, FILE *to)
{
    for (size_t i = 0; i < troubles->count; i++) {
        const struct trouble *trouble = &troubles->list[i];

        print_line(to, i == 0 ? "\n" : "", trouble->what);
        if (trouble->advice[0] != '\0')
            print_line(to, "    -> ", trouble->advice);
    }
}

void status_print(const struct processes *processes, const struct troubles *troubles, FILE *to)
{
    struct table_column columns[] = { { "SERVICE", false }, { "STATE", false },   { "PID", true },
                                      { "SINCE", true },    { "RESTARTS", true }, { "CPU", true },
                                      { "", true },         { "QUEUE", true },    { "NOTE", false },
                                      { NULL, false } };
    struct table *table;

    columns[6].title = memory_title(processes);
    print_head(processes, to);
    print_network(processes, to);
    if (processes->level != LEVEL_NOT_RUNNING) {
        print_addresses(processes, to);
        table = table_new(columns);
        for (size_t i = 0; i < processes->count; i++)
            add_row(table, &processes->rows[i]);
        table_print(table, to);
        table_free(&table);
    }
    print_troubles(troubles, to);
}
