#!/usr/bin/python3
"""What a node answers on the wire, datagram by datagram, in rows: BEP 5, 32, 33, 42, 43,
44 and 51, and what Littlebird adds.

The asker here is no part of Littlebird: a socket and a few lines of bencode. Its signatures are the
test vectors of BEP 44.
"""

import hashlib
import itertools
import socket

from bencode import Raw, decode, encode
from node import Lab, wait_for

PUBLIC = bytes.fromhex("77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548")
VALUE = b"Hello World!"
PLAIN = {"k": PUBLIC, "seq": 1, "v": VALUE, "sig": bytes.fromhex(
    "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff"
    "1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01")}
SALTED = {**PLAIN, "salt": b"foobar", "sig": bytes.fromhex(
    "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d"
    "df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08")}
PLAIN_TARGET = bytes.fromhex("4a533d47ec9c7d95b1ad75f576cffc641853b750")
SALTED_TARGET = bytes.fromhex("411eba73b6f087ca51a3795d9c8c938d365e32c1")
ME = b"abcdefghij0123456789"
INFOHASH = b"mnopqrstuvwxyz123456"


class Asker:
    numbers = itertools.count()

    def __init__(self, node, family=socket.AF_INET, here=None, there=None):
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.settimeout(5)
        if here:
            self.socket.bind((here, 0))
        self.socket.connect((there or node.host, node.port))

    def ask(self, method, read_only=1, **arguments):
        """The whole answer; its transaction and its "ip" have been looked at."""
        transaction = b"t%d" % next(self.numbers)
        self.socket.send(encode({"t": transaction, "y": b"q", "q": method.encode(),
                                 "ro": read_only, "a": {"id": ME, **arguments}}))
        answer = decode(self.socket.recv(2048))
        assert answer["t"] == transaction, answer
        host, port = self.socket.getsockname()[:2]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        assert answer["ip"] == socket.inet_pton(family, host) + port.to_bytes(2, "big"), answer
        return answer

    def reply(self, method, **arguments):
        answer = self.ask(method, **arguments)
        assert answer["y"] == b"r", answer
        return answer["r"]

    def code(self, method, **arguments):
        """Of the error it answers with; 0 for a reply."""
        answer = self.ask(method, **arguments)
        return answer["e"][0] if answer["y"] == b"e" else 0


def token(asker, target=PLAIN_TARGET):
    return asker.reply("get", target=target)["token"]


def without(item, *keys):
    return {k: v for k, v in item.items() if k not in keys}


def check_puts(asker):
    """Refused first, so that nothing stands there; the codes are BEP 44's."""
    good = token(asker)
    rows = (
        ("a token of nobody", 203, {**PLAIN, "token": b"12345678"}),
        ("no token", 203, without(PLAIN, "token")),
        ("no value", 203, {**without(PLAIN, "v"), "token": good}),
        ("a signature of something else", 206, {**PLAIN, "token": good, "v": b"Hello World?"}),
        ("a signature without its salt", 206, {**SALTED, "token": good, "salt": b"foo"}),
        ("a number that was not signed", 206, {**PLAIN, "token": good, "seq": 2}),
        ("a number below zero", 203, {**PLAIN, "token": good, "seq": -1}),
        ("no number", 203, {**without(PLAIN, "seq"), "token": good}),
        ("no signature", 203, {**without(PLAIN, "sig"), "token": good}),
        ("a short key", 203, {**PLAIN, "token": good, "k": b"short"}),
        ("a salt of 65 bytes", 207, {**PLAIN, "token": good, "salt": b"s" * 65}),
        ("a value of 1001 bytes", 205, {"token": good, "v": b"x" * 997}),
        ("keys out of order", 203, {"token": good, "v": Raw(b"d1:bi1e1:ai2ee")}),
        ("an unknown value", 203, {"token": good, "v": Raw(b"d1:ai1e1:ai2ee")}),
    )
    for what, code, arguments in rows:
        got = asker.code("put", **arguments)
        assert got == code, f"{what}: {got}, not {code}"
    assert "v" not in asker.reply("get", target=PLAIN_TARGET)


def check_mutable(asker, other):
    assert asker.code("put", **PLAIN, token=token(asker)) == 0
    assert asker.code("put", **PLAIN, token=token(asker)) == 0, "the same again is a refresh"
    assert asker.code("put", **SALTED, token=token(asker)) == 0
    got = asker.reply("get", target=PLAIN_TARGET)
    assert {k: got[k] for k in PLAIN} == PLAIN, got
    assert "nodes" in got and "token" in got, got
    got = asker.reply("get", target=SALTED_TARGET)
    assert got["v"] == VALUE and got["sig"] == SALTED["sig"] and "salt" not in got, got
    assert asker.reply("get", target=PLAIN_TARGET, seq=0)["v"] == VALUE
    for seq in (1, 7):
        got = asker.reply("get", target=PLAIN_TARGET, seq=seq)
        assert got.get("seq") == 1 and not {"v", "k", "sig"} & set(got), f"not newer than {seq}: {got}"
    assert other.code("put", **PLAIN, cas=9, token=token(other)) == 301, "another's number compared"
    assert other.code("put", **PLAIN, cas=1, token=token(other)) == 0


