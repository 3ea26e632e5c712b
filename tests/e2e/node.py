"""Whole nodes for end-to-end tests: started, asked and stopped by the programs a person uses.

Each test makes a Lab; the Lab owns one temporary folder and every process it started, and removes
both, whatever happens (guard.py does, when the test is killed). Nothing here sleeps for a fixed time
to "let things settle": wait_for() polls an event with a generous limit.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import guard

BIN = os.environ.get("LB_BIN") or os.path.join(os.getcwd(), "bin")
LIMIT_S = float(os.environ.get("LB_TEST_LIMIT_S", "120"))
SERVICES = ("routing", "storage", "transport", "swarm", "gateway")
SKIPPED = 77

# Whoever runs the tests in the background of a shell ignores it, and so would all that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)


def program(name):
    return os.path.join(BIN, name)


def fail(text):
    raise AssertionError(text)


def wait_for(what, condition, limit_s=LIMIT_S, pause_s=0.05):
    """Poll until condition() is true; its value is returned. Fails with `what` after limit_s."""
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            fail(f"still waiting after {limit_s:.0f} s for: {what}")
        time.sleep(pause_s)


def is_gone(pid):
    """With all its threads: as long as one is left, so are its lock and its sockets."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z" and len(os.listdir(f"/proc/{pid}/task")) == 1
    except FileNotFoundError:
        return True


ports_given = set()


def free_port(host="127.0.0.1"):
    """A port that is free for UDP and TCP now, and that nobody in this test was given before."""
    while True:
        port = random.randrange(20000, 32000)
        if port in ports_given:
            continue
        with contextlib.ExitStack() as stack:
            try:
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    probe = stack.enter_context(socket.socket(socket.AF_INET, kind))
                    probe.bind((host, port))
            except OSError:
                continue
        ports_given.add(port)
        return port


class Node:
    """One node in a folder of its own."""

    def __init__(self, lab, name, host="127.0.0.1", port=None):
        self.lab, self.name, self.host = lab, name, host
        self.port = port or free_port(host)
        self.dir = os.path.join(lab.folder, name)
        os.makedirs(self.dir, exist_ok=True)
        if "LB_TEST_LOG" in os.environ:  # LB_TEST_LOG=debug: what the nodes of a failing test say
            with open(os.path.join(self.dir, "littlebird.conf"), "w") as file:
                file.write(f"[node]\nlog_level = {os.environ['LB_TEST_LOG']}\n")

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    @property
    def api(self):
        return f"ipc://{self.dir}/run/api.sock"

    def up(self, bootstrap=None, *more, check=True):
        command = ["up", "--dir", self.dir, "--listen", self.address, "--detach"]
        for other in [bootstrap] if isinstance(bootstrap, Node) else bootstrap or []:
            command += ["--bootstrap", other.address]
        self.lab.running.append(self)
        return self.lab.run(program("littlebird"), *command, *more, check=check)

    def down(self, check=True):
        if self in self.lab.running:
            self.lab.running.remove(self)
        return self.lab.run(program("littlebird"), "down", "--dir", self.dir, check=check)

    def cli(self, command, *arguments, **options):
        return self.lab.run(program("littlebird"), command, "--dir", self.dir, *arguments, **options)

    def start_cli(self, command, *arguments, **options):
        """The same, not waited for."""
        return self.lab.start(program("littlebird"), command, "--dir", self.dir, *arguments, **options)

    def admin(self, command, *arguments, **options):
        return self.lab.run(program("lb-admin"), command, "--dir", self.dir, *arguments, **options)

    def start_admin(self, command, *arguments, **options):
        """The same, not waited for."""
        return self.lab.start(program("lb-admin"), command, "--dir", self.dir, *arguments, **options)

    def put(self, key, value, *more):
        return json.loads(self.cli("put", key, value, "--json", *more).stdout)

    def get(self, key, *more):
        return self.cli("get", key, *more).stdout

    def share(self, path, *more):
        return self.cli("share", path, *more).stdout.decode().strip()

    def transfers(self):
        result = self.cli("list", "--json", check=False)
        return json.loads(result.stdout)["transfers"] if result.returncode == 0 else []

    def status(self):
        """Every process: a list of dictionaries with service, instance, state, pid, restarts ..."""
        result = self.admin("status", "--json", check=False)
        return json.loads(result.stdout)["services"] if result.stdout else []

    def service(self, name, instance=0):
        return next((s for s in self.status() if (s["service"], s["instance"]) == (name, instance)), None)

    def await_well(self, what=""):
        """Every process READY; what hinders it is told otherwise."""
        rows = []

        def is_well():
            rows[:] = self.status()
            return rows and all(row["state"] == "ready" for row in rows)

        try:
            wait_for(f"{self.name} to be well {what}", is_well)
        except AssertionError as error:
            fail(f"{error}: " + "; ".join(f"{r['service']} {r['state']}: {r['note']}" for r in rows))

    def kill_service(self, name):
        """SIGKILL one process of this node and wait until another serves in its place."""
        before = self.service(name)
        os.kill(before["pid"], signal.SIGKILL)

        def back():
            now = self.service(name)
            return now and now["pid"] not in (0, before["pid"]) and now["state"] in ("ready", "degraded") and now

        return wait_for(f"{self.name}: {name} to be back after SIGKILL", back)

    def kill(self):
        """SIGKILL to every process of the node, the supervisor first."""
        pids = {s["service"]: s["pid"] for s in self.status() if s["pid"]}
        for pid in [pids.pop("supervisor", 0), *pids.values()]:
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self in self.lab.running:
            self.lab.running.remove(self)

    def contacts(self):
        result = self.admin("table", "--json", check=False)
        return json.loads(result.stdout)["nodes"] if result.returncode == 0 else []

    def log(self):
        path = os.path.join(self.dir, "data", "littlebird.log")
        return open(path, errors="replace").read() if os.path.exists(path) else ""


