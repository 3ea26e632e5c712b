#!/usr/bin/python3
"""Web seeds (BEP 19): a web server as the only source, and servers that are of no use or lie."""

import hashlib
import http.server
import os
import threading
import urllib.parse

import bencode
from node import Lab, same_content, wait_for

PIECE = 1 << 18


class Handler(http.server.BaseHTTPRequestHandler):
    """/files/: with ranges; /lies/: a byte wrong in each; /whole/: without ranges; /loop/, /moved/: elsewhere."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, headers, content=b""):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content)
        except ConnectionError:  # it wants no more
            self.close_connection = True

    def do_GET(self):
        _, kind, rest = self.path.split("/", 2)
        self.server.asked.setdefault(kind, []).append(self.path)
        path = os.path.join(self.server.root, urllib.parse.unquote(rest))
        if kind in ("loop", "moved", "file"):
            to = {"loop": self.path, "moved": f"/files/{rest}", "file": f"file:///{rest}"}[kind]
            self.answer(302, {"Location": to})
        elif kind == "gone" or not os.path.isfile(path):
            self.answer(404, {}, b"<html>nothing here</html>")
        elif kind == "whole":
            with open(path, "rb") as file:
                self.answer(200, {}, file.read())
        else:
            first, last = map(int, self.headers["Range"].split("=")[1].split("-"))
            with open(path, "rb") as file:
                file.seek(first)
                content = bytearray(file.read(last + 1 - first))
            if kind == "lies":
                content[len(content) // 2] ^= 1
            self.answer(206, {"Content-Range": f"bytes {first}-{last}/{os.path.getsize(path)}"}, bytes(content))


class Web:
    def __init__(self, root):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.root, self.server.asked = root, {}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, kind, rest=""):
        return f"http://127.0.0.1:{self.server.server_port}/{kind}/{rest}"

    def asked(self, kind):
        return self.server.asked.get(kind, [])


def torrent(lab, name, files, urls):
    """A .torrent that only names web seeds. files: (path or None for padding, bytes)."""
    content = b"".join(data for _, data in files)
    info = {"name": name.encode(), "piece length": PIECE,
            "pieces": b"".join(hashlib.sha1(content[at:at + PIECE]).digest()
                               for at in range(0, len(content), PIECE))}
    if len(files) == 1:
        info["length"] = len(content)
    else:
        info["files"] = [{"path": [part.encode() for part in path.split("/")], "length": len(data)}
                         if path else {"attr": b"p", "path": [b".pad", b"%d" % len(data)], "length": len(data)}
                         for path, data in files]
    path = lab.path(f"{len(os.listdir(lab.folder))}.torrent")
    with open(path, "wb") as file:
        file.write(bencode.encode({"info": info, "url-list": urls}))
    return path


def read(path):
    with open(path, "rb") as file:
        return file.read()


def one_file(lab, web, b):
    """Named by its URL, by the folder it lies in, and behind a redirect."""
    path = lab.make_file("web/image 1.iso", 3_000_001, seed=1)
    for kind, rest in (("files", "image%201.iso"), ("files", ""), ("moved", "")):
        into = lab.make_folder(f"one {kind}{len(rest)}")
        seed = web.url(kind, rest).encode()
        file = torrent(lab, "image 1.iso", [("image 1.iso", read(path))], seed)
        b.cli("fetch", file, "--to", into)
        assert same_content(path, os.path.join(into, "image 1.iso"))
        got = b.transfers()[0]
        assert got["peers"] == 0 and got["received_bytes"] >= 3_000_001, got
        b.cli("remove", got["infohash"])


def folder(lab, web, b):
    """Pieces over the ends of files, padding, an empty file, and names that URLs have to escape."""
    names = (("a b/größe 50%.txt", 700_001), ("a b/#1?.bin", 5), ("leer", 0), (None, 12_345), ("z&;=+", 900_000))
    files = []
    for at, (name, size) in enumerate(names):
        path = name and lab.make_file(f"web/Übung 1/{name}", size, seed=at + 10)
        files.append((name, read(path) if path else bytes(size)))
    into = lab.make_folder("in folder")
    b.cli("fetch", torrent(lab, "Übung 1", files, [web.url("files").encode()]), "--to", into)
    assert same_content(lab.path("web", "Übung 1"), os.path.join(into, "Übung 1"))
    b.cli("remove", b.transfers()[0]["infohash"])


def of_no_use(lab, web, a, b):
    """They lie, have nothing, give no ranges, lead nowhere: the fetch goes on with a peer."""
    path = lab.make_file("web/big.img", 24_000_000, seed=3)
    kinds = ("lies", "gone", "whole", "loop", "file")
    seeds = [web.url(kind) for kind in kinds]
    link = a.share(path, *(word for seed in seeds for word in ("--web-seed", seed)))
    assert all("ws=" + urllib.parse.quote(seed, safe="-._~") in link for seed in seeds), link
    into = lab.make_folder("in liar")
    a.cli("limit", link, "--up", "6 MB/s")
    fetch = b.start_cli("fetch", link, "--to", into, "--peer", a.address)
    wait_for("the liar to be dropped", lambda: "dropped: it sent a bad piece" in b.log())
    assert fetch.wait() == 0 and same_content(path, os.path.join(into, "big.img"))
    assert len(web.asked("lies")) == 1, "it was never asked again"
    for reason in ("it answers 404", "it gives no ranges of files", "maximum amount", "Unsupported protocol"):
        wait_for(reason, lambda reason=reason: reason in b.log())
    assert len(web.asked("loop")) % 6 == 0, "five redirects are followed each time"
    assert [t["magnet"] for t in b.transfers()] == [link], "what came by the link is passed on"


with Lab() as lab:
    web = Web(lab.make_folder("web"))
    a, b = lab.node("a"), lab.node("b")
    a.up()
    b.up(bootstrap=a)
    one_file(lab, web, b)
    folder(lab, web, b)
    of_no_use(lab, web, a, b)
    b.kill_service("swarm")
    wait_for("it to be taken up again", lambda: b.transfers() and b.transfers()[0]["state"] == "seeding")
print("web seeds: alone, in a folder, and those of no use")
