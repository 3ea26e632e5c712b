#include "libcommon/library.h"

#include <dlfcn.h>
#include <string.h>

lb_err library_load(const char *file, const struct library_symbol *symbols, size_t count,
                    const char **ret_problem)
{
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);

    for (size_t i = 0; handle != NULL && i < count; i++) {
        void *symbol = dlsym(handle, symbols[i].name);

        if (symbol == NULL)
            handle = NULL;
        else /* POSIX: what dlsym() gives can be a function; C has no cast for that. */
            memcpy(symbols[i].to, &symbol, sizeof symbol);
    }
    if (handle != NULL)
        return LB_OK;
    *ret_problem = dlerror();
    return LB_UNSUPPORTED;
}
