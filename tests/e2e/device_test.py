#!/usr/bin/python3
"""An image straight to a block device: refused while it is mounted; killed half-way, resumed, read back."""

import os
import subprocess

from api import call
from node import Lab, skip, wait_for

SIZE = 96 << 20
IMAGE = 80_000_123
ZEROS = range(20_000_000, 60_000_000)
LATE = 28_000_000  # at 5 MB/s later than the first sync, which comes after 5 s


def fill(path):
    with open(path, "r+b") as file:
        for _ in range(SIZE >> 20):
            file.write(b"x" * (1 << 20))


def make_loop(lab):
    path = lab.make_file("device", SIZE)
    made = subprocess.run(["losetup", "--find", "--show", path], capture_output=True, text=True)
    if made.returncode != 0:
        skip(f"no loop device: {made.stderr.strip()}")
    return made.stdout.strip()


def make_image(lab):
    path = lab.make_file("image", IMAGE, seed=11)
    with open(path, "r+b") as file:
        file.seek(ZEROS.start)
        file.write(bytes(len(ZEROS)))
    return path


def the_transfer(node):
    return next(iter(node.transfers()), None)


def refused_while_mounted(lab, node, order, device):
    where = lab.make_folder("mnt")
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    if subprocess.run(["mount", device, where], capture_output=True).returncode != 0:
        print("not tried: nothing can be mounted here")
        return
    try:
        call(node, "SwarmService", "Fetch", order)
        raise AssertionError("a mounted device was taken")
    except RuntimeError as refusal:
        assert device in str(refusal) and "is mounted on" in str(refusal), refusal
    finally:
        subprocess.run(["umount", where], check=True)


def to_device(lab, a, b, device):
    image = make_image(lab)
    magnet = a.share(image)
    order = f'magnet: "{magnet}" device: "{device}" verify: true'
    refused_while_mounted(lab, b, order, device)
    fill(device)
    call(a, "SwarmService", "SetTransferLimits", "send_limit: 5000000")
    call(b, "SwarmService", "Fetch", order)
    wait_for("more than one sync", lambda: (now := the_transfer(b)) and now["have_bytes"] > len(ZEROS) + LATE)
    b.kill()
    call(a, "SwarmService", "SetTransferLimits", "send_limit: 0")
    b.up(bootstrap=a)
    done = wait_for("all of it to be here", lambda: (now := the_transfer(b)) and now["state"] == "seeding" and now)
    assert done["path"] == device and done["verified_s"] > 0 and done["have_bytes"] == IMAGE, done
    assert done["received_bytes"] < IMAGE - len(ZEROS) - LATE // 2, "what was synced is not fetched again"
    taken = subprocess.run(["mount", device, lab.path("mnt")], capture_output=True)
    assert taken.returncode != 0, "while it is seeded nobody else gets the device"
    b.down()
    with open(image, "rb") as wanted, open(device, "rb") as written:
        assert wanted.read() == written.read(IMAGE)
        assert written.read() == b"x" * (SIZE - IMAGE), "nothing behind the image was touched"


if os.geteuid() != 0:
    skip("only root writes to devices")
with Lab() as lab:
    a, b = lab.node("a"), lab.node("b")
    a.up()
    b.up(bootstrap=a)
    wait_for("the two to know each other", lambda: a.contacts() and b.contacts())
    device = make_loop(lab)
    try:
        to_device(lab, a, b, device)
    finally:
        if b in lab.running:
            b.down(check=False)
        subprocess.run(["losetup", "--detach", device], check=True)
