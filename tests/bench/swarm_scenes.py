"""One row of tests/bench/swarm over shaped links: a client, a scene, from the first fetch to the last finish.

All that decides is read from outside, and so alike for every client: what its link carried.
"""

import concurrent.futures
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time

from swarm_clients import remove
from swarm_net import Net, tcp_segments, wait_until

here = os.path.dirname(os.path.abspath(__file__))
FIRST_BYTES = 32768   # on its link: the first block came, not merely greetings
STUCK_S = 60          # nobody who lacks something got as much as 0.5 % of the file: it is given up
FLASH_S = 10
TICK_S = 0.05
LOOK_S = 2.0          # at the memory
TRACKER_PORT = 6969
CHUNK = 1000 * 1000
ISLAND = 16  # bytes in each CHUNK of a sparse file: no piece is known without being fetched

SCENES = {
    "equal": "all links alike",
    "mix": "a third of the peers on a tenth of the rate",
    "slow": "one peer on a tenth of the rate",
    "third": "a third of the peers killed (SIGKILL) at half-way and started again at once",
    "origin": "the origin killed (SIGKILL) once --copies copies have left it",
    "flash": f"the peers come over {FLASH_S} s",
    "late": "two of the peers come when the others have 90 %",
}


def rates_of(scene, peers, mbit):
    slow = {"mix": range(2, peers, 3), "slow": [peers - 1]}.get(scene, [])
    return [mbit / 10 if number in slow else mbit for number in range(peers)]


def bound_s(size, origin_mbit, arrivals, rates, count):
    """No schedule brings `count` of the peers their copy sooner: max(F/u_s, F/d, N F/(u_s + sum u)), where who
    comes later downloads and uploads from then on. Rates of the raw links, one for both ways."""
    per_s = 1e6 / 8
    bound = size / (origin_mbit * per_s)
    for arrival, rate in list(zip(arrivals, rates))[:count]:
        bound = max(bound, arrival + size / (rate * per_s))
    low, high = 0.0, 1e6
    for _ in range(60):
        middle = (low + high) / 2
        given = origin_mbit * middle + sum(rate * max(0.0, middle - at) for at, rate in zip(arrivals, rates))
        low, high = (low, middle) if given * per_s >= count * size else (middle, high)
    return max(bound, high)


