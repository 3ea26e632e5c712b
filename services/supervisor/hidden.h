/*
 * Whose a process is whose environment may not be read: one that holds a key and has shielded
 * itself (libcommon/shield.h). What it was started with is open to all; its --dir says which node
 * it is of.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* A service, of our user, of the node whose run folder notify_socket lies in. */
bool hidden_is_of(pid_t pid, const char *notify_socket);
