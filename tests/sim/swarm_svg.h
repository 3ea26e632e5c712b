/*
 * A picture of a run: how much of the content the students have, and how many of them have all,
 * over time, beside one server that serves them in turn and the least time there can be.
 */
#pragma once

#include "tests/sim/swarm_scene.h"

#include <stdio.h>

/* About 5 kB of SVG 1.1. */
void swarm_svg_write(FILE *file, const struct swarm_scene *scene,
                     const struct swarm_report *report);
