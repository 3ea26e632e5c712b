#!/usr/bin/python3
"""Whatever arrives is refused or dropped: no process ends, nothing stored is lost."""

import glob
import os
import random
import re
import socket
import struct
import subprocess

import zmtp
from node import SERVICES, Lab, program, wait_for

CHANCE = random.Random(44)
PROTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "proto")
HASHES = b"6:pieces20:" + b"x" * 20
TORRENTS = {
    "nothing": b"", "text": b"hello", "not a dictionary": b"i1e", "no info": b"d1:ai1ee",
    "cut short": b"d4:infod6:lengthi5e", "deep": b"d4:info" + b"l" * 5000 + b"e" * 5001,
    "traversal": b"d4:infod5:filesld6:lengthi1e4:pathl2:..6:passwdeee4:name1:a"
                 b"12:piece lengthi16384e" + HASHES + b"ee",
    "traversing name": b"d4:infod6:lengthi5e4:name5:../../12:piece lengthi16384e" + HASHES + b"ee",
    "absolute name": b"d4:infod6:lengthi5e4:name4:/etc12:piece lengthi16384e" + HASHES + b"ee",
    "negative length": b"d4:infod6:lengthi-5e4:name1:a12:piece lengthi16384e" + HASHES + b"ee",
    "huge length": b"d4:infod6:lengthi9223372036854775807e4:name1:a12:piece lengthi16384e"
                   + HASHES + b"ee",
    "zero piece length": b"d4:infod6:lengthi5e4:name1:a12:piece lengthi0e" + HASHES + b"ee",
    "too few hashes": b"d4:infod6:lengthi99999e4:name1:a12:piece lengthi16384e" + HASHES + b"ee",
    "a string of 4 GB": b"d4:infod4:name4294967295:a",
}
LINKS = ("", "magnet:", "magnet:?xt=urn:btih:xyz", "http://example.invalid/x", "magnet:?dn=x",
         "/no/such/file", "magnet:?xt=urn:btih:" + "0" * 39, "magnet:?" + "tr=x&" * 5000)


def noise(most):
    return CHANCE.randbytes(CHANCE.randrange(most))


def datagrams(lab, node):
    """Noise, real queries with bytes changed, and the sizes at the ends."""
    query = (b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e"
             b"1:q9:find_node1:t2:aa1:y1:qe")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for data in (b"", b"d", b"l" * 60000, b"d1:ad2:id20:", b"i" + b"9" * 1000 + b"e"):
            out.sendto(data, (node.host, node.port))
        for _ in range(3000):
            data = bytearray(query if CHANCE.random() < 0.7 else noise(1400))
            for _ in range(CHANCE.randrange(1, 4)):
                if data:
                    data[CHANCE.randrange(len(data))] = CHANCE.randrange(256)
            out.sendto(bytes(data), (node.host, node.port))


def message(number, payload=b"", length=None):
    length = 1 + len(payload) if length is None else length
    return struct.pack(">IB", length, number) + payload


def peer_messages():
    """What a peer may send after a good handshake, and should not."""
    far = 0xfffffff0
    yield struct.pack(">I", 0xffffffff) + b"\x07"           # a message of 4 GB
    yield message(4, struct.pack(">I", far))                # have: no such piece
    yield message(5, b"\xff" * 1000)                        # a bitfield of another torrent
    yield message(5) + message(5, b"\0")                    # two bitfields, both wrong
    yield message(2) + message(6, struct.pack(">III", far, far, far))
    yield message(2) + message(6, struct.pack(">III", 0, 0, 1 << 30))
    yield message(7, struct.pack(">II", 0, 0) + b"x" * 16384)  # a block nobody asked for
    yield message(7, struct.pack(">II", far, far) + b"x")
    yield message(20, b"\0d1:md11:ut_metadatai-1eee")
    yield message(20, b"\0" + b"l" * 3000)
    yield message(20, b"\xffd8:msg_typei0e5:piecei99999999ee")
    yield message(99, b"what") * 100
    yield noise(5000)


