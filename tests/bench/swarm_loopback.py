"""Rows of tests/bench/swarm over loopback: the machine's limit, one to one, one to eight, and a big sparse file."""

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

from swarm_clients import cpu_of, remove, switches_of
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


def run_machine(lab, pages):
    with pages.given_to([os.getpid()]):
        return run_bare(lab)


def run_bare(lab):
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


def aes_cpu_s_per_gb():
    """AES-128-GCM of one record of TLS after the other, encrypted and decrypted: what no TLS can do without."""
    done = subprocess.run(["openssl", "speed", "-mr", "-seconds", "2", "-bytes", "16384", "-evp",
                           "aes-128-gcm"], capture_output=True, text=True, check=True)
    per_s = next(float(line.split(":")[-1]) for line in done.stdout.splitlines() if line.startswith("+F:"))
    return 2 / per_s * 1e9


# ---- peers ----

class Loopback:
    def __init__(self, lab, kind, fetchers, pages):
        self.lab, self.kind, self.fetchers, self.pages = lab, kind, fetchers, pages
        self.peers = []

    def run(self):
        self.lab.folder = tempfile.mkdtemp(prefix="row", dir=self.lab.parent)
        self.lab.clients = self.peers
        try:
            self.set_up()
            with self.pages.given_to([pid for peer in self.peers for pid in peer.pids()]):
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

    def measure(self):
        for peer in self.peers:
            peer.mark_idle()
        switches = self.switches()
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
                "switches_per_gb": (self.switches() - switches) / received * 1e9,
                "note": self.on_disk() if good else "NOT COMPLETE"}

    def switches(self):
        return sum(switches_of(pid) for peer in self.peers for pid in peer.pids())

    def on_disk(self):
        """What a sparse file takes at the other end."""
        if self.lab.digest is not None:
            return ""
        return f"{os.stat(self.peers[1].result()).st_blocks * 512 / 1e9:.2f} GB on its disk"


class Pages:
    """Memory that was touched before. The host of a virtual machine takes back what lies free for seconds,
    and to be given it anew costs more time than all that is measured here. So what is free is kept in
    files of tmpfs, and given away bit by bit as the processes of a row write as much."""
    CHUNK = 16 * 1024 * 1024
    FREE = 16 * CHUNK   # is left
    OTHERS = 4 << 30    # and so much for others, with what the page cache could give up

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="lb-pages", dir="/dev/shm")
        self.count = 0
        self.content = os.urandom(1024) * (self.CHUNK // 1024)

    @staticmethod
    def memory(name):
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))

    def path(self):
        return os.path.join(self.folder, str(self.count))

    def take(self):
        while self.memory("MemFree") > self.FREE + self.CHUNK and self.memory("MemAvailable") > self.OTHERS:
            with open(self.path(), "wb") as file:
                file.write(self.content)
            self.count += 1

    def give(self):
        if self.count > 0:
            self.count -= 1
            os.unlink(self.path())

    def close(self):
        shutil.rmtree(self.folder)

    @contextlib.contextmanager
    def given_to(self, pids):
        os.sync()
        self.take()
        over = threading.Event()
        thread = threading.Thread(target=self.follow, args=(over, pids, written_by(pids)))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def follow(self, over, pids, given):
        while not over.wait(0.005):
            while written_by(pids) >= given:
                self.give()
                given += self.CHUNK
            if self.memory("MemAvailable") < self.OTHERS / 2:
                self.give()


def written_by(pids):
    """Bytes of pages made dirty."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/io") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("write_bytes"))
    return total


def rows(lab, kinds, counts):
    pages = Pages()
    try:
        yield run_machine(lab, pages)
        for fetchers in counts:
            for kind in kinds:
                yield Loopback(lab, kind, fetchers, pages).run()
    finally:
        pages.close()


def sparse_rows(lab, kinds):
    pages = Pages()
    try:
        for kind in kinds:
            yield Loopback(lab, kind, 1, pages).run()
    finally:
        pages.close()


def print_head():
    print(f"{'':<26}{'to':>3}{'seconds':>9}{'MB/s':>8}{'CPU-s/GB':>10}{'PSS MB':>8}{'waits/GB':>10}")


def print_row(row):
    more = f"{row['pss_mb']:>8.0f}{row['switches_per_gb']:>10.0f}" if "pss_mb" in row else " " * 18
    print(f"{row['client']:<26}{row['to']:>3}{row['seconds']:>9.2f}{row['mb_s']:>8.0f}{row['cpu_s_per_gb']:>10.2f}"
          f"{more}  {row['note']}", flush=True)


def print_tls(rows):
    """What TLS adds for each GB, in both processes, beside what its cipher costs."""
    limit = aes_cpu_s_per_gb()
    for name in dict.fromkeys(row["client"] for row in rows if row["client"].endswith(", TLS")):
        for to in dict.fromkeys(row["to"] for row in rows):
            inside, without = ([row["cpu_s_per_gb"] for row in rows if (row["client"], row["to"]) == (kind, to)]
                               for kind in (name, name.removesuffix(", TLS")))
            if inside and without:
                added = min(inside) - min(without)
                print(f"{name}, to {to}: adds {added:.2f} CPU-s/GB; AES-128-GCM itself, both ends, {limit:.2f}: "
                      f"{added / limit:.2f} times", flush=True)


if __name__ == "__main__":
    send_file(sys.argv[1], int(sys.argv[2]))
