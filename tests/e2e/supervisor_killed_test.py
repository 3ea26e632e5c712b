#!/usr/bin/python3
"""lb-supervisor is stopped and killed under load. While it is stopped the services serve on, and go on doing so when
it wakes. Killed, on a node that was scaled, and started anew, it serves again on its port by itself, nobody of before
is left, and every value that was acknowledged is there.
"""

import itertools
import os
import signal
import socket
import threading
import time

from bencode import decode, encode
from node import Lab, fail, is_gone, wait_for

KILLS = 3
STOPPED_S = 6  # two watchdogs: the queue of notifications is full long before


def ping(node):
    """Asked until it is answered: while nobody is there nobody can."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.connect((node.host, node.port))
        asker.settimeout(0.02)

        def answer():
            try:
                asker.send(encode({"t": b"aa", "y": b"q", "q": b"ping", "a": {"id": b"abcdefghij0123456789"}}))
                return decode(asker.recv(2048))["y"] == b"r"
            except (TimeoutError, ConnectionRefusedError):
                return False

        wait_for("an answer", answer, pause_s=0.01)


def write(node, acknowledged, over):
    for number in itertools.count():
        if over.is_set():
            return
        if node.cli("put", f"key {number}", f"value {number}", check=False).returncode == 0:
            acknowledged.append(number)


def stop_for_a_while(node, acknowledged):
    supervisor = node.service("supervisor")["pid"]
    before = {(row["service"], row["instance"]): row["pid"] for row in node.status()}
    os.kill(supervisor, signal.SIGSTOP)
    try:
        time.sleep(STOPPED_S)
        written = len(acknowledged)
        wait_for("values to be written while the supervisor is stopped", lambda: len(acknowledged) > written + 3)
        ping(node)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    node.admin("restart", "gateway")  # it listens again, and has looked at everything since
    after = {(row["service"], row["instance"]): row["pid"] for row in node.status()}
    assert {k for k in before if before[k] != after[k]} == {("gateway", 0)}, (before, after)


with Lab() as lab:
    a, b = lab.node("a"), lab.node("b", host="127.0.0.2")
    with open(os.path.join(a.dir, "littlebird.conf"), "w") as file:
        file.write("[supervisor]\nwatchdog = 3s\n")
    a.up()
    b.up(bootstrap=a)
    acknowledged, over = [], threading.Event()
    writer = threading.Thread(target=write, args=(a, acknowledged, over))
    writer.start()
    try:
        stop_for_a_while(a, acknowledged)
        for _ in range(KILLS):
            a.admin("scale", "transport=3")
            before = len(acknowledged)
            wait_for("values to be written", lambda: len(acknowledged) > before + 3)
            pids = {row["pid"] for row in a.status() if row["pid"]}
            supervisor = a.service("supervisor")["pid"]
            assert len(pids) >= 8, a.status()
            os.kill(supervisor, signal.SIGKILL)
            wait_for("its end", lambda: is_gone(supervisor), pause_s=0.001)
            began = time.monotonic()
            a.up()
            ready_s = time.monotonic() - began
            ping(a)
            print(f"started anew: ready after {ready_s:.2f} s, a query answered after "
                  f"{time.monotonic() - began:.2f} s", flush=True)
            left = [pid for pid in pids if not is_gone(pid)]
            assert not left, f"still there: {left} of {pids}"
            rows = [row for row in a.status() if row["service"] == "transport"]
            assert len(rows) == 1, rows  # as configured
    finally:
        over.set()
        writer.join()
    for number in acknowledged:
        if a.get(f"key {number}") != b"value %d" % number:
            fail(f"key {number} was acknowledged and is lost")
    print(f"{len(acknowledged)} values, all there")