def streams(lab, node):
    """Noise on the peer port, and bad messages behind a handshake for a torrent that is there."""
    magnet = node.share(lab.make_file("out/shared", 100_000))
    infohash = bytes.fromhex(re.search(r"btih:([0-9a-f]{40})", magnet).group(1))
    start = b"\x13BitTorrent protocol" + bytes([0, 0, 0, 0, 0, 0x10, 0, 5])
    openings = [noise(4000) for _ in range(40)]
    openings += [start + CHANCE.randbytes(40) + noise(4000) for _ in range(20)]
    openings += [start + infohash + CHANCE.randbytes(20) + rest for rest in peer_messages()]
    for data in openings:
        with socket.create_connection((node.host, node.port), timeout=20) as out:
            try:
                out.sendall(data)
                out.shutdown(socket.SHUT_WR)
                while out.recv(65536):
                    pass
            except OSError:
                pass  # it closed on us or does not: either is an answer


def mailbox_paths(node):
    names = [f"{service}-0.sock" for service in ("supervisor", *SERVICES)]
    return [os.path.join(node.dir, "run", name) for name in ["api.sock", "events.sock", *names]]


def raw_streams(lab, node):
    """What is not even ZeroMQ, on every local socket."""
    announcements = [b"\x02" + struct.pack(">Q", 1 << 40), b"\x02" + b"\xff" * 8, b"\x03" * 50]
    for path in mailbox_paths(node):
        for data in [b"GET / HTTP/1.0\r\n\r\n", b"\0" * 64, zmtp.GREETING[:20],
                     zmtp.GREETING + noise(300), *[noise(500) for _ in range(5)]]:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as out:
                out.connect(path)
                try:
                    out.sendall(data)
                except OSError:
                    pass
        if path.endswith("events.sock"):
            continue
        for data in announcements:
            with zmtp.Dealer(path) as dealer:
                dealer.socket.sendall(data)


def frames(lab, node):
    """Frames that are no messages, and messages that are no requests, to every mailbox."""
    for path in mailbox_paths(node):
        if path.endswith("events.sock"):
            continue
        with zmtp.Dealer(path) as dealer:
            for _ in range(300):
                dealer.send(*[noise(200) for _ in range(CHANCE.randrange(1, 5))])
            for _ in range(20):
                dealer.send(b"")
            dealer.send(*[b"many frames"] * 1000)
        if path.endswith("api.sock"):
            continue
        for body in (b"\xff\xff\xff", zmtp.field_bytes(1000, b"unknown"), b"", b"\x0a\xff\xff\xff\x0f"):
            _, error, reason, _ = zmtp.ask(path, body)
            assert error != 0 and reason, (path, body, error, reason)


def public_methods():
    for path in sorted(glob.glob(os.path.join(PROTO, "littlebird", "v1", "*.proto"))):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for service in re.finditer(r"service (\w+) \{(.*?)\n\}", text, re.S):
            for method in re.findall(r"rpc (\w+)\(", service.group(2)):
                yield f"littlebird.v1.{service.group(1)}/{method}"


def public_calls(lab, node):
    """Every public method with a payload that is none; headers that say nonsense."""
    methods = [name for name in public_methods() if not name.endswith("/Stop")]
    assert len(methods) > 8, methods
    path = os.path.join(node.dir, "run", "api.sock")

    def code(header, *rest):
        with zmtp.Dealer(path) as dealer:
            dealer.send(header, *rest)
            status = zmtp.fields(dealer.receive()[0]).get(6, b"")
            return zmtp.fields(status).get(1, 0)

    def header(method, protocol=1):
        return (zmtp.field_number(1, protocol) + zmtp.field_text(2, method)
                + zmtp.field_bytes(3, b"id"))

    for method in methods:
        assert code(header(method), b"\x0a\xff\xff\xff\x0f") == 3, method  # INVALID_ARGUMENT
    assert code(header("littlebird.v1.NodeService/Fly"), b"") == 12  # UNIMPLEMENTED
    assert code(header("x" * 5000), b"") != 0
    assert code(header(methods[0], protocol=77), b"") != 0
    assert code(header("littlebird.v1.NodeService/GetServerInfo"), b"") == 0


