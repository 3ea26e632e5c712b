#!/usr/bin/python3
"""The class of config/demo: a teacher, eight students, one file, some values, and a few deaths.

usage: class.py BIN-FOLDER [FILE]
"""

import concurrent.futures
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

STUDENTS = 8
VALUES = 24
MBIT = int(os.environ.get("LB_DEMO_MBIT", "200"))
NETWORK = "10.86.53"  # addresses inside the namespaces only


def say(text=""):
    print(text, flush=True)


class Problem(Exception):
    """Something the demonstration promises did not happen."""


class Interrupt:
    """Ctrl-C and its kin: what runs is ended, what waits to be run is not begun; then we clean up."""

    def __init__(self):
        self.asked, self.running = False, set()

    def end_all(self):
        self.asked = True
        for process in list(self.running):
            process.terminate()

    def catch(self, *_):
        self.end_all()
        raise KeyboardInterrupt

    def watch(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.catch)

    def ignore(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


interrupt = Interrupt()


def run(*command, check=True, timeout=600, cleaning_up=False):
    """A command of ours, in a session of its own: Ctrl-C reaches us alone, and we pass it on."""
    if interrupt.asked and not cleaning_up:
        raise Problem("interrupted")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, start_new_session=True) as process:
        interrupt.running.add(process)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Problem(f"{' '.join(command)}\n  is not done after {timeout} s")
        finally:
            interrupt.running.discard(process)
            if process.poll() is None:
                process.terminate()
    if check and process.returncode != 0:
        raise Problem(f"{' '.join(command)}\n  ended with {process.returncode}: {err.strip()}")
    return subprocess.CompletedProcess(command, process.returncode, out, err)


