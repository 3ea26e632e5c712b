#!/usr/bin/python3
"""32 nodes on one machine join; 500 values put from random nodes are all read from other random nodes."""

import concurrent.futures
import random
import time

from node import Lab, wait_for

NODES, VALUES, AT_ONCE = 32, 500, 8

with Lab() as lab:
    chance = random.Random(20)
    nodes = [lab.node(f"n{i}") for i in range(NODES)]
    begin = time.monotonic()
    nodes[0].up()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda node: node.up(bootstrap=nodes[0]), nodes[1:]))
        print(f"{NODES} nodes up after {time.monotonic() - begin:.1f} s")
        wait_for("every node to know eight others", lambda: all(len(n.contacts()) >= 8 for n in nodes), pause_s=0.5)
        print(f"every node knows eight others after {time.monotonic() - begin:.1f} s")

        def put(number):
            writer = chance.randrange(NODES)
            return writer, nodes[writer].put(f"key {number}", f"value {number}")["acknowledged"]

        begin = time.monotonic()
        stored = list(pool.map(put, range(VALUES)))
        copies = sorted(acknowledged for _, acknowledged in stored)
        print(f"{VALUES} values put in {time.monotonic() - begin:.1f} s, copies: "
              f"least {copies[0]}, median {copies[VALUES // 2]}")
        assert copies[0] >= 20, "every value lies on the twenty closest nodes"

        def get(number):
            reader = chance.choice([i for i in range(NODES) if i != stored[number][0]])
            assert nodes[reader].get(f"key {number}") == b"value %d" % number

        begin = time.monotonic()
        list(pool.map(get, range(VALUES)))
        print(f"{VALUES} values read in {time.monotonic() - begin:.1f} s")
        list(pool.map(lambda node: node.down(), nodes))
