#!/usr/bin/python3
"""libtorrent, Transmission and aria2 find Littlebird's torrents by local discovery (BEP 14), and Littlebird theirs.

Nothing else can find them: no DHT is joined, and no link names a peer. Each stands in a network namespace of its
own on one bridge, which needs root.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from lan_discovery_test import Net, configured, ip  # noqa: E402
from node import Lab, same_content, wait_for, wait_for_content  # noqa: E402
from rival import make_torrent  # noqa: E402

ALONE = "[node]\nlan_discovery = no\n"


def host(net, number):
    """A namespace with a default route: Transmission and aria2 leave it to that by which interface they multicast."""
    space = net.host(number)
    ip("-n", space, "route", "add", "default", "dev", "eth0")
    return space


def inside(lab, space, *command, **options):
    return lab.start("ip", "netns", "exec", space, *command, **options)


def libtorrent(lab, space, what, folder):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libtorrent_local.py")
    return inside(lab, space, sys.executable, script, what, folder)


def aria2(lab, space, what, folder):
    return inside(lab, space, "aria2c", "--no-conf", "--dir", folder, "--enable-dht=false", "--enable-dht6=false",
                  "--bt-enable-lpd=true", "--enable-peer-exchange=false", "--listen-port=6881", "--follow-torrent=mem",
                  "--file-allocation=none", "--check-integrity=true", "--seed-ratio=0.0", "--quiet=true", what)


def transmission(lab, space, what, folder):
    home = lab.make_folder(f"home-{space}")
    with open(os.path.join(home, "settings.json"), "w") as file:
        json.dump({"peer-port": 6881, "dht-enabled": False, "lpd-enabled": True, "pex-enabled": False,
                   "utp-enabled": False, "port-forwarding-enabled": False, "download-dir": folder,
                   "rpc-port": 9091, "rpc-whitelist-enabled": False, "rpc-host-whitelist-enabled": False,
                   "trash-original-torrent-files": False}, file)
    inside(lab, space, "transmission-daemon", "--foreground", "--config-dir", home,
           stdout=open(os.path.join(home, "log"), "w"), stderr=open(os.path.join(home, "err"), "w"))

    def added():
        return lab.run("ip", "netns", "exec", space, "transmission-remote", "127.0.0.1:9091", "-a", what,
                       check=False).returncode == 0

    wait_for("transmission to take its order", added)


RIVALS = (libtorrent, transmission, aria2)


def main():
    with Net() as net, Lab() as lab:
        teacher, student = (configured(lab, f"n{i}", net.host(i), "0.0.0.0:7001", ALONE) for i in (1, 2))
        teacher.up()
        student.up()
        content = lab.make_file("lesson.bin", 2_000_003, seed=1)
        magnet = teacher.share(content)
        theirs = []
        for number, rival in enumerate(RIVALS):
            rival(lab, host(net, 10 + number), magnet, lab.make_folder(f"in-{rival.__name__}"))
            path = lab.make_file(f"{rival.__name__}/{rival.__name__}.bin", 2_000_003, seed=2 + number)
            torrent, link = make_torrent(lab, path)
            theirs.append((rival.__name__, path, link))
            rival(lab, host(net, 20 + number), torrent, os.path.dirname(path))
        target = lab.make_folder("in")
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda link: student.cli("fetch", link, "--to", target), [t[2] for t in theirs]))
        for name, path, _ in theirs:
            assert same_content(path, os.path.join(target, f"{name}.bin"))
            print(f"Littlebird found {name}")
        for rival in RIVALS:
            wait_for_content(content, lab.path(f"in-{rival.__name__}", "lesson.bin"))
            print(f"{rival.__name__} found Littlebird")
        assert teacher.contacts() == [] == student.contacts()


if __name__ == "__main__":
    main()
