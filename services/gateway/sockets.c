#include "services/gateway/sockets.h"

#include "libcommon/listen.h"
#include "libcommon/log.h"
#include "libcommon/notify.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#define QUEUE_MAX 10000 /* messages for one client, each way; then they are dropped and counted */
#define LINGER_MS 500   /* what is answered last is still delivered */

static void set(void *socket, int option, int value)
{
    int failed = zmq_setsockopt(socket, option, &value, sizeof(value));

    assert(!failed);
}

static lb_err take_descriptor(const char *name, const char *path, int *ret_fd)
{
    if (notify_listen_fd(name, 0, ret_fd) == LB_OK)
        return LB_OK;
    return listen_ipc(path, ret_fd);
}

lb_err socket_open(struct actor *actor, int type, const char *name, int64_t frame_max_bytes,
                   void **ret_socket)
{
    char endpoint[PATHS_SIZE + 32];
    const char *path = endpoint + strlen("ipc://");
    void *socket;
    lb_err err;
    int fd;

    snprintf(endpoint, sizeof(endpoint), "ipc://%s/%s.sock", actor_paths(actor)->run_folder, name);
    err = take_descriptor(name, path, &fd);
    if (err != LB_OK) {
        log_error("cannot listen on %s: %s", path, lb_err_text(err));
        return err;
    }
    socket = zmq_socket(actor_zmq(actor), type);
    assert(socket);
    set(socket, ZMQ_SNDHWM, QUEUE_MAX);
    set(socket, ZMQ_RCVHWM, QUEUE_MAX);
    set(socket, ZMQ_LINGER, LINGER_MS);
    set(socket, ZMQ_USE_FD, fd);
    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &frame_max_bytes, sizeof(frame_max_bytes));
    if (type == ZMQ_ROUTER)
        set(socket, ZMQ_ROUTER_MANDATORY, 1);
    if (zmq_bind(socket, endpoint) != 0) {
        log_error("cannot listen on %s: %s", path, zmq_strerror(errno));
        zmq_close(socket);
        close(fd);
        return LB_IO;
    }
    *ret_socket = socket;
    return LB_OK;
}
