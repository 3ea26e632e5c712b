#!/usr/bin/python3
"""Chaos: a node under queries, puts and transfers, while its processes are killed, hang, find no room on the disk and
no descriptors, and the supervisor itself is killed. Nothing that was acknowledged is lost, and nobody has to help.

usage: chaos_test.py [--seed N] [--long MINUTES]
  --seed N         what happens at random follows from N (default: drawn, and printed)
  --long MINUTES   go on with what is drawn for so long

Printed at the end: how long each fault kept a process from serving, from the kill to READY in the status page.
"""

import argparse
import contextlib
import os
import random
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import time

import status_page
from bencode import decode, encode
from chaos_load import Transfers, Values
from load import Askers, Threads
from node import Lab, fail, is_gone, wait_for

WORKERS = 2  # of transport, storage and swarm
SERVICES = [("routing", 0), ("gateway", 0),
            *((name, i) for name in ("transport", "storage", "swarm") for i in range(WORKERS))]
SERVES = ("ready", "degraded")
ASKERS, AGAIN_S = 8, 0.2  # who is not answered for so long asks again
UNANSWERED_S = 60  # by then a service that was killed, hung or starved serves again, even on a busy machine
DRAWN = 8  # faults, unless it is to be long
KILLS_MAX, KILLS_WINDOW_S = 4, 31  # the fifth end in 30 s is a crash loop: lifecycle.h
STARVED_S, FULL_S = 1.0, 1.5
DISK_SIZE = "48m"
GOAL_MS = 1000  # DESIGN 9: serving again


class Victim:
    """A node and what is done to it."""

    def __init__(self, node, source):
        self.node, self.random, self.run_folder = node, source, os.path.join(node.dir, "run")
        self.times_ms, self.ended, self.starved = {}, {}, []
        self.disk, self.began = None, time.monotonic()

    def slot(self, process):
        return status_page.read_slot(self.run_folder, *process)

    def say(self, text):
        print(f"{time.monotonic() - self.began:6.2f} s  {text}", flush=True)

    def await_others(self, what, before, since, limit_s=60):
        """Until each process has another pid and serves; how long it took."""
        waiting, end = set(before), time.monotonic() + limit_s
        while waiting:
            for process in sorted(waiting):
                slot = self.slot(process)
                if slot["pid"] not in (0, before[process]) and slot["state"] in SERVES:
                    took_ms = (time.monotonic() - since) * 1000
                    first = slot["restarts"] <= 1
                    self.times_ms.setdefault((what, first), []).append((took_ms, process))
                    self.say(f"{process[0]}-{process[1]} {what}, serves again after {took_ms:.0f} ms")
                    waiting.discard(process)
            if time.monotonic() > end:
                fail(f"{what}: {sorted(waiting)} do not serve again: {[self.slot(p) for p in sorted(waiting)]}")
            time.sleep(0.002)

    def may_end(self, process):
        now = time.monotonic()
        recent = [at for at in self.ended.get(process, []) if now - at < KILLS_WINDOW_S]
        self.ended[process] = recent
        return len(recent) < KILLS_MAX

    def signal(self, what, number, processes):
        processes = [process for process in processes if self.may_end(process)]
        before = {process: self.slot(process)["pid"] for process in processes}
        since = time.monotonic()
        for process in processes:
            self.ended[process].append(since)
            os.kill(before[process], number)
        self.await_others(what, before, since)

    def kill(self, *processes):
        self.signal("killed", signal.SIGKILL, processes)

    def hang(self, *processes):
        self.signal("hung", signal.SIGSTOP, processes)

    def starve(self, *processes):
        """No descriptor more than it has; a process that ends of it serves again as after any end."""
        before, since = {}, time.monotonic()
        self.say("no descriptors for " + ", ".join(f"{name}-{i}" for name, i in processes))
        for process in processes:
            pid = self.slot(process)["pid"]
            before[process] = pid, resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE,
                             (len(os.listdir(f"/proc/{pid}/fd")), before[process][1][1]))
        time.sleep(STARVED_S)
        for process, (pid, limits) in before.items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
            if self.slot(process)["pid"] != pid:
                self.say(f"{process[0]}-{process[1]} ended: " + " | ".join(
                    line for line in self.node.log().splitlines()[-60:]
                    if "src/" in line or "ended" in line or "Assert" in line or "abort" in line))
                self.starved.append(process)
                self.ended.setdefault(process, []).append(since)
                self.await_others("without descriptors", {process: pid}, since)

    @contextlib.contextmanager
    def full_disk(self):
        if not self.disk:
            yield
            return
        filler = os.path.join(self.disk, "filler")
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while file.write(bytes(1 << 16)):
                pass
        self.say(f"the disk is full: {shutil.disk_usage(self.disk).free} bytes are free")
        try:
            time.sleep(FULL_S)
            yield
        finally:
            os.unlink(filler)

    def kill_supervisor(self):
        pid = self.slot(("supervisor", 0))["pid"]
        before = {process: self.slot(process)["pid"] for process in SERVICES}
        since = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        wait_for("the end of the supervisor", lambda: is_gone(pid), pause_s=0.001)
        self.node.up()  # as systemd, or whoever started it, would
        self.await_others("supervisor killed, started again", before, since)
        self.ended.clear()

    def draw(self):
        """One fault, or two at once."""
        fault = self.random.choices((self.kill, self.hang, self.starve), (8, 1, 1))[0]
        fault(*self.random.sample(SERVICES, self.random.choice((1, 1, 2, 3))))
        time.sleep(self.random.random() / 4)


