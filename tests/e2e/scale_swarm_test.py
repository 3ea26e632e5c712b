#!/usr/bin/python3
"""lb-swarm grows and shrinks under its transfers: each has one owner by the rule, is listed once, goes on where
it was, and comes out whole; whatever is killed meanwhile. A torrent in demand is served by all workers."""

import json
import os
import signal
import threading

from node import Lab, fail, same_content, wait_for

FILES, SIZE = 6, 2_000_000
PACE = "3 MB/s"


def hashes(node):
    return sorted(row["infohash"] for row in node.transfers())


def owner(infohash, workers):
    return int(infohash[:4], 16) * workers // 65536


def counters(node):
    return [row["counters"] | {"instance": row["instance"], "pid": row["pid"]}
            for row in node.status() if row["service"] == "swarm" and row["pid"]]


def await_owners(node, infohashes, workers):
    """Each worker has what the rule gives it, and nobody anything else."""
    wanted = [0] * workers
    for infohash in infohashes:
        wanted[owner(infohash, workers)] += 1

    def are_there():
        have = {row["instance"]: row.get("transfers", 0) for row in counters(node)}
        return have == dict(enumerate(wanted))

    wait_for(f"{workers} workers of {node.name} to have {wanted}", are_there)
    assert hashes(node) == sorted(infohashes), node.transfers()


def scale(node, workers):
    node.admin("scale", f"swarm={workers}")


class Watch(threading.Thread):
    """Lists all the time: nothing may ever stand there twice."""

    def __init__(self, node):
        super().__init__()
        self.node, self.ended, self.twice, self.looks = node, threading.Event(), [], 0

    def run(self):
        while not self.ended.wait(0.02):
            rows = hashes(self.node)
            self.looks += 1
            if len(set(rows)) != len(rows):
                self.twice.append(rows)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


def under_transfers(lab, a, b):
    """Sharer and fetcher scaled in the middle of it, both ways."""
    files = [lab.make_file(f"out/{i}.iso", SIZE, seed=i) for i in range(FILES)]
    links = [a.share(path) for path in files]
    infohashes = hashes(a)
    into = lab.make_folder("in")
    with Watch(a) as watch_a, Watch(b) as watch_b:
        fetches = [b.start_cli("fetch", link, "--to", into, stderr=-3) for link in links]
        wait_for("all to be fetched", lambda: hashes(b) == infohashes)
        scale(b, 3)
        scale(a, 3)
        await_owners(a, infohashes, 3)
        await_owners(b, infohashes, 3)
        rows = b.transfers()
        assert any(row["state"] != "seeding" for row in rows), "all is done before anything was tried"
        hashed = [row.get("hashed_bytes", 0) for row in counters(a)]
        assert not any(hashed[1:]), f"what was handed over was hashed again: {hashed}"
        scale(b, 1)
        scale(a, 1)
        await_owners(a, infohashes, 1)
        await_owners(b, infohashes, 1)
        for fetch in fetches:
            assert fetch.wait(120) == 0
    for path in files:
        assert same_content(path, os.path.join(into, os.path.basename(path)))
    assert not watch_a.twice and not watch_b.twice, (watch_a.twice, watch_b.twice)
    assert all(row["state"] == "seeding" for row in b.transfers())
    return infohashes


def killed_meanwhile(lab, a, b, infohashes):
    """kill -9 while transfers pass: each has exactly one owner afterwards."""
    path = lab.make_file("out/more.iso", 2 * SIZE, seed=77)
    link = a.share(path)
    infohashes = hashes(a)
    into = lab.make_folder("more")
    fetch = b.start_cli("fetch", link, "--to", into, stderr=-3)
    wait_for("it to be fetched", lambda: hashes(b) == infohashes)
    for workers in (3, 2):
        command = b.start_admin("scale", f"swarm={workers}", stderr=-3, stdout=-3)
        for row in counters(b):
            os.kill(row["pid"], signal.SIGKILL)
        command.wait(60)
        wait_for(f"{workers} workers", lambda: len(counters(b)) == workers or not b.admin(
            "scale", f"swarm={workers}", check=False))
        await_owners(b, infohashes, workers)
    assert fetch.wait(120) == 0
    assert same_content(path, os.path.join(into, "more.iso"))
    return infohashes


def in_demand(lab, a, b):
    """One torrent, and the peer sees several ports of the node; these know each other and stay apart."""
    path = lab.make_file("out/hot.iso", 4 * SIZE, seed=99)
    link = a.share(path)
    into = lab.make_folder("hot")
    fetch = b.start_cli("fetch", link, "--to", into, stderr=-3)
    ports = {row["tcp_port"] for row in counters(a)}
    assert len(ports) == 3 and min(ports) == a.port, (ports, a.port)

    def seen():
        rows = json.loads(b.cli("list", "--peers", link, "--json", check=False).stdout or '{"peers":[]}')["peers"]
        return {int(row["address"].rsplit(":", 1)[1]) for row in rows if row["received_bytes"] > 0} & ports

    wait_for("several workers to send it", lambda: len(seen()) > 1 or fetch.poll() is not None and fail("too late"))
    rows = [row for row in a.transfers() if row["magnet"] == link]
    assert len(rows) == 1, rows
    own = {f"{a.host}:{port}" for port in ports}
    known = {row["address"] for row in json.loads(a.cli("list", "--peers", link, "--json").stdout)["peers"]}
    assert not known & own, known
    assert fetch.wait(120) == 0
    assert same_content(path, os.path.join(into, "hot.iso"))


def by_path(lab, a):
    """Whoever hashes it, whoever owns it: one share of one path, and the old content gives way."""
    before = hashes(a)
    for turn in range(4):
        path = lab.make_file("out/again.iso", 100_000 + turn, seed=turn)
        link = a.share(path)
        assert a.share(path) == link
        wait_for("what it was before to go", lambda: [row["magnet"] for row in a.transfers() if row["path"] == path] ==
                 [link])
        assert len(a.transfers()) == len(before) + 1
    a.cli("remove", link)
    assert hashes(a) == before


def at_a_port_that_was_ours(lab, a):
    """Where a worker listened that was scaled away another node may listen: it is a peer like any."""
    port = next(row["tcp_port"] for row in counters(a) if row["instance"] == 2)
    scale(a, 1)
    other = lab.node("other", host=a.host, port=port)
    other.up(a)
    path = lab.make_file("out/other.iso", 100_000, seed=5)
    into = lab.make_folder("other-in")
    a.cli("fetch", other.share(path), "--to", into)
    assert same_content(path, os.path.join(into, "other.iso"))


with Lab() as lab:
    a, b = lab.node("a"), lab.node("b")
    a.up(None, "--set", "swarm.hot_rate=none")
    b.up(a, "--set", "swarm.hot_rate=none", "--set", f"swarm.receive_limit={PACE}")
    infohashes = under_transfers(lab, a, b)
    infohashes = killed_meanwhile(lab, a, b, infohashes)
    scale(a, 3)
    in_demand(lab, a, b)
    by_path(lab, a)
    at_a_port_that_was_ours(lab, a)
    ended = [row for row in a.status() if row["restarts"]]
    ended += [row for row in b.status() if row["last_exit"] not in (0, -signal.SIGKILL)]
    assert not ended, ended
