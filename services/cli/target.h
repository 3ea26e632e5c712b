/* What a command means by "transport@2": a service, and the instance when one is given. */
#pragma once

#include "libcommon/status_page.h"

#include <stdbool.h>
#include <stdint.h>

#define TARGET_NAME_SIZE 32

/* *ret_instance is left alone when none is given. */
bool target_parse(const char *text, enum service *ret_service, bool *ret_has_instance,
                  uint64_t *ret_instance);

/* "swarm", "swarm@1": the first of a service has no number. */
void target_format(enum service service, unsigned instance, char ret_name[TARGET_NAME_SIZE]);
