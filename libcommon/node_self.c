#include "libcommon/node_self.h"

#include "libcommon/page.h"
#include "libcommon/routing_page.h"

#include <limits.h>
#include <stdio.h>

bool node_self_id(const char *pages_folder, struct node_id *ret_id)
{
    char path[PATH_MAX];
    struct page page = { 0 };
    int size = snprintf(path, sizeof path, "%s/routing.shm", pages_folder);
    bool valid;

    if (size < 0 || (size_t)size >= sizeof path ||
        page_open(&page, path, sizeof(struct routing_page), false) != LB_OK)
        return false;
    valid = routing_page_is_valid(page.memory, page.size);
    if (valid)
        *ret_id = ((const struct routing_page *)page.memory)->self_id;
    page_close(&page);
    return valid;
}
