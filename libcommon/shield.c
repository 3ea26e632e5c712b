#include "libcommon/shield.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#ifdef LB_SANITIZED
#define DUMPABLE 1
#else
#define DUMPABLE 0
#endif

lb_err shield_process(void)
{
    const struct rlimit none = { 0, 0 };

    return prctl(PR_SET_DUMPABLE, DUMPABLE, 0, 0, 0) == 0 && setrlimit(RLIMIT_CORE, &none) == 0
               ? LB_OK
               : LB_DENIED;
}
