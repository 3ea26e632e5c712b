#!/usr/bin/python3
"""48 nodes, 1000 values; SIGKILL to 16 at once: all are read from others, and heal to all their replicas."""

import concurrent.futures
import random
import time

from node import Lab, wait_for
from third import AT_ONCE, REPLICAS, get_all, lose_a_third, put_all, start, wait_for_replicas

NODES, VALUES = 48, 1000

with Lab() as lab:
    chance = random.Random(48)
    nodes = [lab.node(f"n{i}") for i in range(NODES)]
    values = [(f"key {number}", f"value {number}") for number in range(VALUES)]
    start(nodes)
    wait_for("every node to know enough others", lambda: all(len(n.contacts()) >= REPLICAS for n in nodes), pause_s=0.5)
    begin = time.monotonic()
    copies = put_all(chance, nodes, values)
    print(f"{VALUES} values put in {time.monotonic() - begin:.1f} s, copies: least {min(copies)}", flush=True)
    assert min(copies) > NODES // 3, f"more nodes hold a value than are killed: {sorted(copies)[:20]}"
    left = lose_a_third(chance, nodes)
    begin = time.monotonic()
    get_all(chance, left, values)
    print(f"all read from the {len(left)} left in {time.monotonic() - begin:.1f} s")
    wait_for_replicas("after the kill", left)
    get_all(chance, left, values)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda node: node.down(), left))
