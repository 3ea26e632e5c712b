#!/usr/bin/python3
"""The workers of transport and the instances of storage become more and fewer, and are started anew one after the
other, while a node is asked and written to: each query is answered, each value that was acknowledged is there at the
end, and what compares and sets loses nothing.
"""

import itertools
import json
import selectors
import socket
import threading
import time

import status_page
from bencode import decode, encode
from node import Lab, fail, wait_for

NODES, ASKERS, ANNOUNCERS, WRITERS, COUNTERS = 3, 32, 8, 2, 2
PAUSE_S = 0.04  # of an asker, between an answer and its next query
UNANSWERED_S = 20  # nothing takes so long: it is lost
UNDER_LOAD_S = 0.6  # at each number
BUSY = 202  # storage has not got to it within a second: a slow disk
STEPS = (("transport", 4), ("storage", 3), ("transport", 2), ("storage", 1))


class Threads:
    """Run until stop(); what one of them meets is raised there."""

    def __init__(self):
        self.over, self.threads, self.problems = threading.Event(), [], []

    def start(self, work, *arguments):
        def run():
            try:
                work(*arguments)
            except BaseException as problem:
                self.problems.append(problem)
                self.over.set()

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        for problem in self.problems:
            raise problem


class Askers:
    """Each from an IP of its own, so that the kernel spreads them over all workers; one query each is under way."""

    KINDS = (("ping", {}), ("find_node", {"target": 0}), ("get", {"target": 0}), ("get_peers", {"info_hash": 0}))

    def __init__(self, node):
        self.answered, self.node = 0, node
        self.numbers = itertools.count()

    def send(self, asker):
        number = next(self.numbers)
        method, arguments = self.KINDS[number % len(self.KINDS)]
        target = (number * 0x9e3779b97f4a7c15 % (1 << 64)).to_bytes(8, "big") + bytes(12)
        asker["transaction"], asker["sent"] = number.to_bytes(4, "big"), time.monotonic()
        asker["socket"].send(encode({"t": asker["transaction"], "y": b"q", "q": method.encode(), "ro": 1,
                                     "a": {"id": b"abcdefghij0123456789", **{key: target for key in arguments}}}))

    def run(self, over):
        selector = selectors.DefaultSelector()
        askers = []
        for i in range(ASKERS):
            asker = {"socket": socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "due": 0, "transaction": None}
            asker["socket"].bind((f"127.0.{i + 1}.{i + 1}", 0))
            asker["socket"].connect((self.node.host, self.node.port))
            asker["socket"].setblocking(False)
            selector.register(asker["socket"], selectors.EVENT_READ, asker)
            askers.append(asker)
        while not over.is_set() or any(asker["transaction"] for asker in askers):
            now = time.monotonic()
            for asker in askers:
                if asker["transaction"] is None and now >= asker["due"] and not over.is_set():
                    self.send(asker)
                elif asker["transaction"] and now - asker["sent"] > UNANSWERED_S:
                    fail(f"a query was lost: {asker['socket'].getsockname()}, {self.answered} were answered")
            for key, _ in selector.select(PAUSE_S / 4):
                answer = decode(key.data["socket"].recv(2048))
                assert answer["t"] == key.data["transaction"] and answer["y"] == b"r", answer
                key.data["transaction"], key.data["due"] = None, time.monotonic() + PAUSE_S
                self.answered += 1
        for asker in askers:
            asker["socket"].close()


def put_values(node, name, acknowledged, over):
    for number in itertools.count():
        if over.wait(PAUSE_S):
            return
        key = f"{name} {number}"
        stored = node.put(key, f"value of {key}")
        assert stored["acknowledged"] >= 1, (key, stored)
        acknowledged.append(key)


def count_up(node, done, over):
    """Compare and set, over and over; who does not hear that it was done reads again."""
    while not over.is_set():
        read = json.loads(node.get("counter", "--json"))
        value = int(bytes.fromhex(read["value"]).decode()) + 1
        if node.cli("put", "counter", str(value), "--cas", str(read["seq"]), check=False).returncode == 0:
            done.append(value)


class Announcer:
    """Takes a token from the worker that serves its address and brings it back later, to whichever then does."""

    def __init__(self, node, here):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((here, 0))
        self.socket.connect((node.host, node.port))
        self.socket.settimeout(UNANSWERED_S)
        self.token = self.ask("get_peers")["token"]

    def ask(self, method, **arguments):
        self.socket.send(encode({"t": b"aa", "y": b"q", "q": method.encode(), "ro": 1, "a": {
            "id": b"abcdefghij0123456789", "info_hash": b"mnopqrstuvwxyz123456", **arguments}}))
        answer = decode(self.socket.recv(2048))
        assert answer["y"] == b"r" or answer["e"][0] == BUSY, answer
        return answer.get("r")

    def announce(self):
        wait_for("an announcement to be taken", lambda: self.ask("announce_peer", port=6881, token=self.token))


def await_scaled(node, service, number):
    rows = [(row["instance"], row["state"]) for row in node.status() if row["service"] == service]
    assert [n for n, state in rows if state in ("ready", "degraded")] == list(range(number)), rows
    assert status_page.read_active(node.dir + "/run", service) == number


def scale(node, service, number):
    node.admin("scale", f"{service}={number}")
    await_scaled(node, service, number)


def total(node, service, counter):
    return sum(row["counters"].get(counter, 0) for row in node.status() if row["service"] == service)


with Lab() as lab:
    nodes = [lab.node(f"n{i}", host=f"127.0.0.{i + 1}") for i in range(NODES)]
    nodes[0].up()
    for node in nodes[1:]:
        node.up(bootstrap=nodes[0])
    for node in nodes:
        wait_for(f"{node.name} to know the others", lambda: len(node.contacts()) == NODES - 1)
    nodes[0].put("counter", "0")
    load, askers, acknowledged, counted = Threads(), Askers(nodes[0]), [], []
    load.start(askers.run, load.over)
    for i in range(WRITERS):
        load.start(put_values, nodes[i], f"writer {i}", acknowledged, load.over)
    for i in range(COUNTERS):
        load.start(count_up, nodes[0], counted, load.over)
    announcers = [Announcer(nodes[0], f"127.1.{i}.1") for i in range(1, ANNOUNCERS + 1)]
    try:
        for service, number in STEPS:
            load.over.wait(UNDER_LOAD_S)
            scale(nodes[0], service, number)
            if number > 2:
                nodes[0].admin("restart", service)  # one after the other
            for announcer in announcers:
                announcer.announce()
        load.over.wait(UNDER_LOAD_S)
    finally:
        load.stop()
    assert len(wait_for("the peers", lambda: announcers[0].ask("get_peers"))["values"]) == ANNOUNCERS

    assert counted and len(set(counted)) == len(counted), f"a number was set twice: {sorted(counted)}"
    for node in nodes:
        assert int(node.get("counter")) >= max(counted), f"{node.name} has lost a number that was set"
    for key in acknowledged:
        assert nodes[0].get(key) == nodes[2].get(key) == f"value of {key}".encode(), key
    print(f"{askers.answered} queries answered, {len(acknowledged)} values and {len(counted)} numbers set,"
          f" {total(nodes[0], 'transport', 'forwarded')} answers handed on")
