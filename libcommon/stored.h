/*
 * Small files that must be whole and ours: keys, certificates, the identity of a node.
 *
 * Read with the owner and the rights checked on what was opened, so that nobody can change the file
 * in between; replaced by a rename of one that was synced before, so that a crash leaves the old
 * one or the new one.
 */
#pragma once

#include "libcommon/bytes.h"

enum stored_rights {
    STORED_TRUSTED, /* of this user or of root, and nobody else may write it */
    STORED_SECRET   /* of this user, and nobody else may even read it */
};

struct stored {
    uint8_t *data; /* size bytes and a NUL */
    size_t size;
};

/*
 * LB_NOT_FOUND; LB_DENIED: no regular file, or other rights than these; LB_TOO_BIG: more than
 * size_max; LB_IO. Freed with stored_free(), which wipes it.
 */
LB_MUST_CHECK lb_err stored_read(const char *path, size_t size_max, enum stored_rights rights,
                                 struct stored *ret_self);
void stored_free(struct stored *self);

/*
 * folder/name, replaced or made new, both synced. Done as root in a folder of another user, the
 * file is given to that user. LB_NOT_FOUND: there is no such folder; LB_DENIED, LB_NO_SPACE, LB_IO.
 */
LB_MUST_CHECK lb_err stored_replace(const char *folder, const char *name, struct bytes data,
                                    unsigned mode);

/* As stored_replace(), but LB_EXISTS when there is one, which is left as it is. */
LB_MUST_CHECK lb_err stored_make(const char *folder, const char *name, struct bytes data,
                                 unsigned mode);
