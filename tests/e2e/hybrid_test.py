#!/usr/bin/python3
"""Hybrids (BEP 52): named by either hash whichever worker has them, and begun without their piece layers."""

import json
import os

from node import Lab, same_content, wait_for

WORKERS = 4
LAYERS = b"12:piece layers"


def owner(infohash):
    return int(infohash[:4], 16) * WORKERS // 65536


def share_of_two_owners(lab, node):
    """A hybrid whose hashes two different workers own: its path, its magnet link, v1 and v2."""
    for seed in range(100):
        path = lab.make_file(f"out/{seed}.img", 3_000_001, seed=seed)
        link = node.share(path, "--hybrid", "--torrent", path + ".torrent")
        v1 = node.transfers()[0]["infohash"]
        v2 = link.split("urn:btmh:1220")[1][:64]
        if owner(v1) != owner(v2):
            return path, link, v1, v2
        node.cli("remove", link)
    raise AssertionError("no such hybrid")


def by_its_v2_hash(lab, node):
    path, link, v1, v2 = share_of_two_owners(lab, node)
    name = f"magnet:?xt=urn:btmh:1220{v2}"
    files = json.loads(node.cli("list", "--files", name, "--json").stdout)["files"]
    assert [file["path"] for file in files] == [os.path.basename(path)], files
    assert json.loads(node.cli("list", "--peers", name, "--json").stdout)["peers"] == []
    node.cli("limit", name, "--up", "7 MB/s")
    assert node.transfers()[0]["send_limit"] == 7_000_000, node.transfers()
    node.cli("check", name)
    node.cli("fetch", name, "--to", os.path.dirname(path))
    assert [row["infohash"] for row in node.transfers()] == [v1], node.transfers()
    node.cli("remove", name)
    assert node.transfers() == []
    assert node.cli("remove", name, check=False).returncode == 4, "there is none any more"
    return path


def without_layers(lab, path, a, b):
    """It begins by its v1 hashes while nobody is there, and has the layers of the first who comes."""
    link = a.share(path, "--hybrid")
    a.cli("limit", link, "--up", "2 MB/s")
    with open(path + ".torrent", "rb") as file:
        before, layers = file.read().split(LAYERS)  # the last key
    stripped = lab.path("stripped.torrent")
    with open(stripped, "wb") as file:
        file.write(before + b"e")
    into = lab.make_folder("in")
    fetch = b.start_cli("fetch", stripped, "--to", into)
    wait_for("it to begin", lambda: b.transfers() and b.transfers()[0]["state"] == "fetching")
    b.cli("fetch", stripped, "--to", into, "--peer", a.address)
    assert fetch.wait() == 0 and same_content(path, os.path.join(into, os.path.basename(path)))
    wait_for("the layers", lambda: "knows the v2 hashes of its pieces, too" in b.log())
    kept = os.path.join(b.dir, "data", "swarm", b.transfers()[0]["infohash"] + ".torrent")

    def are_kept():
        with open(kept, "rb") as file:
            return file.read().endswith(LAYERS + layers)

    wait_for("them to be kept", are_kept)


with Lab() as lab:
    a, b = lab.node("a"), lab.node("b")
    with open(os.path.join(a.dir, "littlebird.conf"), "a") as file:
        file.write(f"[swarm]\nworkers = {WORKERS}\n")
    a.up()
    b.up()
    path = by_its_v2_hash(lab, a)
    without_layers(lab, path, b, a)
print("hybrids: by either hash, and without layers")
