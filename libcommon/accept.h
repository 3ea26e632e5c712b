/*
 * Connections when a process has no descriptor left.
 *
 * libzmq 4.3.4 ends the process when accept4(2) says EMFILE (ipc_listener.cpp; it takes other
 * errors), so whoever may connect to a mailbox could end a service. accept.c therefore has an
 * accept4() of its own in front of libc's, for libzmq and libuv alike: it keeps one descriptor in
 * reserve, and when there is no other takes the connection with it and closes it. Who connected
 * sees that and tries again; libzmq hears ECONNABORTED. Shell.
 */
#pragma once

/* Once, when a process begins: there has to be a descriptor to put aside. */
void accept_keep_spare(void);
