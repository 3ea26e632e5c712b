#!/usr/bin/python3
"""lb-supervisor with fake services: restarts, back-off, hangs, sockets, stopping, a second node.

usage: supervision_test.py LB-SUPERVISOR FAKE-SERVICE [TEST ...]
Every test has a node of its own; they run beside each other, since most of their time is waiting.
"""
import concurrent.futures
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import status_page  # noqa: E402
import zmtp  # noqa: E402

SERVICES = ["routing", "storage", "transport", "swarm", "gateway"]
LIMIT = 40  # seconds; a loaded machine with sanitizers is slow


def wait_for(what, condition, limit=LIMIT):
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit} s: {what}")
        time.sleep(0.02)


class Node:
    """A supervisor of its own in a folder of its own, with fake services."""

    def __init__(self, **behaviours):
        self.folder = tempfile.mkdtemp(prefix="lb-sv-", dir="/tmp")
        self.bin = os.path.join(self.folder, "bin")
        os.mkdir(self.bin)
        os.makedirs(os.path.join(self.folder, "d", "fake"))
        shutil.copy(SUPERVISOR, self.bin)
        for service in SERVICES:
            shutil.copy(FAKE, os.path.join(self.bin, "lb-" + service))
            self.behave(service, behaviours.get(service, ""))
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(os.path.join(self.folder, "notify"))
        self.notify.settimeout(LIMIT)
        self.started = []

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(LIMIT)
                except subprocess.TimeoutExpired:
                    process.kill()
        if kind:
            print(self.log(), file=sys.stderr)
        self.notify.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def behave(self, service, words):
        with open(os.path.join(self.folder, "d", "fake", service), "w", encoding="utf-8") as file:
            file.write(words)

    def up(self, *arguments, listen="127.0.0.1:0", own_session=True):
        environment = dict(os.environ, NOTIFY_SOCKET=os.path.join(self.folder, "notify"))
        with open(os.path.join(self.folder, "log"), "ab") as log:
            process = subprocess.Popen(
                [os.path.join(self.bin, "lb-supervisor"), "--dir", os.path.join(self.folder, "d"),
                 "--set", "node.listen=" + listen, "--set", "supervisor.watchdog=3s", *arguments],
                stdout=log, stderr=log, env=environment, start_new_session=own_session)
        self.started.append(process)
        return process

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8") as log:
            return log.read()

    def await_ready(self):
        while b"READY=1" not in self.notify.recv(4096):
            pass

    def slot(self, service):
        return status_page.read_slot(os.path.join(self.folder, "d", "run"), service)

    def state(self, service):
        return self.slot(service)["state"]

    def events(self, service, kind="start"):
        try:
            with open(os.path.join(self.folder, "d", "fake", service + ".log"),
                      encoding="utf-8") as file:
                events = [json.loads(line) for line in file if line.endswith("\n")]
        except FileNotFoundError:
            return []
        return [event for event in events if event["event"] == kind]

    def ask(self, body, timeout=LIMIT):
        path = os.path.join(self.folder, "d", "run", "supervisor-0.sock")
        return zmtp.ask(path, body, timeout)

    def all_ready(self):
        return all(self.state(service) == "ready" for service in SERVICES)


def pid_is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def restart_request(service, instance=None):
    body = zmtp.field_text(1, service)
    if instance is not None:
        body += zmtp.field_number(2, instance)
    return zmtp.field_bytes(1, body)


# ---- the tests ----

def test_starts_hands_over_and_stops_in_order():
    with Node(routing="slow", storage="slow", gateway="slow") as node:
        process = node.up("--set", "transport.workers=3")
        node.await_ready()
        wait_for("ready", node.all_ready)
        ports = {}
        for service in SERVICES:
            for event in node.events(service):
                names = [name for name, _ in event["sockets"]]
                assert names.count("mailbox") == 1, names
                ports.setdefault(service, []).append([n for n in names if n != "mailbox"])
                assert event["session"] == event["pid"], "not in a session of its own"
                assert event["watchdog"] == "3000000"
                # stdin, stdout, stderr, the sockets, its own pipe and the listing of this folder
                assert len(event["open"]) == 3 + len(names) + 2 + 1, event["open"]
                last = [a for a in event["arguments"] if a.startswith("node.listen=")][-1]
                assert last.startswith("node.listen=127.0.0.1:") and not last.endswith(":0"), last
        assert ports == {"routing": [[]], "storage": [[]], "transport": [["udp"]] * 3,
                         "swarm": [["tcp"]], "gateway": [["api", "events"]]}, ports
        instances = sorted(event["arguments"][-1] for event in node.events("transport"))
        assert instances == ["0", "1", "2"], instances
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0
        ends = {service: [e["at"] for e in node.events(service, "end")] for service in SERVICES}
        order = ["gateway", "swarm", "storage", "transport", "routing"]
        for first, second in zip(order, order[1:]):
            assert max(ends[first]) < min(ends[second]), (first, second, ends)
        assert not os.path.exists(os.path.join(node.folder, "d", "run", "api.sock"))
        assert all(node.state(service) == "stopped" for service in SERVICES)


