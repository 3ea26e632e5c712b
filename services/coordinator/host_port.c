#include "services/coordinator/host_port.h"

#include <stdlib.h>
#include <string.h>

bool host_port_split(const char *text, char *ret_host, size_t host_size,
                     char ret_port[HOST_PORT_PORT_SIZE])
{
    const char *colon = strrchr(text, ':');
    size_t size = colon != NULL ? (size_t)(colon - text) : 0;
    size_t digits = colon != NULL ? strlen(colon + 1) : 0;
    long port;

    if (size == 0 || digits == 0 || digits >= HOST_PORT_PORT_SIZE ||
        strspn(colon + 1, "0123456789") != digits || strpbrk(text, " \t\r\n") != NULL) {
        return false;
    }
    port = strtol(colon + 1, NULL, 10);
    if (text[0] == '[' && text[size - 1] == ']' && size > 2) {
        text++;
        size -= 2;
    }
    if (port < 1 || port > 65535 || size >= host_size) {
        return false;
    }
    memcpy(ret_host, text, size);
    ret_host[size] = '\0';
    memcpy(ret_port, colon + 1, digits + 1);
    return true;
}
