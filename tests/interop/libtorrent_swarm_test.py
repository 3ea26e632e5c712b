#!/usr/bin/python3
"""libtorrent seeds to Littlebird and fetches from it, by magnet link and DHT alone."""

import os

import lan

lan.enter()

import libtorrent as lt  # noqa: E402

from node import Lab, same_content, wait_for, wait_for_content  # noqa: E402
from rival import make_torrent, session  # noqa: E402


def is_fetched(handle):
    """It looks for peers by itself only every 15 minutes, and not at all before its DHT is up."""
    if handle.status().num_peers == 0:
        handle.force_dht_announce()
    return handle.status().is_seeding


def littlebird_seeds(lab, teacher):
    content = lab.make_folder("a", "lab")
    for name, size in (("one.bin", 4_000_037), ("empty", 0), ("deep/er/two.bin", 65_536), ("x", 1)):
        lab.make_file(f"a/lab/{name}", size, seed=size + 1)
    magnet = teacher.share(content)
    client = session(lan.address(4), bootstrap=teacher.address)
    order = lt.parse_magnet_uri(magnet)
    order.save_path = lab.make_folder("lt-in")
    handle = client.add_torrent(order)
    wait_for("libtorrent to finish its fetch", lambda: is_fetched(handle), pause_s=0.5)
    wait_for_content(content, os.path.join(order.save_path, "lab"))
    client.remove_torrent(handle)
    print("libtorrent fetched from Littlebird")


def littlebird_fetches(lab, teacher, student):
    content = lab.make_file("lt-out/image.iso", 9_000_011, seed=7)
    torrent, magnet = make_torrent(lab, content)
    client = session(lan.address(5), bootstrap=teacher.address)
    handle = client.add_torrent({"ti": lt.torrent_info(torrent), "save_path": lab.path("lt-out")})
    wait_for("libtorrent to seed", lambda: handle.status().is_seeding)
    target = lab.make_folder("in")
    student.cli("fetch", magnet, "--to", target)
    assert same_content(content, os.path.join(target, "image.iso"))
    target = lab.make_folder("in-by-file")
    student.cli("remove", magnet)
    student.cli("fetch", torrent, "--to", target)
    assert same_content(content, os.path.join(target, "image.iso"))
    print("Littlebird fetched from libtorrent")


with Lab() as lab:
    teacher = lab.node("t", host=lan.address(1), port=6881)
    student = lab.node("s", host=lan.address(2), port=6881)
    teacher.up()
    student.up(bootstrap=teacher)
    littlebird_seeds(lab, teacher)
    littlebird_fetches(lab, teacher, student)
