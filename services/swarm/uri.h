/*
 * Percent-encoding (RFC 3986, 2.1): a text as a part of a URI. Pure.
 */
#pragma once

#include "libcommon/bytes.h"

/* What 2.3 calls unreserved stands as it is, and so does each character of `also`. */
void uri_put(struct writer *to, const char *text, const char *also);
