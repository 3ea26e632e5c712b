#!/usr/bin/python3
"""Nodes with three transport workers each: the kernel steers by source address, and everything is found."""

import os
import random

from node import Lab

NODES, VALUES = 6, 40

with Lab() as lab:
    chance = random.Random(3)
    nodes = [lab.node(f"n{i}", host=f"127.0.0.{i + 1}") for i in range(NODES)]
    for node in nodes:
        with open(os.path.join(node.dir, "littlebird.conf"), "w") as file:
            file.write("[transport]\nworkers = 3\n")
    nodes[0].up()
    for node in nodes[1:]:
        node.up(bootstrap=nodes[0])
    for number in range(VALUES):
        stored = chance.choice(nodes).put(f"key {number}", f"value {number}")
        assert stored["acknowledged"] == NODES, stored
    for number in range(VALUES):
        assert chance.choice(nodes).get(f"key {number}") == b"value %d" % number
    workers = [s for s in nodes[0].status() if s["service"] == "transport"]
    assert [(s["instance"], s["state"]) for s in workers] == [(n, "ready") for n in range(3)], workers
    nodes[0].kill_service("transport")
    assert nodes[0].get("key 0") == b"value 0"
