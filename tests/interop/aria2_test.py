#!/usr/bin/python3
"""aria2 seeds to Littlebird and fetches from it, by magnet link and DHT alone."""

import os

import lan

lan.enter()

from node import Lab, same_content, wait_for  # noqa: E402
from rival import make_torrent  # noqa: E402


def aria2(lab, number, folder, bootstrap, *what):
    return lab.start(
        "aria2c", "--no-conf", "--interface", lan.address(number), "--dir", folder,
        "--enable-dht=true", "--enable-dht6=false", "--dht-listen-port=6881", f"--dht-listen-addr={lan.address(number)}",
        f"--dht-entry-point={bootstrap}", f"--dht-file-path={folder}.dht", "--listen-port=6881",
        "--bt-enable-lpd=false", "--enable-peer-exchange=false", "--follow-torrent=mem", "--quiet=true",
        "--file-allocation=none", "--summary-interval=0", *what, stdout=open(f"{folder}.log", "w"))


def littlebird_seeds(lab, teacher, student):
    content = lab.make_file("a/lesson.bin", 5_000_001, seed=1)
    magnet = teacher.share(content)
    folder = lab.make_folder("aria-in")
    process = aria2(lab, 4, folder, teacher.address, "--seed-time=0", magnet)
    wait_for("aria2 to finish its fetch", lambda: process.poll() is not None)
    assert process.returncode == 0, open(f"{folder}.log").read()
    assert same_content(content, os.path.join(folder, "lesson.bin"))
    print("aria2 fetched from Littlebird")


def littlebird_fetches(lab, teacher, student):
    content = lab.make_folder("aria-out", "pictures")
    lab.make_file("aria-out/pictures/one.bin", 3_000_017, seed=2)
    lab.make_file("aria-out/pictures/deep/two.bin", 1_000_003, seed=3)
    torrent, magnet = make_torrent(lab, content)
    aria2(lab, 5, lab.path("aria-out"), teacher.address, "--check-integrity=true", "--seed-ratio=0.0", torrent)
    target = lab.make_folder("in")
    student.cli("fetch", magnet, "--to", target)
    assert same_content(content, os.path.join(target, "pictures"))
    print("Littlebird fetched from aria2")


with Lab() as lab:
    teacher = lab.node("t", host=lan.address(1), port=6881)
    student = lab.node("s", host=lan.address(2), port=6881)
    teacher.up()
    student.up(bootstrap=teacher)
    littlebird_seeds(lab, teacher, student)
    littlebird_fetches(lab, teacher, student)
