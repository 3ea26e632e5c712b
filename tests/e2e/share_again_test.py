#!/usr/bin/python3
"""Sharing what was shared before: after it was spoilt and mended, and twice at the same moment."""

import threading

from node import Lab, wait_for

SIZE = 3_000_000
PAIRS = 6


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def spoilt_and_mended(lab, a, b):
    path = lab.make_file("out/lesson", SIZE, seed=5)
    with open(path, "rb") as file:
        content = file.read()
    magnet = a.share(path)
    write(path, b"x" * SIZE)
    reader = threading.Thread(target=lambda: b.cli("fetch", magnet, "--to", lab.make_folder("in"), check=False))
    reader.start()
    wait_for("the spoilt share to be noticed", lambda: any(t["state"] == "failed" for t in a.transfers()))
    write(path, content)
    assert a.share(path) == magnet, "the same content, the same link"
    assert [t["state"] for t in a.transfers()] == ["seeding"]
    reader.join()
    with open(lab.path("in", "lesson"), "rb") as file:
        assert file.read() == content


def twice_at_once(lab, a):
    before = len(a.transfers())
    for pair in range(PAIRS):
        paths = [lab.make_file(f"{side}{pair}/same", 300_000, seed=90 + pair) for side in "ab"]
        both = [threading.Thread(target=lambda p=path: a.cli("share", p, check=False)) for path in paths]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
    assert len(a.transfers()) == before + PAIRS, "one transfer for each content"


with Lab() as lab:
    a, b = lab.node("a"), lab.node("b")
    a.up()
    b.up(bootstrap=a)
    spoilt_and_mended(lab, a, b)
    twice_at_once(lab, a)
