#!/usr/bin/python3
"""What may happen to the files of a fetch: a kill, damage, a full disk, a folder that goes away."""

import os
import shutil
import subprocess

from api import call
from node import Lab, same_content, wait_for

SIZE = 40_000_000
LATE = 28_000_000  # at 5 MB/s later than the first sync, which comes after 5 s


def order(node, magnet, folder):
    call(node, "SwarmService", "Fetch", f'magnet: "{magnet}" folder: "{folder}"')


def transfer(node, magnet):
    infohash = magnet.split("btih:")[1][:40]
    return next((t for t in node.transfers() if t["infohash"] == infohash), None)


def until(node, magnet, what, condition):
    return wait_for(what, lambda: (now := transfer(node, magnet)) and condition(now) and now)


def until_seeding(node, magnet):
    return until(node, magnet, "it to be complete", lambda now: now["state"] == "seeding")


def hashed(node):
    return node.service("swarm")["counters"].get("hashed_bytes", 0)


def limit(node, rate):
    call(node, "SwarmService", "SetTransferLimits", f"send_limit: {rate}")


def killed_and_damaged(lab, a, b):
    path = lab.make_file("out/killed", SIZE, seed=1)
    magnet = a.share(path)
    limit(a, 5_000_000)
    order(b, magnet, lab.make_folder("in"))
    until(b, magnet, "more than one sync", lambda now: now["have_bytes"] > LATE)
    b.kill()
    limit(a, 0)
    b.up(bootstrap=a)
    done = until_seeding(b, magnet)
    wait_for("what was hashed to be told", lambda: hashed(b) >= done["received_bytes"])
    assert hashed(b) < SIZE - LATE // 2, "only what was not synced is hashed, as it comes again"
    assert done["received_bytes"] < SIZE - LATE // 2, done
    b.down()
    copy = lab.path("in", "killed")
    with open(copy, "r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"damage")
    b.up(bootstrap=a)
    mended = until(b, magnet, "the damage to be mended", lambda now: now["state"] == "seeding" and now["received_bytes"])
    assert mended["received_bytes"] < SIZE / 10 and same_content(path, copy), mended


def full_disk(lab, a, b):
    magnet = a.share(lab.make_file("out/large", SIZE, seed=2))
    folder = lab.make_folder("small")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True).returncode != 0:
        print("not tried: no small file system can be mounted here")
        return
    try:
        order(b, magnet, folder)
        paused = until(b, magnet, "a pause", lambda now: now["state"] == "paused")
        assert "large" in paused["note"] and "No space" in paused["note"], paused
        subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
        until_seeding(b, magnet)
        assert same_content(lab.path("out", "large"), os.path.join(folder, "large"))
        b.cli("remove", magnet)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def folder_goes_away(lab, a, b):
    path = lab.make_file("out/folder/image", SIZE, seed=3)
    magnet = a.share(os.path.dirname(path))
    limit(a, 5_000_000)
    into = lab.make_folder("gone")
    order(b, magnet, into)
    until(b, magnet, "some of it", lambda now: now["have_bytes"] > 2_000_000)
    shutil.rmtree(into)
    paused = until(b, magnet, "a pause", lambda now: now["state"] == "paused")
    assert "folder" in paused["note"], paused
    limit(a, 0)
    os.mkdir(into)
    until_seeding(b, magnet)
    assert same_content(os.path.dirname(path), os.path.join(into, "folder"))


with Lab() as lab:
    a, b = lab.node("a"), lab.node("b")
    a.up()
    b.up(bootstrap=a)
    wait_for("the two to know each other", lambda: a.contacts() and b.contacts())
    killed_and_damaged(lab, a, b)
    full_disk(lab, a, b)
    folder_goes_away(lab, a, b)
