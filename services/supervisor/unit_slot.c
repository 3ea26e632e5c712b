#include "services/supervisor/unit_slot.h"

/* Another process than systemd told of has taken the slot: what it writes is newer. */
static bool is_newer(const struct status_slot *slot, const struct unit *unit)
{
    uint32_t pid = atomic_load(&slot->pid);

    return pid != 0 && pid != unit->pid && pid != unit->last_pid;
}

/* The service writes these itself, once it has got so far. */
static bool is_its_own(const struct status_slot *slot, const struct unit *unit,
                       enum service_state state)
{
    switch (unit->phase) {
    case UNIT_STARTING:
        return unit->pid != 0 && atomic_load(&slot->pid) == unit->pid;
    case UNIT_RUNNING:
        return state == STATE_STARTING || state == STATE_READY || state == STATE_DEGRADED ||
               state == STATE_DRAINING;
    default:
        return false;
    }
}

static void write_state(struct status_slot *slot, const struct unit *unit, uint64_t now_ms)
{
    uint32_t before = atomic_load(&slot->state);
    uint32_t state = (uint32_t)unit_state(unit->phase);

    if (is_newer(slot, unit) || is_its_own(slot, unit, (enum service_state)before) ||
        before == state) {
        return;
    }
    if (atomic_compare_exchange_strong(&slot->state, &before, state)) {
        atomic_store(&slot->since_ms, now_ms);
    }
}

static void write_end(struct status_slot *slot, const struct unit *unit)
{
    uint32_t pid = unit->last_pid;

    if (is_newer(slot, unit)) {
        return;
    }
    atomic_compare_exchange_strong(&slot->pid, &pid, 0);
    atomic_store(&slot->queue, 0);
    atomic_store(&slot->backlog_ms, 0);
    if (unit->phase == UNIT_STOPPED || unit->phase == UNIT_ABSENT) {
        status_slot_note(slot, "%s", "");
    } else if (unit->starts > 0) {
        char note[STATUS_NOTE_SIZE];

        unit_format_end(unit, note);
        status_slot_note(slot, "%s", note);
    }
}

void unit_slot_publish(struct status_slot *slot, const struct unit *unit, uint64_t now_ms)
{
    atomic_store(&slot->restarts, unit->restarts);
    atomic_store(&slot->last_exit, unit->last_exit);
    atomic_store(&slot->next_start_ms, unit->next_ms);
    write_state(slot, unit, now_ms);
    if (unit->pid == 0 && unit->phase != UNIT_STARTING) {
        write_end(slot, unit);
    }
}
