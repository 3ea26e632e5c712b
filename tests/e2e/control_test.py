#!/usr/bin/python3
"""Holding transfers back and looking into them: selections, limits, turns, checks, and wrong arguments."""

import json
import os
import re
import socket
import time

import bencode
from node import Lab, same_content, wait_for

HEX = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a"
SIZES = (("a.iso", 300_000), ("doc/b.txt", 70_000), ("doc/c.iso", 900_000), ("z", 10))
MIB = 1 << 20


def arguments(lab, node):
    """A clear word and exit code 2, 4 for a transfer there is not, 3 without a node; nothing is begun."""
    for command, *words in (("limit",), ("limit", "nonsense", "--up", "1 MB/s"), ("limit", HEX),
                            ("limit", HEX, "--up", "fast"), ("limit", HEX, "--priority", "urgent"),
                            ("check",), ("check", "nonsense"), ("list", "--files"),
                            ("list", "--files", "nonsense"), ("list", "--peers", HEX, "--files", HEX),
                            ("fetch", HEX, "--priority", "9"), ("fetch", HEX, "--peer", "host"),
                            ("fetch", HEX, "--select", ""), ("share", lab.folder, "--piece", "100 KiB"),
                            ("share", lab.folder, "--piece", "32 MiB"),
                            ("share", lab.folder, "--web-seed", "ftp://host/x")):
        result = node.cli(command, *words, check=False)
        assert result.returncode == 2 and result.stderr and not result.stdout, (command, words, result)
    for words in (("--down",), (), ("--up", "x")):
        assert node.admin("limit", *words, check=False).returncode == 2, words
    for command, *words in (("limit", HEX, "--up", "1 MB/s"), ("check", HEX), ("list", "--files", HEX),
                            ("list", "--peers", HEX)):
        result = node.cli(command, *words, check=False)
        assert result.returncode == 4 and b"no such transfer" in result.stderr, (command, result)
    stopped = lab.node("stopped")
    for command, *words in (("limit", HEX, "--up", "1 MB/s"), ("check", HEX), ("list", "--files", HEX),
                            ("list", "--peers", HEX)):
        assert stopped.cli(command, *words, check=False).returncode == 3, command
    assert stopped.admin("limit", "--up", "1 MB/s", check=False).returncode == 3
    assert node.transfers() == []


def files_of(node, link):
    rows = json.loads(node.cli("list", "--files", link, "--json").stdout)["files"]
    return {row["path"].split("/", 1)[1]: row for row in rows}


def selections(lab, a, b):
    folder = lab.make_folder("out", "lab")
    for name, size in SIZES:
        lab.make_file(f"out/lab/{name}", size, seed=size)
    link = a.share(folder, "--piece", "16 KiB")
    into = lab.make_folder("in")
    wrong = b.cli("fetch", link, "--to", into, "--select", "*.img", check=False)
    assert wrong.returncode == 1 and b"*.img" in wrong.stderr, wrong
    b.cli("fetch", link + "&so=1", "--to", into, "--peer", a.address)
    files = files_of(b, link)
    assert {name for name, row in files.items() if row["selected"]} == {"doc/b.txt"}, files
    assert files["doc/b.txt"]["have_bytes"] == 70_000 and files["doc/c.iso"]["have_bytes"] < 32_768
    transfer = b.transfers()[0]
    assert transfer["state"] == "seeding" and transfer["wanted_bytes"] == transfer["have_bytes"] == 70_000
    assert transfer["received_bytes"] < 120_000, "no more than the pieces of it"
    # Selected besides; and it is still known after the service was killed.
    b.cli("fetch", link, "--to", into, "--select", "a.iso")
    b.kill_service("swarm")
    wait_for("its selection to be taken up again",
             lambda: b.transfers() and b.transfers()[0]["have_bytes"] == 370_000)
    assert os.stat(os.path.join(into, "lab/doc/c.iso")).st_blocks * 512 < 100_000, "no room taken"
    b.cli("fetch", link, "--to", into)
    assert same_content(folder, os.path.join(into, "lab"))
    b.cli("remove", link)
    a.cli("remove", link)


def limits(lab, a, b):
    """Never over it for some seconds, for the torrent here, for the node there; until it is lifted."""
    path = lab.make_file("out/big", 60 * MIB, seed=7)
    link = a.share(path)
    a.cli("limit", link, "--up", "2 MB/s", "--priority", "high")
    before = a.transfers()[0]
    assert before["send_limit"] == 2_000_000 and before["priority"] == 3, before
    fetching = b.start_cli("fetch", link, "--to", lab.make_folder("in"), "--peer", a.address)
    wait_for("bytes to come", lambda: b.transfers() and b.transfers()[0]["received_bytes"] > MIB)

    def rate(seconds):
        begin, at = b.transfers()[0]["received_bytes"], time.monotonic()
        time.sleep(seconds)
        return (b.transfers()[0]["received_bytes"] - begin) / (time.monotonic() - at)

    sent = rate(3)
    assert 0 < sent < 2_300_000, sent
    a.kill_service("swarm")
    wait_for("the limit to be there after kill -9", lambda: a.transfers()[0]["send_limit"] == 2_000_000)
    a.cli("limit", link, "--up", "none")
    b.admin("limit", "--down", "3 MB/s")
    wait_for("bytes to come again", lambda: b.transfers()[0]["receive_rate"] > 0)
    received = rate(3)
    assert received < 3_500_000, received
    b.admin("limit", "--down", "none")
    assert fetching.wait() == 0
    assert same_content(path, lab.path("in", "big"))
    return link


