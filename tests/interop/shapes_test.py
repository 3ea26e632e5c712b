#!/usr/bin/python3
"""v1 torrents of every shape between Littlebird and libtorrent, Transmission and aria2, both ways.

Shapes: a file and folders, files of 0 and 1 bytes, last pieces that are exact and short, names beyond ASCII, pieces of
16 KiB and of 16 MiB. A client that fetches from us learns our address from a tracker of the test's own; we are told
theirs in the link. What a client does otherwise than others stands in ODDITIES.
"""

import contextlib
import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import lan

lan.enter()

import libtorrent as lt  # noqa: E402

from bencode import decode, encode  # noqa: E402
from node import Lab, same_content, wait_for  # noqa: E402

KIB, MIB = 1024, 1024 * 1024

# What is in it (one name of no folder: the torrent is that file), and the length of its pieces when others make it.
SHAPES = {
    "exact": ({"exact.bin": 64 * KIB}, 16 * KIB),
    "short": ({"short.bin": 64 * KIB + 1}, 16 * KIB),
    "byte": ({"byte.bin": 1}, 16 * KIB),
    "large": ({"large.bin": 16 * MIB + 77}, 16 * MIB),
    "folder": ({"folder/empty": 0, "folder/one": 1, "folder/exact": 64 * KIB, "folder/deep/er/last": 100_001,
                "folder/z-empty": 0}, 32 * KIB),
    "names": ({"n\u00e4me \u20ac/\u00fcbung \u2460.txt": 20_000, "n\u00e4me \u20ac/\u65e5\u672c\u8a9e/\u2603": 17,
               "n\u00e4me \u20ac/spaces  and 'quotes' &#%;=": 5}, 16 * KIB),
}

# Transmission 3.00 makes no files of 0 bytes, and writes _ for each of "*:<>?\\| in names (none of these is used here).
ODDITIES = {"transmission": {"empty files are not made"}}


class Tracker:
    """Tells everybody of one peer (BEP 3, and BEP 23: compact)."""

    def __init__(self, host, peer):
        compact = bytes(int(part) for part in peer.split(":")[0].split(".")) + int(peer.split(":")[1]).to_bytes(2, "big")

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = encode({"interval": 5, "min interval": 5, "peers": compact})
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):  # aria2 does not wait for an answer when it ends
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer((host, 0), Handler)
        self.url = "http://%s:%d/announce" % self.server.server_address
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def make_content(lab, shape):
    """The path that is shared."""
    files, _ = SHAPES[shape]
    for number, (name, size) in enumerate(files.items()):
        lab.make_file(os.path.join("out", name), size, seed=number + 1)
    return lab.path("out", next(iter(files)).split("/")[0])


def ours(lab, teacher, path, tracker):
    """Shared by Littlebird; the .torrent names the tracker besides."""
    torrent = lab.path(os.path.basename(path) + ".ours.torrent")
    link = teacher.share(path, "--torrent", torrent)
    with open(torrent, "rb") as file:
        whole = decode(file.read())
    whole["announce"] = tracker.url.encode()
    with open(torrent, "wb") as file:
        file.write(encode(whole))
    return torrent, link


def theirs(lab, path, piece_size):
    """Made by libtorrent: v1, pieces of this size."""
    files = lt.file_storage()
    lt.add_files(files, path)
    create = lt.create_torrent(files, piece_size, flags=lt.create_torrent.v1_only)
    lt.set_piece_hashes(create, os.path.dirname(path))
    torrent = lab.path(os.path.basename(path) + ".theirs.torrent")
    with open(torrent, "wb") as file:
        file.write(lt.bencode(create.generate()))
    info = lt.torrent_info(torrent)
    assert info.piece_length() == piece_size, info.piece_length()
    return torrent, lt.make_magnet_uri(info)


class Libtorrent:
    name = "libtorrent"

    def __init__(self, lab, number):
        self.address = f"{lan.address(number)}:6881"
        self.session = lt.session({"listen_interfaces": self.address, "enable_dht": False, "enable_lsd": False,
                                   "enable_upnp": False, "enable_natpmp": False, "allow_multiple_connections_per_ip": True,
                                   "active_limit": 50, "active_downloads": 50, "active_seeds": 50})

    def take(self, torrents, folder):
        for torrent in torrents:
            self.session.add_torrent({"ti": lt.torrent_info(torrent), "save_path": folder})

    def seeds(self, count):
        return sum(t.status().is_seeding for t in self.session.get_torrents()) == count


class Transmission:
    name = "transmission"

    def __init__(self, lab, number):
        self.lab, self.address, self.rpc = lab, f"{lan.address(number)}:6881", f"{lan.address(number)}:9091"
        home = lab.make_folder(f"transmission{number}")
        with open(os.path.join(home, "settings.json"), "w") as file:
            json.dump({"bind-address-ipv4": lan.address(number), "bind-address-ipv6": "::1", "peer-port": 6881,
                       "dht-enabled": False, "lpd-enabled": False, "pex-enabled": False, "utp-enabled": False,
                       "port-forwarding-enabled": False, "download-queue-enabled": False, "rpc-bind-address": lan.address(number),
                       "rpc-port": 9091, "rpc-whitelist-enabled": False, "rpc-host-whitelist-enabled": False,
                       "trash-original-torrent-files": False}, file)
        lab.start("transmission-daemon", "--foreground", "--config-dir", home,
                  stdout=open(os.path.join(home, "log"), "w"), stderr=open(os.path.join(home, "err"), "w"))
        wait_for("transmission to answer", lambda: self.remote("-si").returncode == 0)

    def remote(self, *arguments):
        return self.lab.run("transmission-remote", self.rpc, *arguments, check=False)

    def take(self, torrents, folder):
        for torrent in torrents:
            assert self.remote("-w", folder, "-a", torrent).returncode == 0, torrent

    def seeds(self, count):
        rows = self.remote("-l").stdout.decode().splitlines()[1:-1]
        return sum("100%" in row for row in rows) == count


