#!/usr/bin/python3
"""12 nodes, 100 values: four are killed at once and nothing is lost; who comes is handed what it should hold."""

import concurrent.futures
import os
import random
import time

from node import Lab, wait_for

NODES, VALUES, KILLED, AT_ONCE = 12, 100, 4, 4


def node(lab, number):
    made = lab.node(f"n{number}")
    with open(os.path.join(made.dir, "littlebird.conf"), "a") as file:
        file.write("[storage]\ncheck_interval = 5s\n")
    return made


def counter(of, name):
    service = of.service("storage")
    return service["counters"].get(name, 0) if service else 0


def held(of):
    return counter(of, "items")


with Lab() as lab:
    chance = random.Random(12)
    nodes = [node(lab, i) for i in range(NODES)]
    nodes[0].up()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda n: n.up(bootstrap=nodes[0]), nodes[1:]))
        wait_for("all to know all", lambda: all(len(n.contacts()) == NODES - 1 for n in nodes), pause_s=0.5)
        stored = list(pool.map(lambda i: nodes[i % NODES].put(f"key {i}", f"value {i}"), range(VALUES)))
        assert min(s["acknowledged"] for s in stored) == NODES, "with fewer than 20 nodes each holds every value"
        wait_for("every node to hold all", lambda: all(held(n) == VALUES for n in nodes), pause_s=0.5)
        assert nodes[0].put("short", "half a minute", "--ttl", "30s")["acknowledged"] == NODES

        killed, live = nodes[1:1 + KILLED], [nodes[0], *nodes[1 + KILLED:]]
        for victim in killed:
            victim.kill()

        def read(number):
            assert chance.choice(live).get(f"key {number}") == b"value %d" % number

        list(pool.map(read, range(VALUES)))
        print(f"{KILLED} of {NODES} killed: all {VALUES} values read")
        wait_for("checks to count those that are left", lambda: all(counter(n, "checks") > 0 for n in live), pause_s=0.5)

        new = node(lab, NODES)
        new.up(bootstrap=live[1])
        begin = time.monotonic()
        wait_for("the newcomer to hold all", lambda: held(new) >= VALUES, pause_s=0.2)
        print(f"a newcomer holds all {VALUES} after {time.monotonic() - begin:.1f} s, handed over: "
              f"{sum(counter(n, 'keys_handed_over') for n in live)}")
        assert sum(counter(n, "keys_handed_over") for n in live) > 0

        # One more comes, and everybody who held anything before leaves: its keys go on with it.
        last = node(lab, NODES + 1)
        last.up(bootstrap=new)
        wait_for("the last one to know the others", lambda: len(last.contacts()) == len(live) + 1, pause_s=0.2)
        for leaver in [*live, new]:
            begin = time.monotonic()
            leaver.down()
            assert time.monotonic() - begin < 30, "draining is bounded"
        wait_for("the last one to hold all", lambda: held(last) >= VALUES, pause_s=0.2)
        for number in range(0, VALUES, 9):
            assert last.get(f"key {number}") == b"value %d" % number
        audit = last.admin("audit", "keys", "--json", check=False).stdout.decode()
        print("the last one alone:", audit.split("keys")[0].strip()[:200])
        wait_for("what was put for half a minute to end", lambda: last.cli("get", "short", check=False).returncode == 4,
                 pause_s=1)
        last.down()
