"""status.shm as libcommon/status_page.h lays it out, for tests that must not ask a service."""
import os
import struct

SERVICES = ["supervisor", "routing", "transport", "storage", "swarm", "signer", "coordinator", "member",
            "gateway"]
STATES = ["absent", "starting", "ready", "degraded", "draining", "backoff", "failed", "stopped",
          "hung"]
COUNTERS = 76  # STATUS_COUNTERS_MAX
HEADER_SIZE, SLOT_SIZE = (31 + 4 * len(SERVICES)) // 8 * 8, 352 + 32 * COUNTERS
INSTANCES, NOTE_AT, NOTE_SIZE = 16, 96, 120


def read_active(run_folder, service):
    """How many instances of it others may send to."""
    with open(os.path.join(run_folder, "status.shm"), "rb") as file:
        return struct.unpack_from("=I", file.read(), 16 + 4 * SERVICES.index(service))[0]


def write_overdue(run_folder, service, overdue_ms):
    """As the event loop of instance 0 of it would say that its requests lie unanswered."""
    with open(os.path.join(run_folder, "status.shm"), "r+b") as file:
        file.seek(HEADER_SIZE + (SERVICES.index(service) * INSTANCES + 1) * SLOT_SIZE - 8)
        file.write(struct.pack("=I", overdue_ms))


def read_slot(run_folder, service, instance=0):
    try:
        with open(os.path.join(run_folder, "status.shm"), "rb") as file:
            page = file.read()
    except FileNotFoundError:
        page = bytes(HEADER_SIZE + len(SERVICES) * INSTANCES * SLOT_SIZE)
    start = HEADER_SIZE + (SERVICES.index(service) * INSTANCES + instance) * SLOT_SIZE
    pid, state, _, _, restarts, _, _, _, last_exit, next_start = struct.unpack_from(
        "=IIQQIIIIi4xQ", page, start)
    note = page[start + NOTE_AT:start + NOTE_AT + NOTE_SIZE].split(b"\0")[0]
    return {"pid": pid, "state": STATES[state], "restarts": restarts, "last_exit": last_exit,
            "next_start": next_start, "note": note.decode(errors="replace")}
