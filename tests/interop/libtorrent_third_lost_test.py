#!/usr/bin/python3
"""24 of our nodes and 24 of libtorrent's, 1000 values of both; SIGKILL to 16 nodes at once: all are read, and heal."""

import os
import random
import subprocess
import sys
import threading
import time

import lan

lan.enter()

from node import Lab, wait_for  # noqa: E402
from third import get_all, put_all, start, wait_for_replicas  # noqa: E402

OURS, THEIRS, KILLED = 24, 24, 16
VALUES, THEIR_VALUES = 800, 200
THEIRS_AT_ONCE = 8


class Rival:
    """A libtorrent node in a process of its own."""

    def __init__(self, lab, number, bootstrap):
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libtorrent_node.py")
        self.process = lab.start(sys.executable, program, lan.address(number), bootstrap, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
        self.lock = threading.Lock()
        self.process.stdout.readline()

    def ask(self, command):
        with self.lock:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            return self.process.stdout.readline().rstrip("\n")

    def kill(self):
        self.process.kill()
        self.process.wait()


def their_puts(rivals):
    """Each libtorrent node puts its share; text by target. What it could not store is put again."""
    stored = {}

    def puts(rival, numbers):
        for number in numbers:
            text = f"from libtorrent {number}"

            def accepted():
                target, count = rival.ask(f"put {text}").split()
                return target if int(count) > 0 else None

            stored[wait_for(f"libtorrent to store {text}", accepted)] = text

    threads = [threading.Thread(target=puts, args=(rivals[i], range(i, THEIR_VALUES, THEIRS_AT_ONCE)))
               for i in range(THEIRS_AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored) == THEIR_VALUES, f"{len(stored)} of {THEIR_VALUES} stored by libtorrent"
    return stored


def read_theirs(chance, nodes, stored):
    lost = [text for target, text in stored.items()
            if chance.choice(nodes).cli("get", target, "--immutable", check=False).stdout != text.encode()]
    assert not lost, f"{len(lost)} of libtorrent's values not read: {lost[:5]}"


with Lab() as lab:
    chance = random.Random(24)
    nodes = [lab.node(f"n{i}", host=lan.address(i), port=6881) for i in range(1, OURS + 1)]
    values = [(f"key {number}", f"value {number}") for number in range(VALUES)]
    start(nodes)
    rivals = [Rival(lab, OURS + 1 + i, nodes[0].address) for i in range(THEIRS)]
    wait_for("every node to know the others", lambda: all(len(n.contacts()) >= 30 for n in nodes), pause_s=0.5)
    wait_for("libtorrent's to know others", lambda: all(int(r.ask("nodes")) >= 20 for r in rivals), pause_s=0.5)
    copies = put_all(chance, nodes, values)
    print(f"{VALUES} values put, copies: least {min(copies)}")
    stored = their_puts(rivals)
    print(f"{THEIR_VALUES} more put by libtorrent")
    wait_for_replicas("before the kill", nodes)
    victims = set(chance.sample(nodes + rivals, KILLED))
    begin = time.monotonic()
    for victim in victims:
        victim.kill()
    left = [node for node in nodes if node not in victims]
    get_all(chance, left, values)
    read_theirs(chance, left, stored)
    print(f"all read from the {len(left)} of ours left in {time.monotonic() - begin:.1f} s")
    survivors = [rival for rival in rivals if rival not in victims]
    some = chance.sample(sorted(stored), 20)
    wrong = [target for target in some if chance.choice(survivors).ask(f"get {target}") != stored[target]]
    assert not wrong, f"libtorrent does not find {wrong}"
    wait_for_replicas("after the kill", left)
