"""The rivals of tests/bench/swarm, each as it is best on a local net: plain TCP without encryption, no
limits, told of all the others at once."""

import base64
import http.client
import json
import os
import subprocess
import sys

from swarm_clients import Client


# ---- libtorrent, told what to do line by line ----

def be_libtorrent(address, port, mode):
    """uTP and encryption off, uploads unlimited and big send buffers: as EZIO and its users set it. Peers
    on private addresses it exempts from choking slots by itself."""
    import libtorrent as lt
    session = lt.session({
        "listen_interfaces": f"{address}:{port}{'s' if mode == 'tls' else ''}", "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
        "enable_natpmp": False, "allow_multiple_connections_per_ip": True, "enable_outgoing_utp": False,
        "enable_incoming_utp": False, "in_enc_policy": 2, "out_enc_policy": 2, "unchoke_slots_limit": -1,
        "connections_limit": 1000, "connection_speed": 200, "torrent_connect_boost": 200,
        "min_reconnect_time": 2})
    handle = None
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "add":
            flags = lt.torrent_flags.default_flags & ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
            if rest[2] == "origin" and mode == "super":
                flags |= lt.torrent_flags.super_seeding
            handle = session.add_torrent({"ti": lt.torrent_info(rest[0]), "save_path": rest[1], "flags": flags})
            if mode == "tls":
                handle.set_ssl_certificate(rest[3], rest[4], "")
        elif word == "connect":
            handle.connect_peer((rest[0], int(rest[1])))
        status = handle.status()
        print("yes" if status.is_seeding else "no", status.total_payload_upload,
              status.total_redundant_bytes + status.total_failed_bytes, flush=True)


class Libtorrent(Client):
    name = "libtorrent"
    mode = "plain"

    def start(self):
        self.run(sys.executable, os.path.abspath(__file__), self.place.address, self.place.port, self.mode,
                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def seed(self):
        self.tell(f"add {self.lab.torrent_path} {os.path.dirname(self.lab.file)} origin")
        self.lab.wait(self.poll, "libtorrent's origin")

    def fetch(self, others):
        self.tell(f"add {self.lab.torrent_path} {self.target} peer")
        self.meet(others)

    def meet(self, others):
        for other in others:
            self.tell(f"connect {other.place.address} {other.place.port}")

    def poll(self):
        return self.tell("ask")[0] == "yes"

    def figures(self):
        _, sent, waste = self.tell("ask")
        return {"sent": int(sent), "waste": int(waste)}


class LibtorrentTls(Libtorrent):
    """Its SSL torrents. Neither sends its intermediate, so their leaf is the root's own, and not of the network
    of the others."""
    name = "libtorrent, TLS"
    mode = "tls"

    def __init__(self, lab, place, number):
        super().__init__(lab, place, number)
        self.torrent_path = lab.torrent_path + ".tls"
        self.certificates = os.path.join(lab.parent, "libtorrent-tls")
        if not os.path.exists(self.certificates):
            os.mkdir(self.certificates)
            self.make_certificates()

    def file(self, name):
        return os.path.join(self.certificates, name)

    def make_certificates(self):
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "7"]
        subprocess.run([*new, "-subj", "/CN=root", "-keyout", self.file("root.key"), "-out", self.file("root.pem")],
                       check=True, capture_output=True)
        subprocess.run([*new, "-subj", "/CN=leaf", "-CA", self.file("root.pem"), "-CAkey", self.file("root.key"),
                        "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=DNS:*",
                        "-keyout", self.file("leaf.key"), "-out", self.file("leaf.pem")],
                       check=True, capture_output=True)

    def write_torrent(self):
        import libtorrent as lt
        with open(self.lab.torrent_path, "rb") as file:
            torrent = lt.bdecode(file.read())
        with open(self.file("root.pem"), "rb") as file:
            torrent[b"info"][b"ssl-cert"] = file.read()
        with open(self.torrent_path, "wb") as file:
            file.write(lt.bencode(torrent))

    def add(self, folder, role):
        self.tell(f"add {self.torrent_path} {folder} {role} {self.file('leaf.pem')} {self.file('leaf.key')}")

    def seed(self):
        self.write_torrent()
        self.add(os.path.dirname(self.lab.file), "origin")
        self.lab.wait(self.poll, "libtorrent's origin")

    def fetch(self, others):
        self.add(self.target, "peer")
        self.meet(others)


class LibtorrentSuper(Libtorrent):
    """The origin super-seeds (BEP 16)."""
    name = "libtorrent, super-seeding"
    mode = "super"


# ---- rivals with an RPC over HTTP ----

class OverHttp(Client):
    def post(self, port, path, body, headers=None):
        connection = http.client.HTTPConnection(self.place.address, port)
        connection.sock = self.place.socket()
        connection.sock.settimeout(20)
        try:
            connection.sock.connect((self.place.address, port))
            connection.request("POST", path, json.dumps(body), headers or {})
            reply = connection.getresponse()
            return reply, reply.read()
        finally:
            connection.close()

    def ready(self):
        try:
            self.greet()
            return True
        except (OSError, http.client.HTTPException, KeyError):
            return False


