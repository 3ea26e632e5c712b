#include "services/signer/confine.h"

#include <errno.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/socket.h>

/* Refused whatever their arguments are. */
static const int refused[] = {
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(bpf),
    SCMP_SYS(userfaultfd),
#ifndef LB_SANITIZED /* which looks for leaks by it */
    SCMP_SYS(ptrace),
#endif
};

static int add_rules(scmp_filter_ctx filter)
{
    static const int families[] = { SCMP_SYS(socket), SCMP_SYS(socketpair) };
    static const struct scmp_arg_cmp not_unix = { 0, SCMP_CMP_NE, AF_UNIX, 0 };
    int failed = 0;

    for (size_t i = 0; i < sizeof families / sizeof families[0] && failed == 0; i++) {
        failed = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), families[i], 1, not_unix);
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0] && failed == 0; i++) {
        failed = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
    }
    return failed;
}

/* no_new_privs comes with it: libseccomp's default. */
lb_err confine_enter(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int failed = -ENOMEM;

    if (filter) {
        failed = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    }
    if (failed == 0) {
        failed = add_rules(filter);
    }
    if (failed == 0) {
        failed = seccomp_load(filter);
    }
    seccomp_release(filter);
    return failed == 0 ? LB_OK : LB_DENIED;
}
