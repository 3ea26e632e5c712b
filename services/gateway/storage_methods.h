/*
 * The methods of StorageService, as rows of methods.c: littlebird.v1 on one side, the messages of
 * lb-storage on the other.
 */
#pragma once

#include "services/gateway/methods.h"

ask_fn storage_ask_put, storage_ask_get, storage_ask_remove, storage_ask_audit;
translate_fn storage_translate_put, storage_translate_get, storage_translate_remove,
    storage_translate_audit;

/* With CAS the second of two would find the first one's number and fail. */
bool storage_put_may_repeat(const void *request);
bool storage_remove_may_repeat(const void *request);
