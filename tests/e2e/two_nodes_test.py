#!/usr/bin/python3
"""Two nodes: share on one and fetch on the other, put on one and get on the other, status of both."""

import json
import os

from node import Lab, same_content, wait_for

KINDS = {"small file": 100_003, "one byte": 1, "image": 12_000_001}


def files(lab, a, b):
    for what, size in KINDS.items():
        path = lab.make_file(f"out/{what}", size, seed=size)
        magnet = a.share(path)
        assert magnet.startswith("magnet:?xt=urn:btih:") and "\n" not in magnet, magnet
        b.cli("fetch", magnet, "--to", lab.make_folder("in"))
        assert same_content(path, lab.path("in", what)), what
    nothing = a.cli("share", lab.make_file("out/nothing", 0), check=False)
    assert nothing.returncode == 1 and b"no content" in nothing.stderr, nothing
    folder = lab.make_folder("out", "Übung 1")
    for name, size in (("Aufgabe.txt", 700), ("bilder/ä.png", 250_000), ("bilder/leer", 0), ("z", 65_536)):
        lab.make_file(f"out/Übung 1/{name}", size, seed=size)
    torrent = lab.path("exercise.torrent")
    magnet = a.share(folder, "--torrent", torrent)
    assert a.share(folder) == magnet, "sharing again gives the same link"
    b.cli("fetch", torrent, "--to", lab.make_folder("in"))
    assert same_content(folder, lab.path("in", "Übung 1"))
    states = {t["name"]: t["state"] for t in b.transfers()}
    assert set(states.values()) == {"seeding"} and len(states) == len(KINDS) + 1, states
    b.cli("remove", magnet)
    assert "Übung 1" not in {t["name"] for t in b.transfers()}
    assert os.path.isdir(lab.path("in", "Übung 1")), "removing a transfer leaves its files"
    assert b.cli("remove", magnet, check=False).returncode == 4


def values(a, b):
    stored = a.put("quiz/1", "What is a leaf?")
    assert stored["acknowledged"] == 2, stored
    assert b.get("quiz/1") == b"What is a leaf?"
    assert b.put("quiz/1", "What is a root?")["seq"] > stored["seq"]
    assert a.get("quiz/1") == b"What is a root?"
    named = a.put("--immutable", "never changes")
    assert b.get(named["target"], "--immutable") == b"never changes"
    own = a.put("notice", "mine", "--own")
    assert b.get("notice", "--public-key", own["public_key"]) == b"mine"
    assert b.cli("get", "notice", check=False).returncode == 4, "the shared key of that name has no value"
    a.cli("put", "from stdin", "-", input=b"\x00\xff bytes\n")
    assert b.get("from stdin") == b"\x00\xff bytes\n"
    assert a.cli("put", "quiz/1", "stale", "--cas", str(stored["seq"]), check=False).returncode == 1
    assert a.get("quiz/1") == b"What is a root?", "a failed compare-and-set changes nothing"


def status(a):
    result = a.admin("status")
    rows = result.stdout.decode()
    for name in ("supervisor", "routing", "storage", "transport", "swarm", "gateway"):
        assert name in rows, rows
    assert json.loads(a.admin("status", "--json").stdout)["level"] == "well"
    a.admin("wait", "--ready")
    nodes = json.loads(a.admin("table", "--json").stdout)["nodes"]
    assert len([n for n in nodes if n["state"] == "good"]) == 1, nodes


with Lab() as lab:
    a, b = lab.node("a"), lab.node("b")
    a.up()
    b.up(bootstrap=a)
    wait_for("the two to know each other", lambda: a.contacts() and b.contacts())
    files(lab, a, b)
    values(a, b)
    status(a)
    for node in (a, b):
        node.down()
        assert node.admin("status", check=False).returncode == 3
    b.up()  # without a bootstrap: the snapshot is enough
    a.up()
    wait_for("the two to know each other again", lambda: a.contacts() and b.contacts())
    assert b.get("quiz/1") == b"What is a root?"
    assert {t["state"] for t in a.transfers()} == {"seeding"}, a.transfers()