class Lab:
    """A temporary folder, the nodes in it and whatever else a test starts."""

    def __init__(self):
        if not os.path.exists(program("littlebird")):
            sys.exit(f"no programs in {BIN}: set LB_BIN to the bin folder of a build")
        self.folder = tempfile.mkdtemp(prefix="lb")  # short: ipc paths have at most 107 bytes
        guard.watch(self.folder)
        self.running, self.processes = [], []
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # cleans up, as Ctrl-C does

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and not issubclass(kind, SystemExit):
            for node in list(self.running):
                sys.stderr.write(f"--- log of {node.name}, last lines\n{node.log()[-3000:]}\n")
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        try:
            for node in list(self.running):
                if node.down(check=False).returncode not in (0, 3):
                    node.kill()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        return False

    def node(self, name, **where):
        return Node(self, name, **where)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def make_folder(self, *parts):
        os.makedirs(self.path(*parts), exist_ok=True)
        return self.path(*parts)

    def make_file(self, name, size, seed=1):
        """A file of size bytes that do not compress and follow from the seed."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        source = random.Random(seed)
        with open(path, "wb") as file:
            left = size
            while left > 0:
                part = source.randbytes(min(left, 1 << 20))
                file.write(part)
                left -= len(part)
        return path

    def run(self, *command, check=True, timeout=LIMIT_S, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        if "input" in options:
            options.pop("stdin")
        result = subprocess.run(command, capture_output=True, timeout=timeout, **options)
        if check and result.returncode != 0:
            fail(f"{' '.join(command)}\n  exit {result.returncode}\n  {result.stdout!r}\n  {result.stderr.decode(errors='replace')}")
        return result

    def start(self, *command, **options):
        """A process of the test's own; ended with the Lab."""
        options.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen(command, **options)
        self.processes.append(process)
        return process


def same_content(a, b):
    """Equal files, or folders with equal trees."""
    if os.path.isdir(a):
        names = sorted(os.listdir(a))
        return names == sorted(os.listdir(b)) and all(
            same_content(os.path.join(a, n), os.path.join(b, n)) for n in names)
    with open(a, "rb") as left, open(b, "rb") as right:
        while True:
            x, y = left.read(1 << 20), right.read(1 << 20)
            if x != y:
                return False
            if not x:
                return True


def wait_for_content(wanted, written):
    """A client says that it is done before all of it is in its files: wait for that too."""
    def equal():
        try:
            return same_content(wanted, written)
        except OSError:
            return False

    wait_for(f"{written} to equal {wanted}", equal)


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)