def check_immutable(asker):
    for value in (VALUE, 7, [b"a", [1]], {"a": b"b", "c": {}}, b"", b"x" * 996):
        target = hashlib.sha1(encode(value)).digest()
        for _ in range(2):  # over an existing one
            assert asker.code("put", v=value, token=token(asker, target)) == 0, value
        got = asker.reply("get", target=target)
        assert got["v"] == value and not {"k", "seq", "sig"} & set(got), got
        assert asker.reply("get", target=target, seq=5)["v"] == value, "it has no number"


def check_replicas(asker):
    """Ours: who sees to the replicas of an item says so, and gets its number alone."""
    target = hashlib.sha1(encode(VALUE)).digest()
    rows = (
        ("an immutable one", target, {"chk": 600}, 0),
        ("an immutable one, with its number", target, {"chk": 600, "seq": 0}, 0),
        ("a mutable one", PLAIN_TARGET, {"chk": 600, "seq": 1}, 1),
        ("a mutable one of which the asker has a newer version", PLAIN_TARGET, {"chk": 1, "seq": 7}, 1),
    )
    for what, wanted, arguments, seq in rows:
        got = asker.reply("get", target=wanted, **arguments)
        assert got.get("seq") == seq and not {"v", "k", "sig"} & set(got), f"{what}: {got}"
        assert "token" in got and "nodes" in got, f"{what}: {got}"
    assert asker.reply("get", target=PLAIN_TARGET, seq=0, chk=600)["v"] == VALUE, "a newer one is sent"
    assert "seq" not in asker.reply("get", target=INFOHASH, chk=600), "what is not stored has no number"
    good = token(asker)
    for what, method, arguments in (
            ("checked again at once", "get", {"target": target, "chk": 0}),
            ("checked again as text", "get", {"target": target, "chk": b"soon"}),
            ("no life", "put", {"v": VALUE, "token": good, "ttl": 0}),
            ("too long a life", "put", {"v": VALUE, "token": good, "ttl": 1 << 31}),
            ("an offer of nothing", "lb_offer", {"offer": b""}),
            ("an offer cut short", "lb_offer", {"offer": target + b"1234567"}),
            ("an offer of too many", "lb_offer", {"offer": 41 * (target + bytes(8))}),
            ("no offer", "lb_offer", {})):
        got = asker.code(method, **arguments)
        assert got == 203, f"{what}: {got}"
    assert asker.code("put", v=VALUE, token=good, ttl=86400) == 0


def check_peers(asker):
    good = asker.reply("get_peers", info_hash=INFOHASH)["token"]
    rows = (
        ("a token of nobody", 203, {"port": 5000, "token": b"12345678"}),
        ("no token", 203, {"port": 5000}),
        ("no port", 203, {"token": good}),
        ("port 0", 203, {"token": good, "port": 0}),
        ("port 65536", 203, {"token": good, "port": 65536}),
        ("its own port", 0, {"token": good, "port": 5000}),
        ("the port it comes from, whatever it says", 0, {"token": good, "port": 0, "implied_port": 1}),
    )
    for what, code, arguments in rows:
        got = asker.code("announce_peer", info_hash=INFOHASH, **arguments)
        assert got == code, f"{what}: {got}, not {code}"
    here = socket.inet_aton("127.0.0.1")
    ports = {5000, asker.socket.getsockname()[1]}
    got = asker.reply("get_peers", info_hash=INFOHASH)
    assert set(got["values"]) == {here + port.to_bytes(2, "big") for port in ports}, got
    assert asker.code("get_peers", info_hash=b"short") == 203


