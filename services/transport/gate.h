/*
 * The rules of overload.h as a filter of a socket: what they leave out never reaches its queue, so
 * the queue is there for the others.
 *
 * A classic BPF program (linux/filter.h), which every process may attach to its own sockets; the
 * program that steers to workers (libcommon/listen.c) is another and stays. A socket outlives its
 * worker, and its filter with it: a worker that takes one over opens the gate first.
 */
#pragma once

#include "libcommon/error.h"
#include "services/transport/overload.h"

#include <stdbool.h>

/* Let everything through. */
void gate_open(int fd);

/*
 * Apply the rules that concern this socket's family; without any the gate is open. When the kernel
 * has no room for so many, the first of them: they come heaviest first. LB_DENIED when it refuses
 * any; then the gate is open.
 */
LB_MUST_CHECK lb_err gate_set(int fd, bool v4, const struct overload_rule *rules, unsigned count);
