/* Who a node is: its id, from the page of its routing table in paths.pages_folder. */
#pragma once

#include "libcommon/node_id.h"

#include <stdbool.h>

/* False while lb-routing has not started there yet. */
bool node_self_id(const char *pages_folder, struct node_id *ret_id);
