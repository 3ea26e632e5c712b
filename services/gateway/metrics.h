/*
 * The node as Prometheus sees it: the status page as text, exposition format 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). No socket, no clock.
 *
 * Every family is named with its HELP and TYPE also while it has no sample. A counter that
 * metric_names.h does not know is printed as littlebird_unnamed_counter, for the test to find.
 * Which of several instances is the label "worker", not "instance": that one is Prometheus's own
 * for the node it asks.
 */
#pragma once

#include "services/gateway/view.h"

#include <stddef.h>
#include <stdint.h>

/* wall_ms: CLOCK_REALTIME now. The caller frees; *ret_size is without the final NUL. */
char *metrics_render(const struct view *view, uint64_t wall_ms, size_t *ret_size);
