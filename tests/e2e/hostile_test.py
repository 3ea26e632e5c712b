#!/usr/bin/python3
"""Hostile peers: a fetch beside them completes, and a seed under their attack goes on serving.

Three of them, with corrupt blocks, silence after requests, and blocks nobody asked for, beside one honest seed stop
libtorrent 2.0 (it bans the honest one), stall Transmission 3.0 and abort aria2 1.36.
"""

import contextlib
import resource
import socket
import threading
import time

import hostile
from hostile import Connection, Hostile
from node import Lab, same_content, wait_for

CROWD = 5000  # sockets that say a byte now and then
TRIES = 3
BEHAVIOURS = {
    "corrupt blocks": hostile.corrupt,
    "corrupt blocks, and gone": hostile.corrupt_and_gone,
    "silence after requests": hostile.silent,
    "one byte a second": hostile.drip,
    "a lying bitfield": hostile.liar,
    "blocks nobody asked for": hostile.unasked,
    "storms of messages": hostile.storm,
    "absurd messages": hostile.absurd,
    "no handshake": None,
}


def infohash_of(magnet):
    return bytes.fromhex(magnet.split("urn:btih:")[1].split("&")[0])


def fetch_beside(lab, teacher, magnet, name, behaviours, content):
    """The hostile ones are called first: they stand in the link before the seed."""
    peers = [Hostile(behaviour, infohash_of(magnet)) for behaviour in behaviours]
    student = lab.node(f"student-{name}")
    student.up()
    link = magnet + "".join(f"&x.pe={address}" for address in [p.address for p in peers] + [teacher.address])
    begin = time.monotonic()
    student.cli("fetch", link, "--to", lab.make_folder(f"in-{name}"))
    took = time.monotonic() - begin
    assert same_content(content, lab.path(f"in-{name}", "lesson.bin"))
    assert all(peer.met > 0 for peer in peers)
    wasted = student.transfers()[0]["wasted_bytes"]
    student.down()
    print(f"beside {name}: {took:.1f} s, {wasted / 1e6:.1f} MB wasted", flush=True)


def first_block(node, infohash):
    """An honest newcomer: seconds from its call to its first block."""
    begin = time.monotonic()
    with socket.create_connection((node.host, node.port), timeout=30) as sock:
        peer = Connection(sock, infohash)
        peer.send(hostile.HAVE_NONE)
        peer.send(hostile.INTERESTED)
        kind = None
        while kind != hostile.UNCHOKE:
            kind, _ = peer.next()
        peer.send(hostile.REQUEST, hostile.words(0, 0, hostile.BLOCK))
        while kind != hostile.PIECE:
            kind, _ = peer.next()
    return time.monotonic() - begin


def serves(node, infohash, attack):
    """The best of some tries, so that a busy machine alone fails nothing."""
    times = []
    for _ in range(TRIES):
        with contextlib.suppress(OSError):
            times.append(first_block(node, infohash))
        if times and min(times) < 2:
            break
    assert times and min(times) < 2, f"under {attack} a newcomer waited {times} s"
    print(f"under {attack}: the first block after {min(times) * 1000:.0f} ms", flush=True)


def crowd(node, count, what, stop):
    """So many sockets: `what` is said first, then a byte every 10 s; who is thrown out calls again."""
    sockets = {}
    while not stop.is_set():
        for number in range(count):
            sock = sockets.get(number)
            try:
                if sock is None:
                    sock = socket.create_connection((node.host, node.port), timeout=5)
                    sockets[number] = sock
                    sock.setblocking(False)
                    sock.send(what)
                else:
                    sock.send(b"\0")
            except OSError:
                if sock is not None:
                    sock.close()
                sockets[number] = None
            if stop.is_set():
                break
        crowd.ready.set()
        stop.wait(10)
    for sock in sockets.values():
        if sock is not None:
            sock.close()


@contextlib.contextmanager
def under(target, *arguments):
    stop = threading.Event()
    threads = [threading.Thread(target=target, args=(*arguments, stop), daemon=True)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def flood(node, infohash, stop):
    """Every storm at once, each from a connection of its own that calls again as soon as it is closed."""
    def one(burst):
        while not stop.is_set():
            with contextlib.suppress(OSError), socket.create_connection((node.host, node.port), timeout=5) as sock:
                Connection(sock, infohash)
                while not stop.is_set():
                    sock.sendall(burst)

    threads = [threading.Thread(target=one, args=(burst * 1000,), daemon=True) for burst in hostile.STORMS]
    for thread in threads:
        thread.start()
    crowd.ready.set()
    for thread in threads:
        thread.join()


def attack(node, infohash, what, target, *arguments):
    crowd.ready = threading.Event()
    with under(target, node, *arguments):
        assert crowd.ready.wait(120)
        serves(node, infohash, what)
    wait_for("the seed to be rid of them", lambda: node.transfers()[0]["peers"] == 0)


def main():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    count = min(CROWD, most - 256)
    with Lab() as lab:
        teacher = lab.node("teacher")
        teacher.up()
        content = lab.make_file("lesson.bin", 24_000_001, seed=1)
        magnet = teacher.share(content)
        infohash = infohash_of(magnet)
        fetch_beside(lab, teacher, magnet, "three", [hostile.corrupt, hostile.silent, hostile.unasked], content)
        fetch_beside(lab, teacher, magnet, "all", BEHAVIOURS.values(), content)
        hello = (b"\x13BitTorrent protocol" + bytes(8) + infohash)
        attack(teacher, infohash, f"{count} sockets that say nothing", crowd, count, b"")
        attack(teacher, infohash, f"{count} half handshakes", crowd, count, hello)
        attack(teacher, infohash, "storms of messages", flood, infohash)
        pids = [row for row in teacher.status() if row["restarts"]]
        assert not pids, f"restarted: {pids}"


if __name__ == "__main__":
    main()
