#!/usr/bin/python3
"""Stands in for a service: does what DIR/fake/SERVICE says, and notes in DIR/fake/SERVICE.log what
it was given. Copied under the name of each service beside a copy of lb-supervisor.

The words of DIR/fake/SERVICE-INSTANCE, or else of DIR/fake/SERVICE: crash, code N, silent (no heartbeat), deaf (ignores SIGTERM),
mute (never says READY), slow (half a second to drain), accept (answers who connects).
"""
import json
import os
import select
import signal
import socket
import sys
import time

service = os.path.basename(sys.argv[0]).removeprefix("lb-")
folder = os.path.join(sys.argv[sys.argv.index("--dir") + 1], "fake")
stop_r, stop_w = os.pipe()


def note(**facts):
    facts.update(pid=os.getpid(), at=time.monotonic())
    with open(os.path.join(folder, service + ".log"), "a", encoding="utf-8") as log:
        log.write(json.dumps(facts) + "\n")


def tell(text):
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(text.encode(), address)


def handed_over():
    """[name, inode] of each socket, as a service finds them."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    names = os.environ["LISTEN_FDNAMES"].split(":")
    assert len(names) == int(os.environ["LISTEN_FDS"])
    return [[name, os.fstat(3 + i).st_ino] for i, name in enumerate(names)]


def accept(behaviour):
    if "accept" not in behaviour:
        return []
    names = os.environ["LISTEN_FDNAMES"].split(":")
    return [socket.socket(fileno=3 + names.index("tcp"))]


def main():
    behaviour = []
    for name in (service, service + "-" + sys.argv[sys.argv.index("--instance") + 1]):
        try:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                behaviour = file.read().split()
        except FileNotFoundError:
            pass
    if "deaf" in behaviour:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os.write(stop_w, b"x"))
    note(event="start", arguments=sys.argv[1:], sockets=handed_over(), session=os.getsid(0),
         watchdog=os.environ.get("WATCHDOG_USEC"),
         open=sorted(int(fd) for fd in os.listdir("/proc/self/fd")))
    if "crash" in behaviour:
        os.kill(os.getpid(), signal.SIGKILL)
    if "code" in behaviour:
        sys.exit(int(behaviour[behaviour.index("code") + 1]))
    if "mute" not in behaviour:
        tell("READY=1\nSTATUS=fake and ready")
    listeners = accept(behaviour)
    while True:
        readable, _, _ = select.select([stop_r] + listeners, [], [], 0.5)
        if stop_r in readable:
            break
        for listener in readable:
            connection, _ = listener.accept()
            connection.sendall(str(os.getpid()).encode())
            connection.close()
        if "silent" not in behaviour:
            tell("WATCHDOG=1")
    tell("STOPPING=1")
    if "slow" in behaviour:
        time.sleep(0.5)
    note(event="end")


main()