def test_crash_at_once_backs_off_and_fails():
    with Node(storage="crash") as node:
        node.up()
        wait_for("failed", lambda: node.state("storage") == "failed")
        slot = node.slot("storage")
        starts = [event["at"] for event in node.events("storage")]
        gaps = [later - earlier for earlier, later in zip(starts, starts[1:])]
        assert len(starts) == 6 and slot["restarts"] == 5, (starts, slot)
        for gap, least in zip(gaps[1:], [0.05, 0.1, 0.2, 0.4]):
            assert gap >= least, gaps
        assert slot["last_exit"] == -9 and slot["next_start"] > 0 and slot["pid"] == 0, slot
        assert "signal 9" in slot["note"], slot
        node.await_ready()  # degraded, but the others serve
        for service in SERVICES:
            if service != "storage":
                wait_for(service, lambda name=service: node.state(name) == "ready")
        node.behave("storage", "")
        _, error, reason, _ = node.ask(restart_request("storage"))
        assert error == 0, reason
        assert node.all_ready()


def test_code_78_is_not_retried():
    with Node(swarm="code 78", storage="code 77") as node:
        node.up()
        node.await_ready()
        wait_for("failed", lambda: node.state("swarm") == "failed")
        time.sleep(0.3)  # were it retried, it would be by now
        assert len(node.events("swarm")) == 1 and len(node.events("storage")) == 1
        assert node.slot("swarm")["last_exit"] == 78 and node.slot("swarm")["next_start"] == 0
        _, error, reason, _ = node.ask(restart_request("swarm"))
        assert error != 0 and "78" in reason, reason


def test_a_hang_is_aborted():
    with Node(routing="silent") as node:
        node.up()
        node.await_ready()
        wait_for("a restart", lambda: node.slot("routing")["restarts"] > 0)
        assert node.slot("routing")["last_exit"] == -signal.SIGABRT, node.slot("routing")


def test_a_stopped_process_is_killed():
    with Node() as node:
        node.up()
        node.await_ready()
        wait_for("ready", node.all_ready)
        pid = node.slot("gateway")["pid"]
        os.kill(pid, signal.SIGSTOP)
        wait_for("hung", lambda: node.state("gateway") == "hung" or
                 node.slot("gateway")["restarts"] > 0)
        wait_for("a restart", lambda: node.slot("gateway")["restarts"] > 0)
        assert node.slot("gateway")["last_exit"] == -signal.SIGKILL
        assert pid_is_gone(pid)
        wait_for("ready", node.all_ready)


def test_sockets_outlive_the_process():
    with Node(swarm="accept") as node:
        node.up()
        node.await_ready()
        wait_for("ready", node.all_ready)
        first = node.events("swarm")[0]
        port = int(first["arguments"][first["arguments"].index("--instance") - 1].rsplit(":", 1)[1])
        os.kill(first["pid"], signal.SIGSTOP)  # it does not accept any more
        waiting = [socket.create_connection(("127.0.0.1", port), LIMIT) for _ in range(20)]
        os.kill(first["pid"], signal.SIGKILL)
        second = wait_for("a second start", lambda: node.events("swarm")[1:])[0]
        assert second["sockets"] == first["sockets"], (first, second)
        for connection in waiting:  # none was refused, none is lost
            assert connection.recv(20) == str(second["pid"]).encode()
            connection.close()
        wait_for("ready", node.all_ready)


def test_who_does_not_stop_is_killed():
    with Node(storage="deaf") as node:
        process = node.up()
        node.await_ready()
        wait_for("ready", node.all_ready)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        wait_for("swarm to end", lambda: node.state("swarm") == "stopped")
        assert node.ask(restart_request("swarm"))[1] == 14, "nothing is started during a drain"
        assert process.wait(LIMIT) == 0
        assert len(node.events("swarm")) == 1
        assert time.monotonic() - began >= 9.5
        assert node.slot("storage")["last_exit"] == -signal.SIGKILL
        assert node.events("routing", "end"), "the others were drained"


def test_a_second_signal_ends_it_at_once():
    with Node(storage="deaf") as node:
        process = node.up()
        node.await_ready()
        wait_for("ready", node.all_ready)
        pids = [node.slot(service)["pid"] for service in SERVICES]
        process.send_signal(signal.SIGTERM)
        wait_for("draining", lambda: node.state("storage") == "draining")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 0
        assert time.monotonic() - began < 9
        wait_for("no process left", lambda: all(pid_is_gone(pid) for pid in pids))


def test_a_killed_supervisor_leaves_nobody():
    with Node(transport="deaf") as node:
        process = node.up()
        node.await_ready()
        wait_for("ready", node.all_ready)
        event = node.events("swarm")[0]
        listen = [a for a in event["arguments"] if a.startswith("node.listen=")][-1]
        pids = [node.slot(service)["pid"] for service in SERVICES]
        process.kill()
        process.wait()
        node.up(listen=listen.removeprefix("node.listen="))  # the same port, and one is deaf
        node.await_ready()
        wait_for("ready", lambda: node.all_ready() and not
                 set(pids) & {node.slot(service)["pid"] for service in SERVICES})
        assert all(pid_is_gone(pid) for pid in pids)


