/*
 * A service that is stuck although its event loop beats: its disk thread waits for ever, or
 * requests lie in a queue that nobody serves. The watchdog cannot see that.
 *
 * The signs are in its status slot, written by its loop: by how much the most overdue request has
 * outlived the time that its caller gave it, and how many requests were ever answered. A service is
 * stuck when for limit_ms in a row some request was overdue and not one was answered. The age of a
 * request alone says nothing: watching a key takes minutes, hashing an image an hour. One that is
 * forgotten while others are answered says that there is a mistake, not that a restart would help.
 *
 * limit_ms (supervisor.stuck) is a minute unless configured: twice the 30 s after which the kernel
 * gives up on a command to a disk (SCSI), so that a disk that is merely slow has answered or
 * failed. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct stall {
    uint64_t limit_ms;
    uint64_t since_ms; /* when it was first overdue with `answered` as it is */
    uint64_t answered;
    bool overdue;
};

/* For each start of the process. */
void stall_init(struct stall *self, uint64_t limit_ms);

/*
 * The signs as they are at now_ms (monotonic); overdue_ms 0: nothing is. True: it is stuck, which
 * is said once, then again after another limit_ms.
 */
bool stall_look(struct stall *self, uint64_t answered, uint32_t overdue_ms, uint64_t now_ms);
