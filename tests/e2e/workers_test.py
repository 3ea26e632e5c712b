#!/usr/bin/python3
"""Nodes with three transport workers each: the kernel steers by source address, and everything is found."""

import os
import random
import socket

import zmtp
from bencode import decode, encode
from node import Lab
from zmtp import field_bytes, field_number

NODES, VALUES = 6, 40
WORKERS, OTHERS = 3, 12
GET_PEERS = 5  # of lb.transport.Query


def each_worker_may_ask_any_node(node):
    """Whichever worker the answer is steered to, it goes on to the one that asked."""
    for n in range(1, OTHERS + 1):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.settimeout(20)
            other.bind((f"127.7.{n}.{n}", 0))
            host, port = other.getsockname()
            body = field_bytes(1, field_bytes(1, socket.inet_aton(host) + port.to_bytes(2, "big"))
                               + field_bytes(GET_PEERS, field_bytes(1, b"mnopqrstuvwxyz123456")))
            for worker in range(WORKERS):
                with zmtp.Dealer(os.path.join(node.dir, "run", f"transport-{worker}.sock")) as dealer:
                    dealer.send(field_number(1, 1), body)
                    query = {"q": b"ping"}
                    while query["q"] != b"get_peers":  # for its own table: nobody is at home
                        data, source = other.recvfrom(2048)
                        query = decode(data)
                    other.sendto(encode({"t": query["t"], "y": b"r", "r": {"id": b"abcdefghij0123456789"}}), source)
                    header, _ = dealer.receive()
                    assert zmtp.fields(header).get(2, 0) == 0, f"worker {worker} of {host} heard no answer"
    crossed = sum(s["counters"]["forwarded"] for s in node.status() if s["service"] == "transport")
    assert crossed >= OTHERS * (WORKERS - 1), crossed


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
    each_worker_may_ask_any_node(nodes[0])
    nodes[0].kill_service("transport")
    assert nodes[0].get("key 0") == b"value 0"