def memory_of(pid):
    """PSS and its anonymous part, bytes."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            fields = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in file if line.startswith("Pss")}
        return fields["Pss"], fields["Pss_Anon"]
    except (OSError, KeyError):
        return 0, 0


def held_s(pid):
    """How long the thread of it that waited longest was ready to run and not let (the kernel's run delay)."""
    most = 0.0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                most = max(most, int(file.read().split()[1]) / 1e9)
    except OSError:
        pass
    return most


def cpu_times():
    with open("/proc/stat") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return fields[3] + fields[4], sum(fields)


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha1").digest()


class Lab:
    """The file, its .torrent, and what is told to all clients."""

    def __init__(self, parent, megabytes, messages, sparse=False):
        self.parent, self.messages = tempfile.mkdtemp(prefix="lbb", dir=parent), messages
        self.size = int(megabytes * 1000 * 1000)
        self.file = os.path.join(self.parent, "data", "random.bin")
        os.mkdir(os.path.dirname(self.file))
        with open(self.file, "wb") as file:
            for at in range(0, self.size, CHUNK):
                file.seek(at)
                file.write(os.urandom(ISLAND if sparse else min(CHUNK, self.size - at)))
            file.truncate(self.size)
        self.digest = None if sparse else digest_of(self.file)
        self.torrent_path = os.path.join(self.parent, "it.torrent")
        self.folder, self.clients, self.infohash, self.torrent = None, [], None, None

    def is_same(self, path):
        """A sparse file is not read again: then only its size is compared."""
        return os.path.getsize(path) == self.size if self.digest is None else digest_of(path) == self.digest

    def wait(self, true, what):
        wait_until(true, 120, what)

    def keep_torrent(self):
        """For rivals: what Littlebird made, with our tracker in it."""
        import libtorrent as lt
        torrent = lt.bdecode(self.torrent)
        torrent[b"announce"] = f"http://{Net.GATE}:{TRACKER_PORT}/announce".encode()
        with open(self.torrent_path, "wb") as file:
            file.write(lt.bencode(torrent))

    def remove(self):
        remove(self.parent)


class Row:
    def __init__(self, lab, kind, scene, options):
        self.lab, self.kind, self.scene, self.options = lab, kind, scene, options
        self.rates = rates_of(scene, options.peers, options.mbit)
        self.net, self.tracker, self.clients = Net(), None, []
        self.pool = concurrent.futures.ThreadPoolExecutor(8)
        count = options.peers
        self.arrival, self.first, self.done = [None] * count, [None] * count, [None] * count
        self.notes, self.restarts, self.pss, self.pss_anon, self.acted = [], [], 0, 0, False
        self.others_sent = self.origin_waste = 0

    # ---- before ----

    def set_up(self):
        lab, net = self.lab, self.net
        lab.folder = tempfile.mkdtemp(prefix="row", dir=lab.parent)
        lab.clients = self.clients
        net.open()
        if self.kind.tracked:
            self.tracker = subprocess.Popen(
                ["ip", "netns", "exec", net.hub, sys.executable, os.path.join(here, "swarm_tracker.py"), net.GATE,
                 str(TRACKER_PORT)])
        for number, mbit in enumerate([self.options.mbit, *self.rates]):
            self.clients.append(self.kind(lab, net.add(mbit), number))
        self.origin, self.peers = self.clients[0], self.clients[1:]
        for client in self.clients:
            client.start()
        for client in self.clients:
            lab.wait(client.ready, f"{client.name} {client.number}")
        self.origin.seed()
        if self.tracker is not None:
            time.sleep(2)  # the origin is announced
        for client in self.clients:
            client.mark_idle()

    # ---- during ----

    def now(self):
        return time.monotonic() - self.began

    def arrive(self, numbers):
        """They are told to fetch, all at once; then those who are there are told of each other."""
        for number in numbers:
            self.arrival[number] = self.now()
        there = [self.peers[n] for n in range(len(self.peers)) if self.arrival[n] is not None]
        origin = [] if self.origin.process is None else [self.origin]
        list(self.pool.map(lambda number: self.peers[number].fetch(origin), numbers))
        for number in numbers:
            peer = self.peers[number]
            peer.others = origin + [other for other in there if other.number != peer.number]
        # Of two that came together the later one calls.
        list(self.pool.map(lambda number: self.peers[number].meet(
            [other for other in there if other.number < self.peers[number].number
             or self.arrival[other.number - 1] < self.arrival[number]]), numbers))

    def look_at_links(self):
        counted = self.net.counters()
        since = [counted[c.place.device][0] - self.zero[c.place.device][0] for c in self.peers]
        self.received = since
        self.origin_link = counted[self.origin.place.device][1] - self.zero[self.origin.place.device][1]
        for number, bytes_in in enumerate(since):
            if self.first[number] is None and self.arrival[number] is not None and bytes_in >= FIRST_BYTES:
                self.first[number] = self.now() - self.arrival[number]

    def progress(self, numbers):
        return sum(self.received[number] for number in numbers) / len(numbers) / self.lab.size

    def act(self):
        """What this scene has in store."""
        count = len(self.peers)
        if self.scene == "flash":
            due = [n for n in range(count) if self.arrival[n] is None and n * FLASH_S / max(1, count - 1) <= self.now()]
            if due:
                self.arrive(due)
        if self.acted:
            return
        if self.scene == "late" and self.progress(range(count - 2)) >= 0.9:
            self.acted = True
            self.arrive([count - 2, count - 1])
        elif self.scene == "third" and self.progress(range(count)) >= 0.5:
            self.acted = True
            victims = self.peers[1::3]
            for victim in victims:
                victim.kill()
            self.notes.append(f"{len(victims)} killed at {self.now():.1f} s")
            self.restarts = [self.pool.submit(victim.again) for victim in victims]
        elif self.scene == "origin" and self.origin_link >= self.options.copies * self.lab.size:
            self.acted = True
            self.remember_origin()
            self.origin.kill()
            self.notes.append(f"origin killed at {self.now():.1f} s")

    def remember_origin(self):
        try:
            self.origin_sent = self.origin.figures()["sent"]
        except (OSError, LookupError, RuntimeError):
            self.origin_sent = None

    def look_at_memory(self):
        if self.now() < self.next_look:
            return
        self.next_look = self.now() + LOOK_S
        seen = [[sum(part) for part in zip(*map(memory_of, peer.pids()))] for peer in self.peers if peer.process]
        seen = [pair for pair in seen if pair]
        if seen:
            self.pss = max(self.pss, statistics.mean(pair[0] for pair in seen))
            self.pss_anon = max(self.pss_anon, statistics.mean(pair[1] for pair in seen))

    def ask_finished(self):
        for number, peer in enumerate(self.peers):
            near = self.received[number] >= 0.98 * self.lab.size
            if self.done[number] is not None or not near or peer.process is None:
                continue
            if any(not restart.done() for restart in self.restarts):
                continue
            if peer.poll():
                self.done[number] = self.now()

    def is_stuck(self):
        lacking = [n for n, done in enumerate(self.done) if done is None]
        got = sum(self.received[n] for n in lacking)
        if len(lacking) != self.stand[1] or got - self.stand[0] > 0.005 * self.lab.size * len(lacking):
            self.stand, self.stand_at = (got, len(lacking)), self.now()
        return self.now() - self.stand_at > STUCK_S

    def quickest_s(self):
        return self.lab.size / (self.options.mbit * 1e6 / 8)

    def slowest_s(self):
        return self.lab.size / (min(self.rates) * 1e6 / 8)

    def measure(self):
        self.zero = self.net.counters()
        self.next_look, self.stand, self.stand_at = 1.0, (0, None), 0.0
        self.received, self.origin_sent, self.origin_link = [0] * len(self.peers), None, 0
        self.limit = self.options.limit or 30 + max(8 * self.quickest_s(), 1.5 * self.slowest_s())
        idle, held = cpu_times(), {pid: held_s(pid) for client in self.clients for pid in client.pids()}
        self.began = time.monotonic()
        at_once = {"flash": [], "late": range(len(self.peers) - 2)}.get(self.scene, range(len(self.peers)))
        self.arrive(list(at_once))
        while not all(self.done):
            self.look_at_links()
            self.act()
            self.ask_finished()
            self.look_at_memory()
            if self.now() > self.limit:
                self.notes.append(f"given up after {self.limit:.0f} s")
                break
            if self.is_stuck():
                self.notes.append(f"stuck at {self.stand_at:.0f} s")
                break
            time.sleep(TICK_S)
        self.took = self.now()
        self.look_at_links()
        now = cpu_times()
        self.held = statistics.mean(held_s(pid) - held[pid] for pid in held) / self.took
        self.idle = (now[0] - idle[0]) / max(1, now[1] - idle[1])
        for restart in self.restarts:
            if restart.done() and restart.exception():
                self.notes.append(f"restart failed: {restart.exception()}")

    # ---- after ----

    def sum_up(self):
        size, count = self.lab.size, len(self.peers)
        arrivals = [self.took if at is None else at for at in self.arrival]
        finished = sorted(done for done in self.done if done is not None)
        order = sorted(range(count), key=lambda n: -self.rates[n])
        bound = bound_s(size, self.options.mbit, arrivals, self.rates, count)
        used = sum(client.cpu_used() for client in self.clients)
        if self.origin.process is not None:
            self.remember_origin()
        wastes = [self.waste_of(peer) for peer in self.peers]
        sent, again = map(sum, zip(*(tcp_segments(c.process.pid) for c in self.clients if c.process)))
        row = {
            "client": self.kind.name, "scene": self.scene, "peers": count, "mbit": self.options.mbit, "bytes": size,
            "finished": len(finished), "bound_s": bound, "first_byte_s": max((f for f in self.first if f), default=None),
            "first_s": finished[0] if finished else None,
            "median_s": statistics.median(finished) if finished else None,
            "last_s": finished[-1] if len(finished) == count else None,
            "ratio": finished[-1] / bound if len(finished) == count else None,
            "copies": self.origin_sent / size if self.origin_sent is not None else None,
            "copies_link": self.origin_link / size, "cpu_s_per_gb": used / (size * count / 1e9),
            "pss_mb": self.pss / 1e6, "pss_anon_mb": self.pss_anon / 1e6,
            "waste": None if None in wastes else sum(wastes) / size / count,
            "received": sum(self.received) / size / count, "resent": again / max(1, sent), "idle": self.idle, "held": self.held,
            "done_s": self.done, "arrival_s": self.arrival, "load": os.getloadavg()[0]}
        if self.scene in ("mix", "slow"):
            self.notes += self.by_class(order, arrivals)
        if len(finished) < count:
            self.notes.insert(0, f"{len(finished)} of {count} finished")
        bad = [peer.number for peer, done in zip(self.peers, self.done) if done and not self.lab.is_same(peer.result())]
        if bad:
            self.notes.insert(0, f"NOT THE SAME BYTES: {bad}")
        row["note"] = "; ".join(self.notes)
        return row

    def by_class(self, order, arrivals):
        """The quick ones against the bound for them alone, the slow ones against theirs."""
        rates = sorted(set(self.rates), reverse=True)
        for rate in rates:
            of_it = [n for n in order if self.rates[n] == rate]
            first = of_it + [n for n in order if n not in of_it]
            bound = bound_s(self.lab.size, self.options.mbit, [arrivals[n] for n in first],
                            [self.rates[n] for n in first], len(of_it))
            times = [self.done[n] for n in of_it if self.done[n] is not None]
            last = f"{max(times) / bound:.2f} x {bound:.1f} s" if len(times) == len(of_it) else \
                f"{len(times)} of {len(of_it)} finished"
            yield f"{len(of_it)} on {rate:g} Mbit/s: {last}"

    def waste_of(self, peer):
        try:
            return peer.figures()["waste"] if peer.process is not None else 0
        except (OSError, LookupError, RuntimeError, TypeError):
            return None

    def tear_down(self):
        for client in self.clients:
            client.kill()
        if self.tracker is not None:
            self.tracker.kill()
            self.tracker.wait()
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.net.close()
        remove(self.lab.folder)

    def run(self):
        try:
            self.set_up()
            self.measure()
            return self.sum_up()
        finally:
            self.tear_down()
