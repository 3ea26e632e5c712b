/* Audits: audit.h over this node's store and the network. One at a time. */
#pragma once

struct storage;

/* A little more of walking the store; called with errand_pace(). */
void audits_pace(struct storage *storage);

/* We end: no more lookups; the caller is told LB_UNAVAILABLE. */
void audits_cancel(struct storage *storage);
