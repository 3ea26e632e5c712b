"""Rows of tests/bench/swarm over loopback: the machine's limit, one to one, one to eight, and a big sparse file."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from swarm_clients import cpu_of, remove
from swarm_net import wait_until
from swarm_scenes import memory_of

LIMIT_S = 600
CHUNK = 256 * 1024


class Place:
    """A port of loopback."""
    prefix, address = [], "127.0.0.1"

    def __init__(self, port):
        self.port = port


def free_places(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    places = [Place(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return places


# ---- the machine ----

def send_file(path, port):
    with socket.create_connection(("127.0.0.1", port)) as to, open(path, "rb", buffering=0) as file:
        buffer = memoryview(bytearray(CHUNK))
        while size := file.readinto(buffer):
            to.sendall(buffer[:size])
    sys.stdin.read()  # its CPU time is read while it still lives


def run_machine(lab):
    """The bare work of one to one, in two processes: read, send, receive, SHA-1, write."""
    listener = socket.create_server(("127.0.0.1", 0))
    sender = subprocess.Popen([sys.executable, os.path.abspath(__file__), lab.file, str(listener.getsockname()[1])],
                              stdin=subprocess.PIPE)
    source, _ = listener.accept()
    before, started = time.process_time(), time.monotonic()
    buffer = memoryview(bytearray(CHUNK))
    digest = hashlib.sha1()
    with open(os.path.join(lab.parent, "bare"), "wb", buffering=0) as file:
        while size := source.recv_into(buffer):
            digest.update(buffer[:size])
            file.write(buffer[:size])
    took = time.monotonic() - started
    used = time.process_time() - before + cpu_of(sender.pid)
    sender.communicate()
    os.unlink(os.path.join(lab.parent, "bare"))
    return {"client": "the machine", "to": 1, "seconds": took, "mb_s": lab.size / took / 1e6,
            "cpu_s_per_gb": used / lab.size * 1e9, "note": ""}


# ---- peers ----

class Loopback:
    def __init__(self, lab, kind, fetchers):
        self.lab, self.kind, self.fetchers = lab, kind, fetchers
        self.peers = []

    def run(self):
        self.lab.folder = tempfile.mkdtemp(prefix="row", dir=self.lab.parent)
        self.lab.clients = self.peers
        try:
            self.set_up()
            return self.measure()
        finally:
            for peer in self.peers:
                peer.kill()
            remove(self.lab.folder)

    def set_up(self):
        for number, place in enumerate(free_places(self.fetchers + 1)):
            self.peers.append(self.kind(self.lab, place, number))
        for peer in self.peers:
            peer.start()
        for peer in self.peers:
            self.lab.wait(peer.ready, peer.name)
        self.peers[0].seed()
        for peer in self.peers:
            peer.mark_idle()

    def measure(self):
        started = time.monotonic()
        for number, peer in enumerate(self.peers[1:], 1):
            peer.fetch(self.peers[:number])
        waiting, most = self.peers[1:], 0
        limit = LIMIT_S + self.lab.size / 20e6
        while waiting and time.monotonic() - started < limit:
            waiting = [peer for peer in waiting if not peer.poll()]
            most = max([most] + [memory_of(peer.pids()[0])[0] for peer in self.peers])
            time.sleep(0.02)
        took = time.monotonic() - started
        used = sum(peer.cpu_used() for peer in self.peers)
        received = self.fetchers * self.lab.size
        good = not waiting and all(self.lab.is_same(peer.result()) for peer in self.peers[1:])
        return {"client": self.kind.name, "to": self.fetchers, "seconds": took, "mb_s": received / took / 1e6,
                "cpu_s_per_gb": used / received * 1e9, "pss_mb": most / 1e6,
                "note": self.on_disk() if good else "NOT COMPLETE"}

    def on_disk(self):
        """What a sparse file takes at the other end."""
        if self.lab.digest is not None:
            return ""
        return f"{os.stat(self.peers[1].result()).st_blocks * 512 / 1e9:.2f} GB on its disk"


def warm(lab, copies):
    """As many free pages that were touched before as a run needs."""
    os.sync()
    for number in range(copies):
        shutil.copy(lab.file, os.path.join(lab.parent, f"data/warm{number}"))
    for number in range(copies):
        os.unlink(os.path.join(lab.parent, f"data/warm{number}"))


def rows(lab, kinds):
    warm(lab, 2)
    yield run_machine(lab)
    for fetchers in (1, 8):
        for kind in kinds:
            warm(lab, fetchers)
            yield Loopback(lab, kind, fetchers).run()


def print_head():
    print(f"{'':<26}{'to':>3}{'seconds':>9}{'MB/s':>8}{'CPU-s/GB':>10}{'PSS MB':>8}")


def print_row(row):
    memory = f"{row['pss_mb']:>8.0f}" if "pss_mb" in row else " " * 8
    print(f"{row['client']:<26}{row['to']:>3}{row['seconds']:>9.2f}{row['mb_s']:>8.0f}{row['cpu_s_per_gb']:>10.2f}"
          f"{memory}  {row['note']}", flush=True)


if __name__ == "__main__":
    send_file(sys.argv[1], int(sys.argv[2]))
