#!/usr/bin/python3
"""The workers of transport and the instances of storage become more and fewer, and are started anew one after the
other, while a node is asked and written to: each query is answered, each value that was acknowledged is there at the
end, and what compares and sets loses nothing.
"""

import itertools
import json
import socket

import status_page
from bencode import decode, encode
from load import PAUSE_S, Askers, Threads
from node import Lab, wait_for

NODES, ASKERS, ANNOUNCERS, WRITERS, COUNTERS = 3, 32, 8, 2, 2
UNANSWERED_S = 20  # nothing takes so long: it is lost
UNDER_LOAD_S = 0.6  # at each number
BUSY = 202  # storage has not got to it within a second: a slow disk
STEPS = (("transport", 4), ("storage", 3), ("transport", 2), ("storage", 1))


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
    load, askers, acknowledged, counted = Threads(), Askers(nodes[0], ASKERS, UNANSWERED_S), [], []
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
