/*
 * The methods of StorageService, as rows of methods.c: littlebird.v1 on one side, the messages of
 * lb-storage on the other.
 */
#pragma once

#include "services/gateway/methods.h"

ask_fn storage_ask_put, storage_ask_get, storage_ask_remove, storage_ask_audit;
translate_fn storage_translate_put, storage_translate_get, storage_translate_remove,
    storage_translate_audit;

/*
 * Which instance of lb-storage is asked: any of them could do it, but what waits for a new version
 * of a key is told sooner where that is put. The target would take the network's name, its key pair
 * and a SHA-1: a hash of the KEY does. What is immutable is chosen by its value.
 */
place_fn storage_place_put, storage_place_get, storage_place_remove;

/* With CAS the second of two would find the first one's number and fail. */
bool storage_put_may_repeat(const void *request);
bool storage_remove_may_repeat(const void *request);
