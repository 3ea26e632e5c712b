#!/usr/bin/python3
"""What aria2 1.36 and Transmission 3.00 make of a hybrid torrent by Littlebird: nothing.

Neither knows BEP 52. Transmission refuses the file; aria2 reads it as another torrent (its infohash
is not that of the file), and so looks for peers that there are not. This says what is so and is no
wish: should a later version take hybrids, the test fails, and `share` may make them by default.
"""

import re

import lan

lan.enter()

from node import Lab  # noqa: E402

HASH = re.compile(r"(?:btih:|Info Hash: |Hash: )([0-9a-f]{40})")


def shown_by(lab, *command):
    """The infohash a program reads in a file, or "" when it refuses it."""
    result = lab.run(*command, check=False)
    found = HASH.search(result.stdout.decode(errors="replace"))
    return found.group(1) if result.returncode == 0 and found else ""


with Lab() as lab:
    teacher = lab.node("t", host=lan.address(1), port=6881)
    teacher.up()
    lab.make_file("a/lab/one.bin", 300_001, seed=1)
    lab.make_file("a/lab/two.bin", 70_000, seed=2)
    for kind in ("--v1", "--hybrid"):
        for name in ("lab", "lab/one.bin"):
            torrent = lab.path("a.torrent")
            infohash = HASH.search(teacher.share(lab.path("a", name), kind, "--torrent", torrent)).group(1)
            aria2 = shown_by(lab, "aria2c", "--no-conf", "-S", torrent)
            transmission = shown_by(lab, "transmission-show", torrent)
            if kind == "--v1":
                assert (aria2, transmission) == (infohash, infohash), (aria2, transmission, infohash)
            else:
                assert aria2 not in ("", infohash) and transmission == "", (aria2, transmission, infohash)
    print("aria2 takes a hybrid for another torrent, transmission refuses it")
