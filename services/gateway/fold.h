/*
 * Folding what all swarm workers said into what one would say: each transfer once, with what
 * mirrors of it sent, and each peer once. Works on messages in place. Pure.
 */
#pragma once

#include "proto/swarm.pb-c.h"

/*
 * The row of the owner stays, with what mirrors gave and whom they are connected to added to it. Of
 * a transfer that passes from one worker to another the row of the new owner does, else the old
 * one's. Mirrors of what nobody owns are left out.
 */
void fold_transfers(Lb__Swarm__Transfers *self);

/* A peer that several workers know, by its address, is one row: what went to and fro is added. */
void fold_peers(Lb__Swarm__Peers *self);
