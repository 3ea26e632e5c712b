#!/usr/bin/python3
"""SIGKILL to each service in turn, on both sides, during a fetch: it completes and no value is lost.

While a service of one node is killed the other node's lb-swarm is stopped, so that no kill comes
after the end of a fetch; a fetch that ended before its turn is followed by the next file.
"""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import time

from node import SERVICES, Lab, program, same_content, wait_for

SIZE = 150_000_000
VALUES = 40


class Fetches:
    """One fetch after the other; there is always one under way."""

    def __init__(self, lab, a, b):
        self.lab, self.a, self.b = lab, a, b
        self.numbers = itertools.count()
        self.process = None

    def begin(self):
        self.name = f"image{next(self.numbers)}"
        self.content = self.lab.make_file(f"out/{self.name}", SIZE, seed=self.name)
        magnet = self.a.share(self.content)
        self.process = self.lab.start(program("littlebird"), "fetch", "--dir", self.b.dir, magnet,
                                      "--to", self.lab.make_folder("in"), stderr=subprocess.PIPE)

    def progress(self):
        return sum(t["have_bytes"] for t in self.b.transfers() if t["name"] == self.name)

    def is_over(self):
        return self.process.poll() is not None

    def finish(self):
        wait_for(f"{self.name} to be fetched", self.is_over)
        assert self.process.returncode == 0, self.process.stderr.read()
        copy = self.lab.path("in", self.name)
        assert same_content(self.content, copy), f"{self.name} differs"
        os.unlink(self.content)
        os.unlink(copy)

    def await_movement(self):
        """Until bytes have come that were not there before; False if it is over."""
        if self.process is None:
            self.begin()
        before = self.progress()
        wait_for(f"{self.name} to move", lambda: self.is_over() or self.progress() > before)
        return not self.is_over()


@contextlib.contextmanager
def held(node):
    """lb-swarm of the node stands still: bytes neither leave nor arrive."""
    pid = node.service("swarm")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def kill_during(fetches, node, other, service):
    while True:
        if fetches.await_movement():
            with held(other):
                if not fetches.is_over():
                    begin = time.monotonic()
                    row = node.kill_service(service)
                    print(f"{node.name}: {service} killed, ready again after "
                          f"{time.monotonic() - begin:.2f} s as {row['pid']}", flush=True)
                    return
        fetches.finish()
        fetches.begin()


with Lab() as lab:
    a, b = lab.node("a"), lab.node("b")
    a.up()
    b.up(bootstrap=a)
    wait_for("the two to know each other", lambda: a.contacts() and b.contacts())
    for number in range(VALUES):
        assert a.put(f"value/{number}", f"text {number}")["acknowledged"] == 2
    fetches = Fetches(lab, a, b)
    for service in SERVICES:
        kill_during(fetches, b, a, service)
        kill_during(fetches, a, b, service)
    fetches.finish()
    for number in range(VALUES):
        for node in (a, b):
            assert node.get(f"value/{number}") == b"text %d" % number
    for node in (a, b):
        restarts = {s["service"]: s["restarts"] for s in node.status()}
        assert all(restarts[service] == 1 for service in SERVICES), restarts
    wait_for("both nodes to be well", lambda: all(
        json.loads(n.admin("status", "--json", check=False).stdout)["level"] == "well"
        for n in (a, b)))
