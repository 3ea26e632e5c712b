#!/usr/bin/python3
"""Half Littlebird, half libtorrent: values outlive a third of the nodes, and a libtorrent node that comes gets them."""

import os
import random

import lan

lan.enter()

import libtorrent as lt  # noqa: E402

from node import Lab, wait_for  # noqa: E402
from rival import session  # noqa: E402

HALF, KILLED, VALUES = 6, 4, 50


def node(lab, number):
    made = lab.node(f"n{number}", host=lan.address(number), port=6881)
    with open(os.path.join(made.dir, "littlebird.conf"), "a") as file:
        file.write("[storage]\ncheck_interval = 10s\n")
    return made


def stored(client):
    """How many mutable items this libtorrent node holds."""
    client.post_session_stats()

    def told():
        client.wait_for_alert(200)
        return next((a for a in client.pop_alerts() if isinstance(a, lt.session_stats_alert)), None)

    return wait_for("libtorrent's counters", told).values["dht.dht_mutable_data"]


with Lab() as lab:
    chance = random.Random(6)
    nodes = [node(lab, i + 1) for i in range(HALF)]
    nodes[0].up()
    for other in nodes[1:]:
        other.up(bootstrap=nodes[0])
    clients = [session(lan.address(HALF + 1 + i), bootstrap=nodes[0].address) for i in range(HALF)]
    wait_for("every node to know the others", lambda: all(len(n.contacts()) == 2 * HALF - 1 for n in nodes))
    acknowledged = [nodes[i % HALF].put(f"key {i}", f"value {i}")["acknowledged"] for i in range(VALUES)]
    print(f"{VALUES} values put, each on {min(acknowledged)} to {max(acknowledged)} of {2 * HALF} nodes")
    assert min(acknowledged) >= 2 * HALF - 1

    for victim in nodes[HALF - KILLED // 2:]:
        victim.kill()
    nodes = nodes[:HALF - KILLED // 2]
    while len(clients) > HALF - KILLED // 2:
        clients.pop()  # a session ends with its last reference
    for number in range(VALUES):
        assert chance.choice(nodes).get(f"key {number}") == b"value %d" % number
    print(f"{KILLED} of {2 * HALF} ended: all {VALUES} values read")

    clients.append(session(lan.address(2 * HALF + 1), bootstrap=nodes[0].address))
    wait_for("the libtorrent node that came to hold all", lambda: stored(clients[-1]) == VALUES, pause_s=1)
    print(f"a libtorrent node that came holds all {VALUES}")
    wait_for("checks to count both kinds", lambda: all(
        n.service("storage")["counters"]["replicas_median"] >= 2 * HALF - KILLED for n in nodes), pause_s=1)
    for leaver in nodes:
        leaver.down()