def small_disk(victim, stack):
    """The state of the node on a disk of its own; unmounted when the node is gone."""
    folder = os.path.join(victim.node.dir, "data")
    os.mkdir(folder)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", folder],
                      capture_output=True).returncode != 0:
        print("a full disk is not tried: no small file system can be mounted here")
        return

    def unmount():
        subprocess.run(["umount", "-l", folder], check=True)
        shutil.rmtree(victim.node.lab.folder, ignore_errors=True)

    stack.callback(unmount)
    victim.disk = folder


def check_ports(node):
    """UDP answers whatever worker the kernel chooses, TCP every worker of swarm."""
    for i in range(1, 17):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.bind((f"127.2.{i}.{i}", 0))
            asker.connect((node.host, node.port))
            asker.settimeout(20)
            asker.send(encode({"t": b"aa", "y": b"q", "q": b"ping", "a": {"id": b"abcdefghij0123456789"}}))
            assert decode(asker.recv(2048))["y"] == b"r"
    rows = [row for row in node.status() if row["service"] == "swarm" and row["pid"]]
    ports = {row["counters"]["tcp_port"] for row in rows}
    assert len(ports) == WORKERS and node.port in ports, ports
    for port in ports:
        socket.create_connection((node.host, port), 20).close()


def print_times(victim):
    print(f"{'from the fault to READY, ms':<36} {'n':>4} {'min':>6} {'median':>6} {'p90':>6} {'max':>6}")
    for (what, first), rows in sorted(victim.times_ms.items(), key=lambda item: (item[0][0], not item[0][1])):
        times = sorted(took_ms for took_ms, _ in rows)
        p90 = times[min(len(times) - 1, len(times) * 9 // 10)]
        print(f"{what + (', first time' if first else ', again'):<36} {len(times):>4} {times[0]:>6.0f} "
              f"{statistics.median(times):>6.0f} {p90:>6.0f} {times[-1]:>6.0f}")
        if what == "killed":
            for took_ms, process in sorted(row for row in rows if row[0] > GOAL_MS):
                print(f"    over {GOAL_MS} ms: {process[0]}-{process[1]} {took_ms:.0f}")
    if victim.starved:
        print("ended without descriptors: " + ", ".join(f"{name}-{i}" for name, i in victim.starved))


def in_turn(victim):
    for process in SERVICES:
        victim.kill(process)
        time.sleep(0.1)
    victim.hang(*SERVICES[::2])
    victim.starve(*SERVICES[:4])
    victim.starve(*SERVICES[4:])
    with victim.full_disk():
        victim.kill(("storage", 0), ("swarm", 0))
    victim.kill_supervisor()
    victim.hang(*SERVICES[1::2])


def chaos(options, lab, after):
    """What is put on `after` is done once the lab is gone."""
    a, b = lab.node("a"), lab.node("b", host="127.0.0.2")
    for node in (a, b):
        with open(os.path.join(node.dir, "littlebird.conf"), "a") as file:
            file.write("[supervisor]\nwatchdog = 3s\n" +
                       "".join(f"[{name}]\nworkers = {WORKERS}\n" for name in ("transport", "storage", "swarm")))
    victim = Victim(a, random.Random(options.seed))
    small_disk(victim, after)
    a.up()
    b.up(bootstrap=a)
    wait_for("the two to know each other", lambda: a.contacts() and b.contacts())
    load, askers = Threads(), Askers(a, ASKERS, UNANSWERED_S, AGAIN_S)
    values, transfers = [Values(node) for node in (a, b)], [Transfers(lab, a, b), Transfers(lab, b, a)]
    load.start(askers.run, load.over)
    for work in (*values, *transfers):
        load.start(work.run, load.over)
    try:
        in_turn(victim)
        end = time.monotonic() + options.long * 60
        drawn = 0
        while drawn < DRAWN or time.monotonic() < end:
            assert not load.over.is_set(), load.problems
            victim.draw()
            drawn += 1
    finally:
        load.stop()
    for node in (a, b):
        node.await_well("without anybody's help")
    for work in values:
        work.check((a, b))
    for work in transfers:
        work.check()
    check_ports(a)
    print_times(victim)
    print(f"{askers.answered} queries answered, one waited {askers.longest_s:.1f} s at most; "
          f"{sum(len(work.acknowledged) for work in values)} values acknowledged and read, "
          f"{sum(work.refused for work in values)} refused; {sum(work.done for work in transfers)} transfers, all whole")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--long", type=float, default=0, metavar="MINUTES")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with contextlib.ExitStack() as after, Lab() as lab:
        chaos(options, lab, after)


main()
