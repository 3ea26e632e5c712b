/* What a command is given to store or send: a word of its own, or standard input. */
#pragma once

#include "services/cli/args.h"

/*
 * word: NULL or "-" is standard input. what: "value". EXIT_DONE, and the caller frees *ret_data;
 * else it is said what is wrong: more than `most` bytes are refused.
 */
int input_read(const struct args *args, const char *word, const char *what, size_t most,
               uint8_t **ret_data, size_t *ret_size);
