#!/usr/bin/python3
"""A weekly image: what is on the disk already is not fetched again; and what was fetched is read back."""

import os

from api import call
from node import Lab, same_content, wait_for

SIZE = 48_000_000
CHANGES = 5  # of about 730 pieces of 64 KiB: under one in a hundred


def transfer(node, magnet):
    infohash = magnet.split("btih:")[1][:40]
    return next((t for t in node.transfers() if t["infohash"] == infohash), None)


def fetch(node, magnet, more, folder):
    call(node, "SwarmService", "Fetch", f'magnet: "{magnet}" folder: "{folder}" {more}')

    def seeds():
        now = transfer(node, magnet)
        return now and now["state"] == "seeding" and now

    return wait_for("the image to be fetched", seeds)


def next_week(lab, name, before, seed):
    """The image of last week with a few bytes changed, in a few places."""
    path = lab.make_file(name, 0)
    with open(before, "rb") as old, open(path, "wb") as new:
        content = bytearray(old.read())
        for i in range(CHANGES):
            content[(seed + i * 9_000_000) % SIZE] ^= 0x55
        new.write(content)
    return path


def cheap(got):
    assert got["received_bytes"] < SIZE / 100, got
    assert got["reused_bytes"] > SIZE / 100 * 99, got


with Lab() as lab:
    a, b = lab.node("a"), lab.node("b")
    a.up()
    b.up(bootstrap=a)
    wait_for("the two to know each other", lambda: a.contacts() and b.contacts())

    first = lab.make_file("week1/image", SIZE, seed=3)
    got = fetch(b, a.share(first), "verify: true", lab.make_folder("in1"))
    assert got["received_bytes"] >= SIZE and got["reused_bytes"] == 0 and got["verified_s"] > 0, got

    second = next_week(lab, "week2/other name", first, 1)
    base = lab.path("in1", "image")
    got = fetch(b, a.share(second), f'base_path: "{base}" verify: true', lab.make_folder("in2"))
    cheap(got)
    assert got["verified_s"] > 0, got
    assert same_content(second, lab.path("in2", "other name")) and same_content(first, base)

    third = next_week(lab, "week3/image", second, 77_777)  # the name it has here: found without being told
    got = fetch(b, a.share(third), "", lab.make_folder("in3"))
    assert got["received_bytes"] < SIZE / 50, got
    assert got["verified_s"] == 0 and same_content(third, lab.path("in3", "image")), got

    try:
        call(b, "SwarmService", "Fetch",
             f'magnet: "magnet:?xt=urn:btih:{"ab" * 20}" folder: "{lab.folder}" base_path: "{lab.path("no")}"')
        raise AssertionError("a base that is not there is refused")
    except RuntimeError as refusal:
        assert "NOT_FOUND" in str(refusal) and "/no" in str(refusal), refusal
