"""Peers that break the rules, each in a way of its own: a listening socket and a thread for each connection.

No part of Littlebird: the BitTorrent wire (BEP 3, 6, 10) by hand. A behaviour is a function that is given a connection
whose handshakes are done and misbehaves until the other side closes it.
"""

import contextlib
import os
import random
import socket
import struct
import threading
import time

CHOKE, UNCHOKE, INTERESTED, _, HAVE, BITFIELD, REQUEST, PIECE, CANCEL = range(9)
SUGGEST, HAVE_ALL, HAVE_NONE, REJECT, ALLOWED = range(13, 18)
EXTENDED = 20
BLOCK = 16384


def message(kind, payload=b""):
    return struct.pack(">IB", 1 + len(payload), kind) + payload


def words(*numbers):
    return struct.pack(f">{len(numbers)}I", *numbers)


class Connection:
    """One to a node: handshakes, and messages as they come."""

    def __init__(self, sock, infohash, peer_id=None, answer=False):
        self.socket = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hello = (b"\x13BitTorrent protocol" + bytes((0, 0, 0, 0, 0, 0x10, 0, 4)) + infohash
                 + (peer_id or b"-XX0000-" + os.urandom(12)))
        if answer:
            self.receive(68)
        sock.sendall(hello)
        if not answer:
            self.receive(68)

    def receive(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError("closed")
            data += part
        return data

    def next(self):
        """Kind and payload; keepalives are passed over."""
        while True:
            size = struct.unpack(">I", self.receive(4))[0]
            if size > 0:
                data = self.receive(size)
                return data[0], data[1:]

    def send(self, kind, payload=b""):
        self.socket.sendall(message(kind, payload))

    def requests(self):
        """What it asks for: piece, offset, length."""
        while True:
            kind, payload = self.next()
            if kind == REQUEST:
                yield struct.unpack(">3I", payload)


def seems_a_seed(peer):
    peer.send(HAVE_ALL)
    peer.send(UNCHOKE)


def corrupt(peer):
    seems_a_seed(peer)
    for piece, offset, length in peer.requests():
        peer.send(PIECE, words(piece, offset) + bytes(length))


def corrupt_and_gone(peer):
    """Before anybody can tell whose block it was."""
    seems_a_seed(peer)
    for count, (piece, offset, length) in enumerate(peer.requests()):
        peer.send(PIECE, words(piece, offset) + bytes(length))
        if count == 3:
            return


def silent(peer):
    seems_a_seed(peer)
    for _ in peer.requests():
        pass


def drip(peer):
    """A block at one byte a second."""
    seems_a_seed(peer)
    piece, offset, length = next(peer.requests())
    for byte in message(PIECE, words(piece, offset) + bytes(length)):
        peer.socket.sendall(bytes((byte,)))
        time.sleep(1)


def liar(peer):
    """It has everything, and rejects every request."""
    seems_a_seed(peer)
    for request in peer.requests():
        peer.send(REJECT, words(*request))


def unasked(peer):
    """Everything, choked, and blocks nobody asked for."""
    peer.send(HAVE_ALL)
    while True:
        peer.send(PIECE, words(random.randrange(8), 0) + bytes(BLOCK))


STORMS = (b"\0\0\0\0", message(HAVE, words(0)), message(REQUEST, words(0, 0, BLOCK)),
          message(CANCEL, words(0, 0, BLOCK)), message(INTERESTED), message(CHOKE) + message(UNCHOKE),
          message(99, b"?" * 20), message(EXTENDED, b"\x63de"), message(EXTENDED, b"\0de"),
          message(SUGGEST, words(0)), message(REJECT, words(0, 0, BLOCK)))


def storm(peer):
    """One message after the other, as fast as they are taken."""
    seems_a_seed(peer)
    burst = random.choice(STORMS) * 1000
    while True:
        peer.socket.sendall(burst)


ABSURD = (message(HAVE, words(0xFFFFFFFF)), message(REQUEST, words(0, 0xFFFFFFFF, 0xFFFFFFFF)),
          message(REQUEST, words(0xFFFFFFFF, 0, BLOCK)), message(REQUEST, words(0, 0, 1 << 24)),
          message(BITFIELD, b"\xff" * 100_000), message(PIECE, words(0xFFFFFFFF, 0) + bytes(BLOCK)),
          message(HAVE, b"\0"), message(PIECE, b""), message(REQUEST, b"\0" * 11), b"\x7f\xff\xff\xff\x07",
          b"\xff\xff\xff\xff", message(EXTENDED, b""), message(EXTENDED, b"\0" + b"d" * 1000),
          message(EXTENDED, b"\1d8:msg_typei1e5:piecei0e10:total_sizei99999999eexxxx"))


def absurd(peer):
    seems_a_seed(peer)
    peer.socket.sendall(random.choice(ABSURD))
    for _ in peer.requests():
        pass


class Hostile:
    """Listens on a port; everybody who calls meets the behaviour. `None`: not even a handshake."""

    def __init__(self, behaviour, infohash, host="127.0.0.1"):
        self.behaviour, self.infohash = behaviour, infohash
        self.peer_id = b"-XX0000-" + os.urandom(12)
        self.met = 0
        self.listener = socket.create_server((host, 0), backlog=128)
        self.address = "%s:%d" % self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            sock = self.listener.accept()[0]
            self.met += 1
            threading.Thread(target=self.meet, args=(sock,), daemon=True).start()

    def meet(self, sock):
        with contextlib.suppress(OSError, ConnectionError, StopIteration), sock:
            if self.behaviour is None:
                while sock.recv(4096):
                    pass
                return
            self.behaviour(Connection(sock, self.infohash, self.peer_id, answer=True))
