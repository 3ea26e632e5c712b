#!/usr/bin/python3
"""What a new user meets: help, wrong arguments, exit codes, and the things that go wrong at start."""

import contextlib
import os
import signal
import subprocess
import time

from node import Lab, program, wait_for

COMMANDS = {"littlebird": ("up", "down", "share", "fetch", "put", "get", "list", "remove"),
            "lb-admin": ("status", "restart", "scale", "wait", "peers", "table", "lookup", "config")}


def help_and_arguments(lab):
    for name, commands in COMMANDS.items():
        for words in [[]] + [[c] for c in commands]:
            result = lab.run(program(name), *words, "--help")
            assert result.stdout.startswith(b"usage: " + name.encode()) and not result.stderr, (name, words, result)
        assert lab.run(program(name), "--version").stdout.startswith(name.encode())
        for wrong in ([], ["frobnicate"], ["--frobnicate"], [commands[0], "--frobnicate"]):
            result = lab.run(program(name), *wrong, check=False)
            assert result.returncode == 2 and result.stderr and not result.stdout, (name, wrong, result)
    for service in ("supervisor", "routing", "storage", "transport", "swarm", "gateway"):
        assert lab.run(program(f"lb-{service}"), "--help").stdout
        assert lab.run(program(f"lb-{service}"), "--frobnicate", check=False).returncode in (2, 64)


def not_running(lab):
    node = lab.node("off")
    for command in (["list"], ["get", "x"], ["put", "x", "y"], ["share", "/etc/hostname"], ["down"]):
        result = node.cli(*command, check=False)
        assert result.returncode == 3 and b"not running" in result.stderr, (command, result)
    assert node.admin("status", check=False).returncode == 3


def bad_start(lab):
    def refused(node, *needles, more=()):
        begin = time.monotonic()
        result = node.up(None, *more, check=False)
        lab.running.remove(node)
        assert result.returncode != 0 and time.monotonic() - begin < 30, result
        text = result.stderr.decode()
        assert all(needle in text for needle in needles), text
        assert node.admin("status", check=False).returncode in (2, 3)

    first = lab.node("first")
    first.up()
    again = first.cli("up", "--detach", check=False)
    assert again.returncode == 1 and b"already" in again.stderr, again
    refused(lab.node("port", port=first.port), str(first.port), "in use")
    for line, needle in (("frobnicate = 1", "frobnicate"), ("listen = here", "listen"), ("no equals sign", "1")):
        broken = lab.node(f"config{len(line)}")
        with open(os.path.join(broken.dir, "littlebird.conf"), "w") as file:
            file.write(f"[node]\n{line}\n")
        refused(broken, "littlebird.conf:2", needle)
        check = broken.admin("config", "check", check=False)
        assert check.returncode in (1, 78) and b"littlebird.conf:2" in check.stderr, check
    deep = lab.node("d" * 60 + "/" + "e" * 60)
    refused(deep, "too long")
    assert lab.run(program("littlebird"), "up", "--dir", "/proc/nowhere", "--detach", check=False).returncode != 0
    first.down()


def foreground(lab):
    """Ctrl-C ends a node in the foreground, in order and with exit code 0."""
    node = lab.node("front")
    process = lab.start(program("littlebird"), "up", "--dir", node.dir, "--listen", node.address,
                        stdout=subprocess.DEVNULL, stderr=open(lab.path("front.log"), "w"))
    wait_for("the node to be ready", lambda: node.admin("wait", "--ready", "--timeout", "1s", check=False).returncode == 0)
    pids = [s["pid"] for s in node.status()]
    process.send_signal(signal.SIGINT)
    wait_for("the node to end", lambda: process.poll() is not None, limit_s=20)
    assert process.returncode == 0, open(lab.path("front.log")).read()
    wait_for("its services to end", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), limit_s=20)


def unwritable_folder(lab):
    """As a user without rights; the programs have to be readable for that user."""
    nobody = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/"}
    try:
        if lab.run(program("littlebird"), "--version", check=False, **nobody).returncode != 0:
            raise PermissionError
    except PermissionError:
        print("unwritable folder: skipped, needs root and a build folder that all may read")
        return
    folder = lab.make_folder("closed")
    result = lab.run(program("littlebird"), "up", "--dir", folder, "--detach", check=False, **nobody)
    assert result.returncode not in (0, 2) and folder.encode() in result.stderr, result
    assert os.listdir(folder) == []


def full_disk(lab):
    """A node on a file system without room: errors, and nothing that was stored is lost."""
    folder = lab.make_folder("small")
    if os.geteuid() != 0 or lab.run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder,
                                    check=False).returncode != 0:
        print("full disk: skipped, a tmpfs cannot be mounted here")
        return
    node = lab.node("small/n")
    try:
        node.up()
        node.await_well()
        pids = {s["service"]: s["pid"] for s in node.status()}
        node.put("before", "kept")
        content = lab.make_file("big", 100_000_000)
        with open(os.path.join(folder, "ballast"), "wb") as ballast:
            with contextlib.suppress(OSError):
                while True:
                    ballast.write(b"x" * (1 << 20))
                    ballast.flush()
        refused = None
        for number in range(80):  # the store may have room of its own left
            result = node.cli("put", f"more {number}", "-", input=b"y" * 1_000_000, check=False)
            if result.returncode != 0:
                refused = result
                break
        assert refused and refused.returncode == 1 and refused.stderr, "put on a full disk"
        assert node.get("before") == b"kept"
        node.cli("share", content, check=False)  # may find no room for its notes; must answer
        os.unlink(os.path.join(folder, "ballast"))
        wait_for("puts to succeed again", lambda: node.cli("put", "after", "there is room",
                                                           check=False).returncode == 0)
        assert node.get("before") == b"kept" and node.get("after") == b"there is room"
        assert {s["service"]: s["pid"] for s in node.status()} == pids, "a process ended"
    finally:
        node.down(check=False)
        lab.run("umount", folder, check=False)


with Lab() as lab:
    help_and_arguments(lab)
    not_running(lab)
    bad_start(lab)
    foreground(lab)
    unwritable_folder(lab)
    full_disk(lab)
