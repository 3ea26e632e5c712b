/*
 * The methods of DhtService, as rows of methods.c: littlebird.v1 on one side, the messages of
 * lb-routing on the other.
 */
#pragma once

#include "services/gateway/methods.h"

ask_fn dht_ask_lookup, dht_ask_table;
translate_fn dht_translate_lookup, dht_translate_table;