class Network:
    """A bridge and one shaped namespace a node when that is possible, else ports on loopback."""

    def __init__(self):
        self.prefix = f"lb{os.getpid()}"
        self.spaces = []
        self.shaped = os.geteuid() == 0 and shutil.which("ip") is not None and self.make_hub()

    def make_hub(self):
        hub = f"{self.prefix}-hub"
        if run("ip", "netns", "add", hub, check=False).returncode != 0:
            return False
        self.spaces.append(hub)
        self.hub = hub
        made = run("ip", "-n", hub, "link", "add", "br0", "type", "bridge", check=False).returncode == 0
        return made and run("ip", "-n", hub, "link", "set", "br0", "up", check=False).returncode == 0

    def shape(self, space, device):
        run("tc", "-n", space, "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{MBIT}mbit",
            "burst", "64kb", "latency", "100ms")

    def add(self, number):
        """A place for node NUMBER (from 1): the command prefix to run there, and its address."""
        if not self.shaped:
            return [], f"127.0.0.1:{20000 + os.getpid() % 20000 + number}"
        space, port = f"{self.prefix}-{number}", f"port{number}"
        run("ip", "netns", "add", space)
        self.spaces.append(space)
        run("ip", "-n", self.hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
        run("ip", "-n", self.hub, "link", "set", port, "master", "br0", "up")
        run("ip", "-n", space, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
        run("ip", "-n", space, "link", "set", "eth0", "up")
        run("ip", "-n", space, "link", "set", "lo", "up")
        self.shape(space, "eth0")
        self.shape(self.hub, port)
        return ["ip", "netns", "exec", space], f"{NETWORK}.{number}:6881"

    def remove(self):
        for space in reversed(self.spaces):
            run("ip", "netns", "del", space, check=False, cleaning_up=True)


class Node:
    """A whole node in a folder of its own."""

    def __init__(self, bin_folder, folder, name, place):
        self.littlebird, self.admin = f"{bin_folder}/littlebird", f"{bin_folder}/lb-admin"
        self.name, self.dir = name, os.path.join(folder, name)
        self.prefix, self.address = place
        os.mkdir(self.dir)
        self.up = False

    def start(self, bootstrap=None):
        more = ["--bootstrap", bootstrap] if bootstrap else []
        self.up = True
        run(*self.prefix, self.littlebird, "up", "--dir", self.dir, "--listen", self.address, "--detach", *more)

    def call(self, command, *arguments, **options):
        return run(self.littlebird, command, "--dir", self.dir, *arguments, **options)

    def services(self):
        text = run(self.admin, "status", "--json", "--dir", self.dir, check=False).stdout
        return json.loads(text)["services"] if text else []

    def service(self, name):
        return next((s for s in self.services() if s["service"] == name), None)

    def kill(self):
        """SIGKILL to every process of the node, the supervisor first."""
        pids = {s["service"]: s["pid"] for s in self.services() if s["pid"]}
        for pid in [pids.pop("supervisor", 0), *pids.values()]:
            if pid:
                os.kill(pid, signal.SIGKILL)
        self.up = False

    def stop(self):
        if self.up:
            self.up = False
            run(self.littlebird, "down", "--dir", self.dir, check=False, timeout=60, cleaning_up=True)


def real_file(folder):
    """A real file of some 100 MB: the machine's own, else a package from apt."""
    best = None
    for top in ("/usr/lib", "/usr/libexec", "/usr/share", "/usr/bin", "/opt"):
        for path, _, names in os.walk(top):
            for name in names:
                full = os.path.join(path, name)
                try:
                    size = os.lstat(full).st_size if not os.path.islink(full) else 0
                except OSError:
                    continue
                if 60e6 <= size <= 300e6 and os.access(full, os.R_OK):
                    if best is None or abs(size - 100e6) < abs(best[0] - 100e6):
                        best = (size, full)
    if best:
        return best[1]
    say("no file of some 100 MB here; apt downloads one")
    for package in ("chromium", "fonts-noto-extra", "openjdk-17-jre-headless"):
        if subprocess.run(["apt-get", "download", "-q", package], cwd=folder, capture_output=True).returncode == 0:
            return next(os.path.join(folder, n) for n in os.listdir(folder) if n.endswith(".deb"))
    raise Problem("no file to share was found; name one: config/demo FILE")


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def transfer(node, infohash):
    """What the node says about this transfer, {} while it has none."""
    text = node.call("list", "--json", check=False).stdout
    transfers = json.loads(text)["transfers"] if text else []
    return next((t for t in transfers if t["infohash"] == infohash), {})


def part(fetching):
    """How much of it there is, 0 to 1; None while that is not known."""
    return fetching["have_bytes"] / fetching["size_bytes"] if fetching.get("size_bytes") else None


def table_lines(students, fetching, teacher_sent, size, seconds):
    for node, one in zip(students, fetching):
        done, rate = part(one), one.get("receive_rate", 0) / 1e6
        cells = int((done or 0) * 40)
        state = "looking for the teacher" if done is None else "has it" if done == 1 else \
            f"{done * 100:5.1f} %  {rate:6.1f} MB/s from {one['peers']}"
        yield f"  {node.name:<9} [{'#' * cells}{'.' * (40 - cells)}] {state}"
    had = sum(one.get("have_bytes", 0) for one in fetching) / size
    yield f"  {seconds:.0f} s: {had:.1f} copies are there; the teacher has sent {teacher_sent / size:.1f} of them."


def draw(lines, rewind):
    width = shutil.get_terminal_size().columns  # a line that wraps could not be drawn over
    if rewind:
        sys.stdout.write(f"\033[{len(lines)}A")
    for line in lines:
        sys.stdout.write(f"{line[:width - 1]}\033[K\n")
    sys.stdout.flush()


def watch(teacher, students, infohash, size, jobs):
    """A live table on a terminal, a line every few seconds elsewhere, until all jobs are done."""
    live, drawn, next_line, begin = sys.stdout.isatty(), False, 0.0, time.monotonic()
    while True:
        finished = all(job.done() for job in jobs)
        seconds = time.monotonic() - begin
        if live or finished or seconds >= next_line:
            fetching = [transfer(node, infohash) for node in students]
            sent = transfer(teacher, infohash).get("sent_bytes", 0)
        if live:
            draw(list(table_lines(students, fetching, sent, size, seconds)), drawn)
            drawn = True
        elif finished or seconds >= next_line:
            next_line = seconds + 5
            parts = [part(one) for one in fetching]
            say(f"  {seconds:3.0f} s " + " ".join("    ...." if p is None else f"{p * 100:6.1f} %" for p in parts))
        if finished:
            return sent
        if any(job.done() and job.exception() for job in jobs):
            raise next(job.exception() for job in jobs if job.done() and job.exception())
        concurrent.futures.wait(jobs, timeout=0.5)


def file_part(teacher, students, file, folder, shaped):
    size = os.path.getsize(file)
    say(f"\nThe teacher shares {file} ({size / 1e6:.1f} MB).")
    magnet = teacher.call("share", file).stdout.strip()
    say(f"  {magnet}")
    infohash = magnet.split("btih:")[1][:40].lower()
    say("The students fetch it by that link alone, finding the teacher through the DHT.")

    def fetch(node):
        target = os.path.join(folder, node.name, "files")
        os.mkdir(target)
        begin = time.monotonic()
        node.call("fetch", magnet, "--to", target, timeout=3600)
        return time.monotonic() - begin, os.path.join(target, os.path.basename(file))

    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(len(students)) as pool:
        jobs = [pool.submit(fetch, node) for node in students]
        try:
            sent = watch(teacher, students, infohash, size, jobs)
        except Problem:
            interrupt.end_all()  # the others need not go on
            raise
    results = [job.result() for job in jobs]
    last = max(seconds for seconds, _ in results)
    say(f"\nAll {len(students)} students have it after {time.monotonic() - begin:.1f} s "
        f"(first {min(s for s, _ in results):.1f} s). The teacher sent {sent / size:.2f} copies.")
    if shaped:
        rate = MBIT * 1e6 / 8
        say(f"One server on the same {MBIT} Mbit/s link, sending to each in turn, needs at least\n"
            f"{len(students) * size / rate:.1f} s: {len(students) * size / rate / last:.1f} times as long.")
    else:
        begin = time.monotonic()
        shutil.copyfile(file, os.path.join(folder, "copy"))
        one = time.monotonic() - begin
        say(f"On loopback no link is the limit, so a swarm gains nothing: a plain copy of the file takes\n"
            f"{one:.1f} s here, {len(students)} in turn {len(students) * one:.1f} s. Run it as root to see the difference.")
    wanted = sha256(file)
    for node, (_, copy) in zip(students, results):
        if sha256(copy) != wanted:
            raise Problem(f"the copy of {node.name} differs")
    say(f"SHA-256 of every copy: {wanted}")


def values_part(students):
    writer, victims, reader = students[0], students[2:5], students[7]
    say(f"\n{writer.name} stores {VALUES} values.")
    for number in range(VALUES):
        writer.call("put", f"quiz/{number}", f"answer {number * number}")
    say(f"SIGKILL to {', '.join(node.name for node in victims)}, every process of theirs.")
    for node in victims:
        node.kill()
    for number in range(VALUES):
        value = reader.call("get", f"quiz/{number}").stdout
        if value != f"answer {number * number}":
            raise Problem(f"quiz/{number} reads '{value}'")
    say(f"{reader.name} reads all {VALUES} of them.")


def restart_part(node):
    before = node.service("swarm")
    say(f"\nSIGKILL to the swarm service of {node.name} (process {before['pid']}).")
    os.kill(before["pid"], signal.SIGKILL)
    begin, limit = time.monotonic(), 30
    while True:
        now = node.service("swarm")
        if now and now["pid"] not in (0, before["pid"]) and now["state"] == "ready":
            break
        if time.monotonic() - begin > limit:
            raise Problem(f"it is not back after {limit} s")
        time.sleep(0.02)
    say(f"It is back after {time.monotonic() - begin:.2f} s:")
    say(run(node.admin, "status", "--dir", node.dir, check=False).stdout.rstrip())


def main():
    bin_folder = os.path.abspath(sys.argv[1])
    interrupt.watch()
    folder = tempfile.mkdtemp(prefix="lb-")
    network, nodes, code = None, [], 1
    try:
        file = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else real_file(folder)
        network = Network()
        say(f"A class on this machine: one teacher and {STUDENTS} students, each a whole node, "
            + (f"each in a\nnetwork namespace of its own behind a link of {MBIT} Mbit/s." if network.shaped
               else "on ports\nof loopback (root would give each a shaped link of its own)."))
        for number, name in enumerate(["teacher"] + [f"student{n}" for n in range(1, STUDENTS + 1)], 1):
            nodes.append(Node(bin_folder, folder, name, network.add(number)))
        teacher, students = nodes[0], nodes[1:]
        begin = time.monotonic()
        teacher.start()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda node: node.start(teacher.address), students))
        say(f"{len(nodes)} nodes are up after {time.monotonic() - begin:.1f} s.")
        file_part(teacher, students, file, folder, network.shaped)
        values_part(students)
        restart_part(students[5])
        say("\nAll as promised.")
        code = 0
    except KeyboardInterrupt:
        say("\ninterrupted; the nodes are being stopped")
        code = 130
    except Problem as problem:
        if interrupt.asked and str(problem) == "interrupted":
            code = 130
        say(f"\nconfig/demo: {problem}")
    finally:
        interrupt.ignore()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(Node.stop, nodes))
        if network:
            network.remove()
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
