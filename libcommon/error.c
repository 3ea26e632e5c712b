#include "libcommon/error.h"

#include <errno.h>

const char *lb_err_text(lb_err err)
{
    switch (err) {
#define LB_ERROR_TEXT(name, number, sentence)                                                      \
    case LB_##name:                                                                                \
        return sentence;
        LB_ERRORS(LB_ERROR_TEXT)
#undef LB_ERROR_TEXT
    }
    return "unknown error";
}

const char *lb_err_name(lb_err err)
{
    switch (err) {
#define LB_ERROR_NAME(name, number, sentence)                                                      \
    case LB_##name:                                                                                \
        return #name;
        LB_ERRORS(LB_ERROR_NAME)
#undef LB_ERROR_NAME
    }
    return "UNKNOWN";
}

lb_err lb_err_of_errno(int number)
{
    switch (number) {
    case ENOENT:
        return LB_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP: /* O_NOFOLLOW */
        return LB_DENIED;
    case ENOSPC:
    case EDQUOT:
        return LB_NO_SPACE;
    default:
        return LB_IO;
    }
}
