/*
 * The instances of a service, as one that asks them sees them: a link to each that is active.
 *
 * What is asked goes to one instance before all others: the owner of a key (owner.h), the worker of
 * an address (address_worker()). Any of them can do what any other does, since what they share lies
 * in shared memory, in the store, or is handed on; so while the one is being started anew another
 * is asked. Links are made as the service grows, and kept when it shrinks: answers may still come.
 */
#pragma once

#include "libcommon/actor.h"
#include "libcommon/status_page.h"

struct instances {
    struct actor *actor; /* borrowed */
    enum service service;
    const ProtobufCMessageDescriptor *reply;
    struct link *links[STATUS_INSTANCES_MAX];
    unsigned linked; /* links there are */
    unsigned active; /* of them, those to be asked: at least 1 */
};

/* From the service's start; those that are active now are linked. */
void instances_init(struct instances *self, struct actor *actor, enum service service,
                    const ProtobufCMessageDescriptor *reply);

/* From service_definition.scaled: the number may be another. True: it is. */
bool instances_follow(struct instances *self);

/* The one that is meant; without a connection to it the next that has one; else the one meant. */
struct link *instances_pick(const struct instances *self, unsigned wanted);

/* Can anything be asked? */
bool instances_are_up(const struct instances *self);