def test_a_second_node_of_a_folder_is_refused():
    with Node() as node:
        node.up()
        node.await_ready()
        wait_for("ready", node.all_ready)
        before = [node.slot(service)["pid"] for service in SERVICES]
        second = node.up()
        assert second.wait(LIMIT) == 1
        assert "a node runs in this folder already" in node.log()
        _, error, reason, _ = node.ask(restart_request("routing"))  # its mailbox was not stolen
        assert error == 0, reason
        assert [node.slot(service)["pid"] for service in SERVICES][1:] == before[1:]


def test_requests():
    with Node() as node:
        process = node.up("--set", "transport.workers=2")
        node.await_ready()
        wait_for("ready", node.all_ready)
        first = {e["pid"] for e in node.events("transport")}
        assert node.ask(restart_request("transport"))[1] == 0
        starts = node.events("transport")
        assert len(starts) == 4 and not first & {e["pid"] for e in starts[2:]}
        ends = node.events("transport", "end")
        assert starts[2]["at"] < ends[1]["at"], "one after the other"
        assert node.ask(restart_request("transport", 1))[1] == 0
        assert len(node.events("transport")) == 5
        scale = zmtp.field_text(1, "transport")
        for what, body, error, word in [
                ("no service", restart_request("printer"), 2, "no such service"),
                ("no instance", restart_request("storage", 7), 2, "no such instance"),
                ("itself", restart_request("supervisor"), 5, "littlebird"),
                ("the same", zmtp.field_bytes(2, scale + zmtp.field_number(2, 2)), 0, ""),
                ("more", zmtp.field_bytes(2, scale + zmtp.field_number(2, 4)), 5, "2"),
                ("unknown", zmtp.field_bytes(99, b""), 5, ""),
                ("garbage", b"\xff\xff\xff", 1, "")]:
            _, got, reason, _ = node.ask(body)
            assert got == error and word in reason, (what, got, reason)
        assert node.ask(zmtp.field_bytes(3, b""))[1] == 0
        assert process.wait(LIMIT) == 0


def test_what_it_refuses():
    busy = socket.socket()
    busy.bind(("127.0.0.1", 0))
    busy.listen()
    port = busy.getsockname()[1]
    with Node() as node:
        with open(os.path.join(node.folder, "d", "littlebird.conf"), "w", encoding="utf-8") as file:
            file.write("[node]\nlog_level = info\nlissten = 1\n")
        assert node.up().wait(LIMIT) == 78
        assert "littlebird.conf:3" in node.log()
        os.unlink(os.path.join(node.folder, "d", "littlebird.conf"))
        for listen, code, words in [
                ("localhost", 78, ["node.listen", "localhost"]),
                ("127.0.0.1:0,127.0.0.1:0", 78, ["two addresses of one kind"]),
                ("", 78, ["node.listen"]),
                (f"127.0.0.1:{port}", 1, [f"127.0.0.1:{port}", "TCP (swarm)", "in use"]),
                ("192.0.2.1:7000", 1, ["192.0.2.1:7000", "no such address"])]:
            assert node.up(listen=listen).wait(LIMIT) == code, (listen, node.log())
            for word in words:
                assert word in node.log(), (word, node.log())
        assert node.up("--instance", "3").wait(LIMIT) == 78
        assert node.up("--nonsense").wait(LIMIT) == 2
    busy.close()


def test_strangers_notifications_are_passed_over():
    with Node(storage="mute") as node:
        node.up()
        wait_for("routing", lambda: node.state("routing") == "ready")
        inbox = os.path.join(node.folder, "d", "run", "notify.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            for text in [b"READY=1", b"WATCHDOG=trigger", b"", b"\0" * 4000, b"STATUS=" + b"x" * 9000]:
                stranger.sendto(text, inbox)
            stranger.connect(inbox)
            with open("/dev/null", "rb") as null:
                socket.send_fds(stranger, [b"FDSTORE=1"], [null.fileno()])
        time.sleep(0.3)
        assert node.state("storage") == "starting"
        assert node.slot("routing")["restarts"] == 0


def run(test):
    began = time.monotonic()
    try:
        test()
        problem = None
    except BaseException:  # noqa: B902
        problem = traceback.format_exc()
    return test.__name__, time.monotonic() - began, problem


def main():
    tests = [value for name, value in globals().items() if name.startswith("test_")
             and (not sys.argv[3:] or name in sys.argv[3:])]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(tests)) as pool:
        for name, seconds, problem in pool.map(run, tests):
            print(f"{'FAILED' if problem else 'ok':6} {name} ({seconds:.1f} s)")
            if problem:
                print(problem)
                failed += 1
    return 1 if failed else 0


SUPERVISOR, FAKE = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
sys.exit(main())
