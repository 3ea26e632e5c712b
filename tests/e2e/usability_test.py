#!/usr/bin/python3
"""What a new user meets: help, wrong arguments, exit codes, and the things that go wrong at start."""

import contextlib
import os
import shlex
import signal
import subprocess
import time

from node import Lab, program, wait_for

COMMANDS = {"littlebird": ("up", "down", "share", "fetch", "put", "get", "list", "remove"),
            "lb-admin": ("status", "restart", "scale", "wait", "peers", "table", "lookup", "audit", "config")}


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


def on_a_terminal(lab, *command):
    """What the command shows when its output is a terminal, and its exit code."""
    result = lab.run("script", "-qec", shlex.join(command), "/dev/null", check=False)
    return result.returncode, result.stdout.decode(errors="replace").replace("\r\n", "\n")


def values_and_names(lab):
    """Keys, values and names that are empty, too long, binary, or full of blanks and commands for a terminal."""
    node = lab.node("values")
    node.up()
    assert node.admin("status").returncode == 0, "up --detach returns when all is well"
    for wrong in ([""], ["k" * 1025], ["--immutable", "abc"], ["k", "--public-key", "ab"]):
        assert node.cli("get", *wrong, check=False).returncode == 2, wrong
    for wrong in ([], ["", "v"], ["k" * 1025, "v"], [b"\xff", "v"], ["k", "v", "--cas", "x"], ["k", "v", "--immutable"]):
        result = node.cli("put", *wrong, check=False)
        assert result.returncode == 2 and result.stderr, (wrong, result)
    key, most = "two words,\nein Ü", os.urandom(1 << 20)
    node.cli("put", key, "-", input=most)
    assert node.get(key) == most
    assert node.cli("put", key, "-", input=most + b"x", check=False).returncode == 1
    assert node.get(key) == most
    name = node.cli("put", "--immutable", input=b"from stdin").stdout.split()[0].decode()
    assert node.get(name, "--immutable") == b"from stdin"
    node.put("short", "no line end")
    node.put("evil", "\033]0;gotcha\007")
    get = (program("littlebird"), "get", "--dir", node.dir)
    assert on_a_terminal(lab, *get, "short") == (0, "no line end\n")
    for binary in (key, "evil"):
        code, shown = on_a_terminal(lab, *get, binary)
        assert code == 1 and "no plain text" in shown and "\033" not in shown, shown
    assert node.get("evil") == b"\033]0;gotcha\007" and node.get("short") == b"no line end", "a pipe gets the bytes"
    control = lab.make_file("a\nb", 10)
    refused = node.cli("share", control, check=False)
    assert refused.returncode == 1 and b"control characters" in refused.stderr, refused
    odd = lab.make_file("-%41&= \"n\"", 10)
    node.share(odd)
    again = node.cli("fetch", node.share(odd), "--to", os.path.dirname(odd), check=False)
    assert again.returncode == 0 and again.stderr.endswith(b"(10 B)\n"), again
    for wrong, code, needle in ((["routing=2"], 1, b"does not scale"), (["transport=1", "gateway=2"], 5, b"gateway=2")):
        refused = node.admin("scale", *wrong, check=False)
        assert refused.returncode == code and needle in refused.stderr, refused
    node.admin("scale", "transport=1", "storage=1")
    for wrong in (["swarm=0"], ["swarm"], ["sparrow=2"], ["swarm=x"], ["swarm=17"], ["swarm=2", "swarm=3"]):
        assert node.admin("scale", *wrong, check=False).returncode == 2, wrong
    node.down()
    assert node.down(check=False).returncode == 3


def stops_in_order(lab):
    """Told once, a node hands over and ends by itself; told twice, its services would be killed."""
    node = lab.node("stops")
    for _ in range(8):
        node.up()
        node.down()
    log = node.log()
    assert log.count("supervisor: stopped") == 8 and "second time" not in log and "SIGKILL" not in log, log[-3000:]


def interrupted_start(lab):
    """Ctrl-C while a node is started in the background leaves none."""
    node = lab.node("halfway")
    process = lab.start(program("littlebird"), "up", "--dir", node.dir, "--listen", node.address, "--detach",
                        "--bootstrap", "nowhere.invalid:1", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for("its services", lambda: len(node.status()) == 6)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) in (0, 130)  # 0: it was ready before
    if process.returncode == 0:
        node.down()
    assert node.admin("status", check=False).returncode == 3


def the_users_node(lab):
    """Without --dir: $LITTLEBIRD_DIR, else what lies in the user's own folders; a file as DIR is refused."""
    home = lab.make_folder("home")
    env = {name: value for name, value in os.environ.items()
           if name not in ("LITTLEBIRD_DIR", "XDG_RUNTIME_DIR", "XDG_DATA_HOME")}
    env["HOME"] = home
    if os.path.exists("/run/littlebird/api.sock"):
        print("the user's node: skipped, the system's node runs")
        return
    nobody = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/"} if os.geteuid() == 0 else {}
    homeless = lab.run(program("littlebird"), "up", "--detach", "--set", "node.listen=127.0.0.1:1", check=False,
                       env={name: value for name, value in env.items() if name != "HOME"}, **nobody)
    assert homeless.returncode == 1 and b"HOME is not set" in homeless.stderr and b"--dir" in homeless.stderr, homeless
    own = lab.node("own")
    lab.run(program("littlebird"), "up", "--listen", own.address, "--detach", env=env)
    try:
        assert lab.run(program("lb-admin"), "status", "--json", env=env, check=False).returncode == 0
        assert os.path.isdir(os.path.join(home, ".local/share/littlebird"))
        elsewhere = lab.run(program("littlebird"), "list", env={**env, "LITTLEBIRD_DIR": own.dir}, check=False)
        assert elsewhere.returncode == 3 and own.dir.encode() in elsewhere.stderr, elsewhere
    finally:
        lab.run(program("littlebird"), "down", env=env)


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
    stops_in_order(lab)
    interrupted_start(lab)
    values_and_names(lab)
    the_users_node(lab)
    unwritable_folder(lab)
    full_disk(lab)