def bloom(*addresses):
    """BEP 33, "Bloom Filters"."""
    filter = bytearray(256)
    for address in addresses:
        digest = hashlib.sha1(address).digest()
        for index in (digest[0] | digest[1] << 8, digest[2] | digest[3] << 8):
            filter[index % 2048 // 8] |= 1 << index % 8
    return bytes(filter)


def check_scrapes(asker):
    """After check_peers: two peers at one address."""
    def filters(**arguments):
        got = asker.reply("get_peers", **arguments)
        return got.get("BFsd"), got.get("BFpe")

    here = socket.inet_aton("127.0.0.1")
    good = asker.reply("get_peers", info_hash=INFOHASH)["token"]
    assert filters(info_hash=INFOHASH) == (None, None), "not asked for"
    assert filters(info_hash=INFOHASH, scrape=1) == (bloom(), bloom(here))
    assert filters(info_hash=ME, scrape=1) == (None, None), "nothing is stored there"
    assert asker.code("announce_peer", info_hash=INFOHASH, port=5000, seed=1, token=good) == 0
    assert filters(info_hash=INFOHASH, scrape=1) == (bloom(here), bloom(here))
    got = asker.reply("get_peers", info_hash=INFOHASH, noseed=1)
    assert len(got["values"]) == 1 and not got["values"][0].endswith((5000).to_bytes(2, "big")), got


def check_samples(asker):
    got = asker.reply("sample_infohashes", target=ME)
    assert got["samples"] == INFOHASH and got["num"] == 1, got
    assert 0 <= got["interval"] <= 21600 and "nodes" in got and "token" not in got, got
    assert asker.code("sample_infohashes") == 203


def check_nodes(asker):
    rows = ((None, {"nodes"}), ([b"n4"], {"nodes"}), ([b"n6"], {"nodes6"}),
            ([b"n4", b"n6"], {"nodes", "nodes6"}), ([b"n9"], {"nodes"}))
    for want, keys in rows:
        got = asker.reply("find_node", target=INFOHASH, **({"want": want} if want else {}))
        assert {"nodes", "nodes6"} & set(got) == keys, f"{want}: {got}"
        assert len(got.get("nodes", b"")) % 26 == 0 and len(got.get("nodes6", b"")) % 38 == 0
    assert asker.code("ping") == 0
    assert asker.code("frobnicate") == 204
    for arguments in ({"target": INFOHASH}, {"info_hash": INFOHASH, "want": [b"n4"], "seq": b"first"}):
        got = asker.reply("frobnicate", **arguments)
        assert "nodes" in got and "token" not in got, f"{arguments}: {got}"
    got = asker.reply("sample_infohashes", target=ME)
    assert got["samples"] == b"" and got["num"] == 0, got
    assert asker.code("find_node") == 203
    assert asker.code("find_node", target=b"short") == 203


def known(node, asker):
    """Does the node keep the asker in its table? It pings us first, if at all."""
    host, port = asker.socket.getsockname()[:2]
    return any(contact["address"] == f"{host}:{port}" for contact in node.contacts())


def answer_pings(asker, seconds):
    """Live for a while as a node would; returns how often we were asked."""
    asker.socket.settimeout(seconds)
    asked = 0
    try:
        while True:
            query = decode(asker.socket.recv(2048))
            asker.socket.send(encode({"t": query["t"], "y": b"r", "r": {"id": ME, "nodes": b""}}))
            assert "ro" not in query, "we are no read-only node"
            asked += 1
    except TimeoutError:
        return asked


def check_read_only(node):
    quiet, loud = Asker(node), Asker(node)
    assert quiet.ask("ping", read_only=1)["y"] == b"r"
    assert loud.ask("ping", read_only=0)["y"] == b"r"
    wait_for("a node that asks to be pinged", lambda: answer_pings(loud, 0.5), limit_s=20)
    assert answer_pings(quiet, 0.5) == 0, "a read-only node was pinged (BEP 43)"
    wait_for("it to be known", lambda: known(node, loud) or answer_pings(loud, 0.2) < 0, limit_s=20)


def own_v6():
    """An IPv6 address of this machine besides ::1, if it has one."""
    with open("/proc/net/if_inet6") as file:
        for line in file:
            digits, _, _, scope, *_ = line.split()
            if scope == "00":
                return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))
    return None


def check_where_from(lab):
    """Bound to all addresses, a node answers from the one that was asked (BEP 45): a socket that is connected to
    another would not see it."""
    node = lab.node("any", host="0.0.0.0")
    node.up(None, "--listen", f"[::]:{node.port}")
    node.await_well()
    rows = [(socket.AF_INET, "127.0.0.1", "127.0.0.7"), (socket.AF_INET, "127.0.0.3", "127.0.0.1")]
    if own_v6():
        rows.append((socket.AF_INET6, "::1", own_v6()))
    for family, here, there in rows:
        asker = Asker(node, family, here, there)
        assert asker.code("ping") == 0
        target = hashlib.sha1(encode(VALUE)).digest()
        assert asker.code("put", v=VALUE, token=token(asker, target)) == 0  # by way of storage
        assert asker.reply("get", target=target)["v"] == VALUE


with Lab() as lab:
    node = lab.node("n")
    node.up()
    node.await_well()
    asker, other = Asker(node), Asker(node)
    check_nodes(asker)
    check_puts(asker)
    check_mutable(asker, other)
    check_immutable(asker)
    check_replicas(asker)
    check_peers(asker)
    check_scrapes(asker)
    check_samples(asker)
    check_read_only(node)
    check_where_from(lab)