def outcomes(a, b, link):
    """The origin says who finished, also of those that went."""
    def finished():
        rows = json.loads(a.cli("list", "--peers", link, "--json").stdout)["peers"]
        return rows if rows and all(row["finished_s"] for row in rows) else None

    rows = wait_for("the origin to know that it finished", finished)
    assert len(rows) == 1 and rows[0]["have_bytes"] == 60 * MIB and rows[0]["why"] == "none", rows
    assert rows[0]["host"] == socket.gethostname().split(".")[0], rows
    assert rows[0]["client"].startswith("Littlebird"), rows
    text = a.cli("list", "--peers", link).stdout.decode()
    assert "1 of 1 finished" in text and b.address in text, text
    assert b"1 finished" in a.cli("list").stdout


def checks(lab, a, b, link):
    assert b.cli("check", link).returncode == 0
    copy = lab.path("in", "big")
    with open(copy, "r+b") as file:
        file.seek(20 * MIB)
        file.write(b"damaged")
    result = b.cli("check", link)
    assert b"fetched again" in result.stderr, result
    assert same_content(lab.path("out", "big"), copy)
    origin = lab.path("out", "big")
    with open(origin, "r+b") as file:
        file.seek(10 * MIB)
        good = file.read(7)
        file.seek(10 * MIB)
        file.write(b"changed")
    stat = os.stat(origin)
    result = a.cli("check", link, check=False)
    assert result.returncode == 5 and result.stdout.decode().split() == ["big"], result
    after = os.stat(origin)
    assert (after.st_mtime_ns, after.st_size) == (stat.st_mtime_ns, stat.st_size), "it is never written to"
    with open(origin, "r+b") as file:
        file.seek(10 * MIB)
        file.write(good)
    assert a.cli("check", link).returncode == 0
    assert a.transfers()[0]["state"] == "seeding"


def seeding_ends(lab, a, b):
    """--seed-for is kept over kill -9, counted from when it was complete."""
    link = a.share(lab.make_file("out/short", 100_000, seed=3))
    b.cli("fetch", link, "--to", lab.make_folder("in"), "--peer", a.address, "--seed-for", "3s")
    b.kill_service("swarm")
    wait_for("its time to be over", lambda: any("time of seeding is over" in t["note"] for t in b.transfers()))
    b.kill_service("swarm")
    wait_for("it to be over still", lambda: any("time of seeding is over" in t["note"] for t in b.transfers()))


def turns(lab, c, a):
    """One at once: the second waits, and a third of high priority goes before it."""
    links = [a.share(lab.make_file(f"out/turn{i}", 3 * MIB, seed=90 + i)) for i in range(3)]
    c.admin("limit", "--down", "30 kB/s")  # so that nothing ends before all are ordered
    commands = []
    for i, link in enumerate(links):
        commands.append(c.start_cli("fetch", link, "--to", lab.make_folder("turns"), "--peer", a.address,
                                    "--priority", "high" if i == 2 else "normal"))
        wait_for("the order to be there", lambda: len(c.transfers()) == i + 1)
        time.sleep(1.1)  # they are ranked by the second in which they were ordered
    by_name = lambda: {t["name"]: t for t in c.transfers()}
    waiting = wait_for("two to wait", lambda: by_name() if sorted(
        t["queue_place"] for t in c.transfers()) == [0, 1, 2] else None)
    assert waiting["turn2"]["queue_place"] == 0 and waiting["turn1"]["queue_place"] == 2, waiting
    assert waiting["turn1"]["state"] == "paused" and waiting["turn1"]["note"] == "waits: place 2"
    c.admin("limit", "--down", "none")
    for command in commands:
        assert command.wait() == 0
    for i in range(3):
        assert same_content(lab.path("out", f"turn{i}"), lab.path("turns", f"turn{i}"))


def known_peers(node, link):
    """Those the node's hash table has for the torrent."""
    host, port = node.address.rsplit(":", 1)
    infohash = bytes.fromhex(re.search(r"urn:btih:([0-9a-f]{40})", link).group(1))
    query = {"t": b"aa", "y": b"q", "q": b"get_peers", "a": {"id": b"i" * 20, "info_hash": infohash}}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.connect((host, int(port)))
        asker.settimeout(1)
        for _ in range(20):
            asker.send(bencode.encode(query))
            try:
                while True:
                    reply = bencode.decode(asker.recv(4096))
                    if reply.get("t") == b"aa" and "r" in reply:
                        return reply["r"].get("values", [])
            except TimeoutError:
                continue
    raise AssertionError("no reply to get_peers")


def private_share(lab, a, b):
    """BEP 27: it is not announced, and who is told of a peer fetches it all the same."""
    open_link = a.share(lab.make_file("out/open.iso", 300_000, seed=41))
    torrent = lab.path("private.torrent")
    link = a.share(lab.make_file("out/private.iso", 300_000, seed=42), "--private", "--torrent", torrent)
    with open(torrent, "rb") as file:
        assert b"7:privatei1e" in file.read()
    into = lab.make_folder("private")
    b.cli("fetch", torrent, "--to", into, "--peer", a.address)
    assert same_content(lab.path("out/private.iso"), os.path.join(into, "private.iso"))
    wait_for("the open one to be announced", lambda: known_peers(b, open_link))
    assert not known_peers(a, link) and not known_peers(b, link)


with Lab() as lab:
    a, b, c = lab.node("a"), lab.node("b"), lab.node("c")
    a.up()
    b.up(a)
    c.up(a, "--set", "swarm.active_max=1")
    arguments(lab, a)
    selections(lab, a, b)
    link = limits(lab, a, b)
    outcomes(a, b, link)
    checks(lab, a, b, link)
    seeding_ends(lab, a, b)
    private_share(lab, a, b)
    turns(lab, c, a)
