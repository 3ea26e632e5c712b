#include "libcommon/identity.h"

#include "libcommon/paths.h"
#include "libcommon/stored.h"

lb_err identity_load(const struct paths *paths, struct identity *ret_self)
{
    struct stored file;
    lb_err err = stored_read(paths->identity_file, IDENTITY_FILE_MAX, STORED_TRUSTED, &file);

    if (err != LB_OK) {
        return err == LB_TOO_BIG ? LB_INVALID : err;
    }
    err = identity_parse(bytes_of(file.data, file.size), ret_self);
    stored_free(&file);
    return err;
}