def commands(lab, node):
    target = lab.make_folder("in")
    for what, data in TORRENTS.items():
        path = lab.path("bad.torrent")
        with open(path, "wb") as file:
            file.write(data)
        result = node.cli("fetch", path, "--to", target, check=False)
        assert result.returncode in (1, 2) and result.stderr, (what, result)
    for link in LINKS:
        result = node.cli("fetch", link, "--to", target, check=False)
        assert result.returncode in (1, 2, 4) and result.stderr, (link, result)
    assert os.listdir(target) == [], "nothing was written"
    assert node.cli("share", "/no/such/file", check=False).returncode in (1, 4)
    assert node.cli("share", "/dev/zero", check=False).returncode == 1
    assert node.cli("put", "k" * 2000, "v", check=False).returncode in (1, 2)
    assert node.cli("put", "big", "-", input=b"x" * (3 << 20), check=False).returncode == 1
    assert node.cli("get", "zz", "--immutable", check=False).returncode == 2


def shared_files(lab, a, b):
    """A shared file is removed, and one is changed: a says so and serves nothing of them."""
    for name, spoil in (("removed", os.unlink), ("changed", lambda path: lab.make_file("out/changed", 3_000_000, seed=9))):
        path = lab.make_file("out/" + name, 3_000_000, seed=8)
        magnet = a.share(path)
        spoil(path)
        fetch = lab.start(program("littlebird"), "fetch", "--dir", b.dir, magnet, "--to",
                          lab.make_folder("spoilt"), stderr=subprocess.DEVNULL)
        row = wait_for(f"a to notice that {name} is {name}", lambda: next(
            (t for t in a.transfers() if t["name"] == name and t["state"] != "seeding"), None))
        assert row["note"], row
        fetch.terminate()
        fetch.wait()
        b.cli("remove", magnet)
        a.cli("remove", magnet)


def spoil_state(node):
    """Every state file but the database: cut, filled with noise or emptied in turn."""
    files = [os.path.join(folder, name) for folder, _, names in os.walk(os.path.join(node.dir, "data"))
             for name in names if not name.endswith((".mdb", ".log"))]
    assert files, "a node keeps state"
    for number, path in enumerate(sorted(files)):
        size = os.path.getsize(path)
        with open(path, "r+b") as file:
            if number % 3 == 0:
                file.truncate(size // 2)
            elif number % 3 == 1:
                file.write(CHANCE.randbytes(size))
            else:
                file.truncate(0)
    print(f"spoilt {[os.path.basename(path) for path in files]}")


def after_spoilt_state(a, b):
    """It starts, serves what it stored, and says what it lost: its own key is not made up anew."""
    a.down()
    spoil_state(a)
    a.up(b)
    wait_for("the two to know each other again", lambda: a.contacts())
    rows = wait_for("every service to serve", lambda: [
        s for s in a.status() if s["service"] in SERVICES and s["state"] in ("ready", "degraded")])
    assert len(rows) == len(SERVICES), rows
    assert a.get("kept") == b"safe"
    refused = a.cli("put", "mine", "x", "--own", check=False)
    assert refused.returncode == 1 and b"key" in refused.stderr, refused
    assert all(s["restarts"] == 0 for s in a.status()), a.status()


def attack(lab, node, attacks):
    pids = {s["service"]: s["pid"] for s in node.status()}
    for one in attacks:
        one(lab, node)
        node.await_well(f"after {one.__name__}")
        assert {s["service"]: s["pid"] for s in node.status()} == pids, "a process ended"


with Lab() as lab:
    a, b = lab.node("a"), lab.node("b")
    a.up()
    b.up(bootstrap=a)
    wait_for("the two to know each other", lambda: a.contacts() and b.contacts())
    a.await_well()
    a.put("kept", "safe")
    a.put("mine", "safe", "--own")
    attack(lab, a, [datagrams, streams, raw_streams, frames, public_calls, commands,
                    lambda lab, node: shared_files(lab, a, b)])
    assert b.get("kept") == b"safe" and a.get("kept") == b"safe"
    after_spoilt_state(a, b)