class Transmission(OverHttp):
    """transmission-daemon: uTP, DHT and encryption off, as many slots as there are peers, the tracker and PEX
    for the others. After SIGKILL it loads its torrent by itself."""
    name = "transmission"
    tracked = True

    def start(self):
        settings = {
            "bind-address-ipv4": self.place.address, "bind-address-ipv6": "::1", "peer-port": self.place.port,
            "dht-enabled": False, "lpd-enabled": True, "pex-enabled": True, "utp-enabled": False,
            "port-forwarding-enabled": False, "encryption": 0, "cache-size-mb": 16, "preallocation": 1,
            "download-dir": os.path.dirname(self.lab.file) if self.number == 0 else self.target,
            "peer-limit-global": 1000, "peer-limit-per-torrent": 500, "upload-slots-per-torrent": 100,
            "rpc-bind-address": self.place.address, "rpc-port": 9091, "rpc-whitelist-enabled": False,
            "rpc-host-whitelist-enabled": False, "trash-original-torrent-files": False}
        with open(os.path.join(self.folder, "settings.json"), "w") as file:
            json.dump(settings, file)
        self.session = ""
        self.run("transmission-daemon", "--foreground", "--config-dir", self.folder)

    def greet(self):
        reply, _ = self.post(9091, "/transmission/rpc", {"method": "session-get"})
        self.session = reply.headers["X-Transmission-Session-Id"] or self.session

    def call(self, method, **arguments):
        _, body = self.post(9091, "/transmission/rpc", {"method": method, "arguments": arguments},
                            {"X-Transmission-Session-Id": self.session})
        return json.loads(body)["arguments"]

    def seed(self):
        self.call("torrent-add", filename=self.lab.torrent_path)
        self.lab.wait(self.poll, "transmission's origin")

    def fetch(self, others):
        self.call("torrent-add", filename=self.lab.torrent_path)

    def again(self):
        self.start()
        self.lab.wait(self.ready, f"transmission {self.number}")

    def status(self):
        torrents = self.call("torrent-get", fields=[
            "leftUntilDone", "percentDone", "uploadedEver", "downloadedEver", "corruptEver", "haveValid", "status"])
        return torrents["torrents"][0] if torrents["torrents"] else None

    def poll(self):
        status = self.status()
        return status is not None and status["percentDone"] == 1 and status["status"] == 6

    def figures(self):
        status = self.status()
        if status is None:
            return super().figures()
        waste = max(0, status["downloadedEver"] - status["haveValid"]) if self.number else 0
        return {"sent": status["uploadedEver"], "waste": waste}


class Aria2(OverHttp):
    """aria2c: no encryption, no DHT, any number of peers however fast it is already, the tracker, PEX and local
    discovery for the others. It saves its state each second, and checks what is there after SIGKILL."""
    name = "aria2"
    tracked = True

    def start(self):
        self.gid = None
        self.run("aria2c", "--no-conf", "--enable-rpc", "--rpc-listen-all", "--rpc-listen-port=6800",
                 "--interface", self.place.address, "--listen-port", self.place.port, "--enable-dht=false", "--enable-dht6=false",
                 "--bt-enable-lpd=true", "--bt-lpd-interface", self.place.address, "--enable-peer-exchange=true",
                 "--bt-max-peers=0", "--bt-request-peer-speed-limit=1000M", "--seed-ratio=0.0", "--bt-tracker-interval=5",
                 "--check-integrity=true", "--auto-save-interval=1", "--file-allocation=none", "--disk-cache=64M",
                 "--quiet=true", "--summary-interval=0", "--dir", self.target)

    def greet(self):
        self.call("getVersion")

    def call(self, method, *arguments):
        _, body = self.post(6800, "/jsonrpc", {"jsonrpc": "2.0", "id": 1, "method": f"aria2.{method}",
                                               "params": list(arguments)})
        return json.loads(body)["result"]

    def add(self, folder):
        with open(self.lab.torrent_path, "rb") as file:
            data = base64.b64encode(file.read()).decode()
        self.gid = self.call("addTorrent", data, [], {"dir": folder})

    def seed(self):
        self.add(os.path.dirname(self.lab.file))
        self.lab.wait(self.poll, "aria2's origin")

    def fetch(self, others):
        self.add(self.target)

    def status(self):
        return self.call("tellStatus", self.gid, ["status", "completedLength", "totalLength", "uploadLength", "seeder"])

    def poll(self):
        status = self.status()
        return status.get("seeder") == "true" and status["completedLength"] == status["totalLength"]

    def figures(self):
        return {"sent": int(self.status()["uploadLength"]), "waste": None}


if __name__ == "__main__":
    be_libtorrent(sys.argv[1], int(sys.argv[2]), sys.argv[3])
