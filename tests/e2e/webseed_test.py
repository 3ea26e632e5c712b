#!/usr/bin/python3
"""Web seeds (BEP 19): a web server as the only source, and servers that are of no use or lie."""

import hashlib
import http.server
import json
import os
import ssl
import threading
import urllib.parse

import bencode
from node import Lab, same_content, wait_for

PIECE = 1 << 18


class Handler(http.server.BaseHTTPRequestHandler):
    """/files/: with ranges; /lies/: a byte wrong in each; /whole/: without ranges; /loop/, /moved/: elsewhere;
    /silent/: never answers; /drips/: too slowly; /short/: the half; /wrong/: another range; /fails/: 500."""
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

    def stop_half_way(self, kind, first, last, content):
        """short: the half, then goodbye; drips: likewise, then 10 bytes each second."""
        self.close_connection = True
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/*")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content[:len(content) // 2])
            while kind == "drips" and not self.server.over.wait(1):
                self.wfile.write(content[:10])
        except ConnectionError:
            pass

    def handle(self):
        try:
            super().handle()
        except (ssl.SSLError, ConnectionError):  # it hung up
            pass

    def do_GET(self):
        _, kind, rest = self.path.split("/", 2)
        self.server.asked.setdefault(kind, []).append(self.path)
        path = os.path.join(self.server.root, urllib.parse.unquote(rest))
        if kind in ("loop", "moved", "file"):
            to = {"loop": self.path, "moved": f"/files/{rest}", "file": f"file:///{rest}"}[kind]
            self.answer(302, {"Location": to})
        elif kind == "silent":
            self.server.over.wait()
        elif kind == "fails":
            self.answer(500, {}, b"on fire")
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
            if kind == "wrong":
                first, last = first + 1, last + 1
            if kind in ("drips", "short"):
                self.stop_half_way(kind, first, last, bytes(content))
                return
            self.answer(206, {"Content-Range": f"bytes {first}-{last}/{os.path.getsize(path)}"}, bytes(content))


class Web:
    def __init__(self, root, certificate=None):
        """certificate: a PEM file with its key, for https."""
        self.scheme = "https" if certificate else "http"
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.root, self.server.asked, self.server.over = root, {}, threading.Event()
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, kind, rest=""):
        return f"{self.scheme}://{self.host}/{kind}/{rest}"

    @property
    def host(self):
        return f"127.0.0.1:{self.server.server_port}"

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


NO_USE = {
    "silent": "it sends less than 1024 bytes per second",
    "drips": "it sends less than 1024 bytes per second",
    "short": "its answer is too short",
    "wrong": "it gives another range than it was asked for",
    "fails": "it answers 500",
    "https": "its certificate is not of an authority known here, or of another host",
}


def self_signed(lab):
    path = lab.path("self-signed.pem")
    lab.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", path)
    return path


def web_seeds(node, link):
    """As `list --peers` tells them, by host."""
    return {seed["host"]: seed for seed in json.loads(node.cli("list", "--peers", link, "--json").stdout)["web_seeds"]}


def bad_beside_peers(lab, web, bad, a, b):
    """All of them at once beside a peer: what they hold up it sends."""
    path = lab.make_file("web/beside.img", 6_000_001, seed=5)
    link = a.share(path, *(word for kind, one in bad.items() for word in ("--web-seed", one.url(kind))))
    into = lab.make_folder("in beside")
    b.cli("fetch", link, "--to", into, "--peer", a.address)
    assert same_content(path, os.path.join(into, "beside.img"))
    seeds = web_seeds(b, link)
    assert all(seeds[one.host]["why"] == "everything is here" for one in bad.values()), seeds
    a.cli("remove", link)
    b.cli("remove", link)


def bad_alone(lab, web, bad, b):
    """Alone they give nothing, and each is listed with the reason; a good one beside them gives all."""
    path = lab.make_file("web/alone.img", 6_000_001, seed=6)
    into = lab.make_folder("in alone")
    file = torrent(lab, "alone.img", [("alone.img", read(path))], [one.url(kind).encode() for kind, one in bad.items()])
    fetch = b.start_cli("fetch", file, "--to", into)
    link = wait_for("it to be begun", lambda: b.transfers() and b.transfers()[0]["infohash"])
    told = {}

    def all_told():
        for kind, one in bad.items():
            seed = web_seeds(b, link).get(one.host, {})
            if seed.get("state") == "resting" and "; asked again in " in seed["why"]:
                told[kind] = seed["why"].split(";")[0]
        return len(told) == len(bad)

    wait_for("why each gives nothing", all_told)
    assert told == NO_USE, told
    text = b.cli("list", "--peers", link).stdout.decode()
    assert all(one.host in text for one in bad.values()) and text.count("web seed") == len(bad), text
    got = b.transfers()[0]
    assert got["state"] == "fetching" and got["have_bytes"] == 0, got
    fetch.terminate()
    fetch.wait()
    b.cli("remove", link)

    file = torrent(lab, "alone.img", [("alone.img", read(path))],
                   [one.url(kind).encode() for kind, one in bad.items()] + [web.url("files").encode()])
    b.cli("fetch", file, "--to", into)
    assert same_content(path, os.path.join(into, "alone.img"))
    seed = web_seeds(b, link)[web.host]
    assert seed["received_bytes"] > 5_000_000, seed
    b.cli("remove", link)


with Lab() as lab:
    web = Web(lab.make_folder("web"))
    a, b = lab.node("a"), lab.node("b")
    a.up()
    b.up(bootstrap=a)
    one_file(lab, web, b)
    folder(lab, web, b)
    bad = {kind: Web(web.server.root, self_signed(lab) if kind == "https" else None) for kind in NO_USE}
    bad_beside_peers(lab, web, bad, a, b)
    bad_alone(lab, web, bad, b)
    for one in bad.values():
        one.server.over.set()
    of_no_use(lab, web, a, b)
    b.kill_service("swarm")
    wait_for("it to be taken up again", lambda: b.transfers() and b.transfers()[0]["state"] == "seeding")
print("web seeds: alone, in a folder, and those of no use, beside peers and by themselves")
