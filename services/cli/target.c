#include "services/cli/target.h"

#include "services/cli/args.h"

#include <stdio.h>
#include <string.h>

bool target_parse(const char *text, enum service *ret_service, bool *ret_has_instance,
                  uint64_t *ret_instance)
{
    size_t size = strcspn(text, "@");
    char name[TARGET_NAME_SIZE];

    if (size >= sizeof name)
        return false;
    memcpy(name, text, size);
    name[size] = '\0';
    *ret_has_instance = text[size] == '@';
    return service_parse(name, ret_service) == LB_OK &&
           (!*ret_has_instance ||
            args_number(text + size + 1, STATUS_INSTANCES_MAX - 1, ret_instance));
}

void target_format(enum service service, unsigned instance, char ret_name[TARGET_NAME_SIZE])
{
    if (instance == 0)
        snprintf(ret_name, TARGET_NAME_SIZE, "%s", service_text(service));
    else
        snprintf(ret_name, TARGET_NAME_SIZE, "%s@%u", service_text(service), instance);
}
