"""Rows of tests/bench/swarm --workers: what lb-swarm seeds by its number of workers, one torrent in demand.

Peers of this file ask for blocks and throw them away: four processes, each at one worker in turn. The rows of
`the machine` are as many processes that only read the file and send it, to the same four. So the cores are shared
in the same way by both, and where senders and peers together want more than there are, both stop growing.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import time

from swarm_clients import BIN, cpu_of
from swarm_net import wait_until

PEERS = 4
SECONDS = 3.0
BLOCK = 16384
DEPTH = 200  # requests under way; BEP 10 lets a client without `reqq` have 250
CHUNK = 1 << 20


# ---- a peer: a process of its own ----

def receive(link, size):
    data = b""
    while len(data) < size:
        more = link.recv(size - len(data))
        if not more:
            raise ConnectionError("closed")
        data += more
    return data


def connect(port, infohash):
    """Until the worker serves the torrent: mirrors come once it is in demand."""
    links = []

    def attempt():
        try:
            link = socket.create_connection(("127.0.0.1", port), timeout=10)
            link.sendall(b"\x13BitTorrent protocol" + bytes(8) + infohash + b"-BB0001-" + os.urandom(12))
            receive(link, 68)
            links.append(link)
        except OSError:
            pass
        return links

    wait_until(attempt, 60, f"the worker at port {port}")
    return links[0]


class Requests:
    """One block after another, from a piece of one's own on, over and over."""

    def __init__(self, size, piece, start):
        self.size, self.piece = size, piece
        self.at = start // piece * piece

    def more(self, count):
        messages = []
        for _ in range(count):
            length = min(BLOCK, self.piece - self.at % self.piece, self.size - self.at)
            messages.append(struct.pack(">IBIII", 13, 6, self.at // self.piece, self.at % self.piece, length))
            self.at = (self.at + length) % self.size
        return b"".join(messages)


def peer(port, infohash, size, piece, start):
    link = connect(port, bytes.fromhex(infohash))
    requests = Requests(size, piece, start)
    link.sendall(struct.pack(">IB", 1, 2))  # interested
    buffer, filled, total, began = bytearray(2 * CHUNK), 0, 0, None
    print("connected", flush=True)
    sys.stdin.readline()  # all together
    cpu, started = time.process_time(), time.monotonic()
    while (now := time.monotonic()) - started < SECONDS or began is None:
        got = link.recv_into(memoryview(buffer)[filled:])
        if got == 0:
            break
        filled += got
        at = done = 0
        while filled - at >= 5:
            length = int.from_bytes(buffer[at:at + 4], "big")
            if filled - at < 4 + length:
                break
            if length > 0 and buffer[at + 4] == 1 and began is None:  # unchoked
                began = now
                link.sendall(requests.more(DEPTH))
            elif length > 0 and buffer[at + 4] == 7:
                total += length - 9
                done += 1
            at += 4 + length
        buffer[:filled - at] = buffer[at:filled]
        filled -= at
        if done:
            link.sendall(requests.more(done))
    report(total, now - started, cpu)


def report(total, seconds, cpu):
    print(json.dumps({"mb_s": total / seconds / 1e6, "cpu": time.process_time() - cpu}), flush=True)


def bare_peer(port):
    link = socket.create_connection(("127.0.0.1", port))
    buffer, total = bytearray(CHUNK), 0
    print("connected", flush=True)
    sys.stdin.readline()
    link.sendall(b"x")
    cpu, started = time.process_time(), time.monotonic()
    while (now := time.monotonic()) - started < SECONDS:
        total += link.recv_into(buffer)
    report(total, now - started, cpu)


def bare_sender(path, count):
    """A worker's bare work: read and send, to its peers in turn."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    links = [listener.accept()[0] for _ in range(count)]
    for link in links:
        link.recv(1)
    buffer = memoryview(bytearray(CHUNK))
    with open(path, "rb", buffering=0) as file:
        while links:
            size = file.readinto(buffer)
            if size == 0:
                file.seek(0)
            for link in list(links):
                try:
                    link.sendall(buffer[:size])
                except OSError:
                    links.remove(link)


# ---- rows ----

def start(*arguments):
    return subprocess.Popen([sys.executable, os.path.abspath(__file__), *map(str, arguments)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)


def measure(name, workers, peers, cpu_now):
    for process in peers:
        assert process.stdout.readline().strip() == "connected"
    before = cpu_now()
    for process in peers:
        process.stdin.write("\n")
        process.stdin.flush()
    results = [json.loads(process.stdout.readline()) for process in peers]
    used = cpu_now() - before
    mb_s = sum(row["mb_s"] for row in results)
    for process in peers:
        process.communicate()
    return {"client": name, "workers": workers, "mb_s": mb_s, "cpu_s_per_gb": used / (mb_s * SECONDS / 1e3),
            "peers_cpu_s_per_gb": sum(row["cpu"] for row in results) / (mb_s * SECONDS / 1e3)}


def machine(path, workers):
    per = [PEERS // workers + (number < PEERS % workers) for number in range(workers)]
    senders = [start("sender", path, count) for count in per]
    ports = [int(sender.stdout.readline()) for sender in senders]
    try:
        peers = [start("bare", ports[number % workers]) for number in range(PEERS)]
        return measure("the machine", workers, peers, lambda: sum(cpu_of(sender.pid) for sender in senders))
    finally:
        for sender in senders:
            sender.kill()
            sender.communicate()


class Seeder:
    """A node whose lb-swarm has so many workers."""

    def __init__(self, folder, path, workers, port):
        self.folder, self.path, self.workers = folder, path, workers
        self.run("littlebird", "up", "--listen", f"127.0.0.1:{port}", "--detach", "--set", f"swarm.workers={workers}",
                 "--set", "swarm.hot_rate=none", "--set", "swarm.local_discovery=no", "--set", "swarm.upload_slots=16")

    def run(self, program, command, *arguments):
        done = subprocess.run([os.path.join(BIN, program), command, "--dir", self.folder, *arguments],
                              capture_output=True, text=True, check=True)
        return done.stdout

    def share(self):
        self.run("littlebird", "share", self.path)
        return json.loads(self.run("littlebird", "list", "--json"))["transfers"][0]["infohash"]

    def processes(self):
        rows = json.loads(self.run("lb-admin", "status", "--json"))["services"]
        return [row for row in rows if row["service"] == "swarm" and row["pid"]]

    def measure(self, size, piece):
        infohash = self.share()
        rows = self.processes()
        assert len(rows) == self.workers
        ports = [row["counters"]["tcp_port"] for row in rows]
        owner = int(infohash[:4], 16) * self.workers // 65536
        ports = ports[owner:] + ports[:owner]  # the owner first: by it the others hear of the demand
        peers = [start("peer", ports[number % self.workers], infohash, size, piece, size * number // PEERS)
                 for number in range(PEERS)]
        return measure("Littlebird", self.workers, peers, lambda: sum(cpu_of(row["pid"]) for row in rows))

    def down(self):
        subprocess.run([os.path.join(BIN, "littlebird"), "down", "--dir", self.folder], capture_output=True)


def rows(lab, counts, free_port):
    piece = 1 << 14
    while lab.size / piece > 4096 and piece < 1 << 22:  # as create.h chooses
        piece *= 2
    for workers in counts:
        yield machine(lab.file, workers)
        folder = os.path.join(lab.parent, f"workers{workers}")
        os.makedirs(folder)
        seeder = Seeder(folder, lab.file, workers, free_port())
        try:
            yield seeder.measure(lab.size, piece)
        finally:
            seeder.down()


def print_head():
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {PEERS} peers")
    print(f"{'':<14}{'workers':>8}{'MB/s':>8}{'CPU-s/GB':>10}{'of peers':>10}")


def print_row(row):
    print(f"{row['client']:<14}{row['workers']:>8}{row['mb_s']:>8.0f}{row['cpu_s_per_gb']:>10.2f}"
          f"{row['peers_cpu_s_per_gb']:>10.2f}", flush=True)


if __name__ == "__main__":
    role, *given = sys.argv[1:]
    if role == "peer":
        peer(int(given[0]), given[1], *map(int, given[2:]))
    elif role == "bare":
        bare_peer(int(given[0]))
    else:
        bare_sender(given[0], int(given[1]))
