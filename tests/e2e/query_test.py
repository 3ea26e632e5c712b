#!/usr/bin/python3
"""What a node asks another on behalf of its services, and what it makes of the answer, in rows: proto/transport.proto
on one side, a socket and a few lines of bencode on the other."""

import os
import socket

import zmtp
from bencode import decode, encode
from node import Lab
from zmtp import field_bytes, field_number

THERE = b"abcdefghij0123456789"
TARGET = b"mnopqrstuvwxyz123456"
KEY, SIGNATURE = b"k" * 32, b"s" * 64
OURS, THEIRS = b"LB\0\1", b"LT\1\2"
DIGEST = TARGET + (7).to_bytes(8, "big")
INVALID = 1
GET, PUT, OFFER = 7, 8, 9  # of lb.transport.Query


def get(**more):
    return GET, field_bytes(1, TARGET) + b"".join(field_number({"seq": 2, "check_s": 3}[k], v) for k, v in more.items())


def put(ttl_s, mutable=False):
    item = field_bytes(1, b"1:x") + field_number(6, ttl_s)
    if mutable:
        item += field_bytes(2, KEY) + field_number(4, 5) + field_bytes(5, SIGNATURE)
    return PUT, field_bytes(1, item) + field_bytes(2, b"token")


def offer(digests):
    return OFFER, field_bytes(1, digests)


QUERIES = (
    ("a get", get(), "get", {"target": TARGET}),
    ("a get of what is newer", get(seq=0), "get", {"target": TARGET, "seq": 0}),
    ("a check of an immutable item", get(check_s=600), "get", {"target": TARGET, "chk": 600}),
    ("a check of a mutable one", get(seq=(1 << 63) - 1, check_s=(1 << 31) - 1), "get",
     {"target": TARGET, "seq": (1 << 63) - 1, "chk": (1 << 31) - 1}),
    ("a put", put(0), "put", {"token": b"token", "v": b"x"}),
    ("a put that says how long", put(60), "put", {"token": b"token", "v": b"x", "ttl": 60}),
    ("... of a mutable item", put((1 << 31) - 1, mutable=True), "put",
     {"token": b"token", "v": b"x", "ttl": (1 << 31) - 1, "k": KEY, "seq": 5, "sig": SIGNATURE}),
    ("an offer", offer(2 * DIGEST), "lb_offer", {"offer": 2 * DIGEST}),
    ("the largest offer", offer(40 * DIGEST), "lb_offer", {"offer": 40 * DIGEST}),
)
REFUSED = (
    ("a number that BEP 44 does not have", get(seq=1 << 63)),
    ("a check in a lifetime", get(check_s=1 << 31)),
    ("a life of 68 years", put(1 << 31)),
    ("an offer of nothing", offer(b"")),
    ("an offer cut short", offer(DIGEST[:-1])),
    ("too large an offer", offer(41 * DIGEST)),
    ("an offer of a number that BEP 44 does not have", offer(TARGET + b"\x80" + bytes(7))),
)
# What comes back, and the fields of lb.transport.Answer besides who and how fast; of its item, 5, the fields.
ANSWERS = (
    ("a value, and how long it lives", OURS, {"v": b"x", "ttl": 60, "token": b"t"},
     {4: b"t", 5: {1: b"1:x", 6: 60}, 10: 1}),
    ("stored, not sent", OURS, {"seq": 4, "ttl": 60, "token": b"t"}, {4: b"t", 5: {4: 4, 6: 60}, 10: 1}),
    ("an immutable item, stored, not sent", OURS, {"seq": 0}, {5: {}, 10: 1}),
    ("libtorrent's, stored, not sent", THEIRS, {"seq": 4}, {5: {4: 4}}),
    ("no item at all", THEIRS, {"token": b"t"}, {4: b"t"}),
    ("a number below zero", OURS, {"seq": -4}, {10: 1}),
    ("a life that is none", OURS, {"v": b"x", "ttl": 0}, {5: {1: b"1:x"}, 10: 1}),
    ("what is needed", OURS, {"need": b"012", "token": b"t"}, {4: b"t", 10: 1, 11: b"012"}),
    ("a need nobody understands", OURS, {"need": b"yes", "token": b"t"}, {4: b"t", 10: 1}),
    ("no version", None, {}, {}),
)


class Other:
    """The node that is asked."""

    def __init__(self, asker):
        self.asker = asker
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(20)
        self.socket.bind(("127.0.0.1", 0))
        host, port = self.socket.getsockname()
        self.query = field_bytes(1, socket.inet_aton(host) + port.to_bytes(2, "big"))
        self.path = os.path.join(asker.dir, "run", "transport-0.sock")

    def ask(self, method, body, answer):
        """What it was asked, and (error, fields of Answer) of what it made of the answer."""
        with zmtp.Dealer(self.path) as dealer:
            dealer.send(field_number(1, 1), field_bytes(1, self.query + field_bytes(method, body)))
            query = {"q": b"ping"}
            while query["q"] in (b"ping", b"find_node"):  # for its own table: nobody is at home
                data, source = self.socket.recvfrom(2048)
                query = decode(data)
            self.socket.sendto(encode({"t": query["t"], **answer}), source)
            frames = dealer.receive()
        return query, zmtp.fields(frames[0]).get(2, 0), zmtp.fields(zmtp.fields(frames[1])[1])

    def refusal(self, method, body):
        return zmtp.ask(self.path, field_bytes(1, self.query + field_bytes(method, body)))[1]


def check_queries(other):
    for what, (method, body), name, arguments in QUERIES:
        query, error, _ = other.ask(method, body, {"y": b"r", "r": {"id": THERE}})
        assert error == 0 and query["q"] == name.encode(), f"{what}: {query}"
        assert query["v"] == OURS and "ro" not in query, f"{what}: {query}"
        del query["a"]["id"]
        assert query["a"] == arguments, f"{what}: {query['a']}"
    for what, (method, body) in REFUSED:
        assert other.refusal(method, body) == INVALID, what


def check_answers(other):
    for what, version, results, wanted in ANSWERS:
        answer = {"y": b"r", "r": {"id": THERE, **results}, **({"v": version} if version else {})}
        _, error, got = other.ask(*get(), answer)
        assert error == 0 and got.pop(1) == THERE, f"{what}: {got}"
        got.pop(6, None)  # how fast
        if 5 in got:
            got[5] = zmtp.fields(got[5])
        assert got == wanted, f"{what}: {got}"
    _, error, got = other.ask(*get(), {"y": b"e", "v": OURS, "e": [202, b"busy"]})
    assert (error, got[7], got[8], got[10]) == (0, 202, b"busy", 1), got


with Lab() as lab:
    node = lab.node("n")
    node.up()
    node.await_well()
    other = Other(node)
    check_queries(other)
    check_answers(other)
