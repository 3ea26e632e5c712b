#!/usr/bin/python3
"""transmission-daemon seeds to Littlebird and fetches from it, by magnet link and DHT alone."""

import json
import os

import lan

lan.enter()

from node import Lab, same_content, wait_for, wait_for_content  # noqa: E402
from rival import make_torrent  # noqa: E402


CROWD = 10  # Transmission does not look into a DHT of which it knows fewer than nine nodes


class Transmission:
    """A daemon on one address, its DHT started from one Littlebird node."""

    def __init__(self, lab, number, bootstrap):
        self.lab, self.rpc = lab, f"{lan.address(number)}:9091"
        home = lab.make_folder(f"tr{number}")
        host, port = bootstrap.split(":")
        with open(os.path.join(home, "dht.bootstrap"), "w") as file:
            file.write(f"{host} {port}\n")
        self.files = lab.make_folder(f"tr{number}-files")
        with open(os.path.join(home, "settings.json"), "w") as file:
            json.dump({
                "bind-address-ipv4": lan.address(number), "bind-address-ipv6": "::1", "peer-port": 6881,
                "dht-enabled": True, "lpd-enabled": False, "pex-enabled": False, "utp-enabled": False,
                "port-forwarding-enabled": False, "encryption": 0, "download-dir": self.files,
                "rpc-bind-address": lan.address(number), "rpc-port": 9091, "rpc-whitelist-enabled": False,
                "rpc-host-whitelist-enabled": False, "trash-original-torrent-files": False}, file)
        lab.start("transmission-daemon", "--foreground", "--config-dir", home,
                  stdout=open(os.path.join(home, "log"), "w"), stderr=open(os.path.join(home, "err"), "w"))
        wait_for("transmission to answer", lambda: self.remote("-si", check=False).returncode == 0)

    def remote(self, *arguments, **options):
        return self.lab.run("transmission-remote", self.rpc, *arguments, **options)

    def percent(self):
        text = self.remote("-t", "1", "-i", check=False).stdout.decode()
        return next((line.split(":")[1].strip() for line in text.splitlines() if "Percent Done" in line), "")


def littlebird_seeds(lab, teacher, client):
    content = lab.make_file("a/lesson.bin", 5_000_001, seed=1)
    magnet = teacher.share(content)
    client.remote("-a", magnet)
    yield
    wait_for("transmission to finish its fetch", lambda: client.percent() == "100%", pause_s=0.5)
    wait_for_content(content, os.path.join(client.files, "lesson.bin"))
    print("transmission fetched from Littlebird")


def littlebird_fetches(lab, student, client):
    content = lab.make_file("tr5-files/image.bin", 6_000_011, seed=2)
    torrent, magnet = make_torrent(lab, content)
    client.remote("-a", torrent)
    wait_for("transmission to seed", lambda: client.percent() == "100%", pause_s=0.5)
    yield
    target = lab.make_folder("in")
    student.cli("fetch", magnet, "--to", target)
    assert same_content(content, os.path.join(target, "image.bin"))
    print("Littlebird fetched from transmission")


with Lab() as lab:
    teacher = lab.node("t", host=lan.address(1), port=6881)
    student = lab.node("s", host=lan.address(2), port=6881)
    teacher.up()
    student.up(bootstrap=teacher)
    for number in range(8, 8 + CROWD):
        lab.node(f"n{number}", host=lan.address(number), port=6881).up(bootstrap=teacher)
    # Both ways at once: each daemon takes most of a minute until it uses its DHT.
    fetching, seeding = (Transmission(lab, number, teacher.address) for number in (4, 5))
    ways = littlebird_seeds(lab, teacher, fetching), littlebird_fetches(lab, student, seeding)
    for way in ways:
        next(way)
    for way in ways:
        assert next(way, None) is None