class Aria2:
    name = "aria2"

    def __init__(self, lab, number):
        self.lab, self.number, self.address = lab, number, f"{lan.address(number)}:6881"
        self.log = lab.path(f"aria{number}.log")

    def take(self, torrents, folder):
        self.lab.start("aria2c", "--no-conf", "--interface", lan.address(self.number), "--dir", folder, "--enable-dht=false",
                       "--enable-dht6=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false", "--listen-port=6881",
                       "--check-integrity=true", "--seed-ratio=0.0", "--file-allocation=none", "--summary-interval=0",
                       "--max-concurrent-downloads=50", *torrents, stdout=open(self.log, "w"))

    def seeds(self, count):
        with open(self.log, errors="replace") as file:
            return file.read().count("Verification finished successfully") == count


KINDS = (Libtorrent, Transmission, Aria2)


def without_empty_files(wanted, folder):
    """A copy of it without its files of 0 bytes."""
    target = shutil.copytree(wanted, folder) if os.path.isdir(wanted) else shutil.copy(wanted, folder)
    for place, _, names in os.walk(target) if os.path.isdir(wanted) else ():
        for name in names:
            if os.path.getsize(os.path.join(place, name)) == 0:
                os.remove(os.path.join(place, name))
    return target


def is_whole(lab, client, path, folder):
    got = os.path.join(folder, os.path.basename(path))
    try:
        if "empty files are not made" in ODDITIES.get(client.name, ()):
            wanted = lab.path(f"without-{client.name}", os.path.basename(path))
            if not os.path.exists(wanted):
                os.makedirs(os.path.dirname(wanted), exist_ok=True)
                without_empty_files(path, wanted)
            return same_content(wanted, got)
        return same_content(path, got)
    except OSError:
        return False


def they_fetch(lab, client, paths, torrents):
    client.take(torrents, lab.make_folder(f"in-{client.name}"))
    for shape, path in zip(SHAPES, paths):
        wait_for(f"{client.name} to have {shape}", lambda: is_whole(lab, client, path, lab.path(f"in-{client.name}")))
    print(f"{client.name} fetched {len(paths)} shapes from Littlebird", flush=True)


def is_connected(student, link):
    return any(t["infohash"] in link and (t["peers"] > 0 or t["state"] == "seeding") for t in student.transfers())


def we_fetch(lab, client, student, paths, made):
    """One connection after the other: Transmission 3.00 closes a second from the same address while it shakes hands."""
    client.take([torrent for torrent, _ in made], lab.path("out"))
    wait_for(f"{client.name} to seed", lambda: client.seeds(len(made)))
    target = lab.make_folder(f"in-student-{client.name}")
    with ThreadPoolExecutor(len(made)) as pool:
        running = []
        for _, link in made:
            running.append(pool.submit(student.cli, "fetch", f"{link}&x.pe={client.address}", "--to", target))
            wait_for("the connection", lambda: is_connected(student, link))
        for fetch in running:
            fetch.result()
    for shape, path in zip(SHAPES, paths):
        assert same_content(path, os.path.join(target, os.path.basename(path))), f"{shape} from {client.name}"
    print(f"Littlebird fetched {len(paths)} shapes from {client.name}", flush=True)


def duplicates(lab, student):
    """Two files of one name: an error that names it, and not a lost file."""
    info = {"files": [{"length": 5, "path": [b"a", b"b"]}, {"length": 6, "path": [b"a", b"b"]}], "name": b"twice",
            "piece length": 16384, "pieces": bytes(20)}
    with open(lab.path("twice.torrent"), "wb") as file:
        file.write(encode({"info": info}))
    result = student.cli("fetch", lab.path("twice.torrent"), "--to", lab.make_folder("in-twice"), check=False)
    assert result.returncode == 1 and b"twice/a/b" in result.stderr, result
    assert os.listdir(lab.path("in-twice")) == []
    print("two files of one name are refused", flush=True)


def main():
    with Lab() as lab, ThreadPoolExecutor() as pool:
        teacher, *students = (lab.node(f"n{number}", host=lan.address(number), port=6881) for number in range(1, 5))
        for node in (teacher, *students):
            node.up()
        tracker = Tracker(lan.address(5), teacher.address)
        paths = [make_content(lab, shape) for shape in SHAPES]
        shared = [ours(lab, teacher, path, tracker)[0] for path in paths]
        made = [theirs(lab, path, SHAPES[shape][1]) for shape, path in zip(SHAPES, paths)]
        running = [pool.submit(they_fetch, lab, kind(lab, 10 + i), paths, shared) for i, kind in enumerate(KINDS)]
        running += [pool.submit(we_fetch, lab, kind(lab, 20 + i), students[i], paths, made)
                    for i, kind in enumerate(KINDS)]
        for part in running:
            part.result()
        duplicates(lab, students[0])


if __name__ == "__main__":
    main()
