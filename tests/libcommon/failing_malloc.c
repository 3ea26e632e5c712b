#include "tests/libcommon/failing_malloc.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* glibc's own, under the names that it keeps for who puts something in front of them. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void *memalign(size_t alignment, size_t size);

static _Atomic(struct failing_malloc *) plan;
static struct failing_malloc *last; /* also after it was disarmed: a thread may be on its way */
static atomic_uint calls;

void failing_malloc_arm(struct failing_malloc *new_plan)
{
    atomic_store(&calls, 0);
    last = new_plan;
    atomic_store(&plan, new_plan);
}

void failing_malloc_disarm(void)
{
    atomic_store(&plan, NULL);
}

static bool is_refused(void)
{
    struct failing_malloc *self = atomic_load(&plan);
    unsigned call;

    if (!self)
        return false;
    call = atomic_fetch_add(&calls, 1) + 1;
    if (call != self->nth) {
        return false;
    }
    self->refused = true; /* by the one thread whose call it is */
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return is_refused() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return is_refused() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return is_refused() ? NULL : __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size)
{
    return is_refused() ? NULL : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **ret_memory, size_t alignment, size_t size)
{
    void *memory = memalign(alignment, size);

    if (!memory)
        return ENOMEM;
    *ret_memory = memory;
    return 0;
}

/* Ours, or a library that ends the process as memory.h does: libuv, CZMQ, libzmq, C++ within that.
 */
enum code { CODE_OURS, CODE_ENDS, CODE_OTHER };

static enum code code_at(const void *caller, const char **ret_name)
{
    static const char *const libraries[] = { "/libuv.so", "/libczmq.so", "/libzmq.so",
                                             "/libstdc++.so" };
    Dl_info self, other;

    *ret_name = "unknown code";
    if (dladdr((const void *)&plan, &self) == 0 || dladdr(caller, &other) == 0)
        return CODE_OTHER;
    *ret_name = other.dli_fname;
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
        if (strstr(other.dli_fname, libraries[i]))
            return CODE_ENDS;
    }
    return self.dli_fbase == other.dli_fbase ? CODE_OURS : CODE_OTHER;
}

/* By the thread that is first; others may stumble over what it left. */
static _Noreturn void end(bool for_want_of_memory, const char *name)
{
    static atomic_flag has_ended = ATOMIC_FLAG_INIT;

    if (!atomic_flag_test_and_set(&has_ended) && last) {
        snprintf(last->by, sizeof last->by, "%s", name);
        last->ended = for_want_of_memory && last->refused;
    }
    (void)raise(SIGABRT);
    _exit(128 + SIGABRT);
}

void abort(void)
{
    const char *name;
    enum code code = code_at(__builtin_return_address(0), &name);

    end(code != CODE_OTHER, name);
}

/* An assertion of our own is a defect; CZMQ asserts that it was given what it asked for. */
void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
    const char *name;
    enum code code = code_at(__builtin_return_address(0), &name);

    fprintf(stderr, "%s:%u: %s: %s\n", file, line, function, assertion);
    end(code == CODE_ENDS, name);
}
