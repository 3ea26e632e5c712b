#!/usr/bin/python3
"""lb-supervisor with fake services: restarts, back-off, hangs, sockets, stopping, a second node.

usage: supervision_test.py LB-SUPERVISOR FAKE-SERVICE [TEST ...]
Every test has a node of its own; they run beside each other, since most of their time is waiting.
"""
import concurrent.futures
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
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import guard  # noqa: E402
import status_page  # noqa: E402
import zmtp  # noqa: E402

SERVICES = ["routing", "storage", "transport", "swarm", "gateway"]
OPTIONAL = ["signer", "coordinator", "member"]  # of private networks
IDENTITY = f"littlebird member 1\nnetwork class-7b\nnetwork-id {64 * 'a'}\nnode-id {40 * 'b'}\n"
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
        guard.watch(self.folder)
        self.bin = os.path.join(self.folder, "bin")
        os.mkdir(self.bin)
        os.makedirs(os.path.join(self.folder, "d", "fake"))
        shutil.copy(SUPERVISOR, self.bin)
        for service in SERVICES + OPTIONAL:
            shutil.copy(FAKE, os.path.join(self.bin, "lb-" + service))
        for name, words in behaviours.items():
            self.behave(name, words)
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

    def slot(self, service, instance=0):
        return status_page.read_slot(os.path.join(self.folder, "d", "run"), service, instance)

    def state(self, service, instance=0):
        return self.slot(service, instance)["state"]

    def active(self, service):
        return status_page.read_active(os.path.join(self.folder, "d", "run"), service)

    def keep(self, name, text):
        """A file of the node's state."""
        path = os.path.join(self.folder, "d", "data", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def mailboxes(self, service):
        return sorted(name for name in os.listdir(os.path.join(self.folder, "d", "run"))
                      if name.startswith(service + "-"))

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


def scale_request(service, instances):
    return zmtp.field_bytes(2, zmtp.field_text(1, service) + zmtp.field_number(2, instances))


def sockets_of(event):
    return [name for name, _ in event["sockets"]]


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


def test_what_the_node_is_decides_who_runs():
    with Node(signer="slow", coordinator="slow", member="slow") as node:
        def run_and_stop(*wanted):
            process = node.up("--set", "coordinator.listen=127.0.0.1:0")
            node.await_ready()
            assert node.all_ready(), node.log()
            for service in OPTIONAL:
                is_wanted = service in wanted
                assert node.state(service) == ("ready" if is_wanted else "absent"), service
                assert node.mailboxes(service) == ([service + "-0.sock"] if is_wanted else []), service
                _, error, reason, _ = node.ask(restart_request(service))
                assert (error == 0) == is_wanted, (service, reason)
                assert is_wanted or "private network only" in reason, reason
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT) == 0

        run_and_stop()
        assert not any(node.events(service) for service in OPTIONAL)
        node.keep("identity", IDENTITY)
        run_and_stop("member")
        node.keep("ca/intermediate.key", "")
        run_and_stop("signer", "coordinator", "member")
        sockets = {service: sockets_of(node.events(service)[-1]) for service in OPTIONAL}
        assert sockets == {"signer": ["mailbox"], "coordinator": ["mailbox", "coordinator"],
                           "member": ["mailbox"]}, sockets
        ends = [node.events(service, "end")[-1]["at"]
                for service in ("gateway", "coordinator", "signer", "member", "transport")]
        assert ends[0] < min(ends[1:]) and ends[1] < ends[2] and ends[3] < ends[4], ends
        node.keep("identity", "littlebird member 2\n")  # one that cannot be read is not the open network
        starts = len(node.events("routing"))
        assert node.up().wait(LIMIT) == 78
        assert "identity: it is damaged" in node.log() and len(node.events("routing")) == starts
        os.unlink(os.path.join(node.folder, "d", "data", "identity"))
        os.unlink(os.path.join(node.folder, "d", "data", "ca", "intermediate.key"))
        run_and_stop()  # what ran before left nothing in the page


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
        assert f"pid={pid} is sent SIGKILL" in node.log() and "SIGABRT" not in node.log(), node.log()
        wait_for("ready", node.all_ready)


def test_a_supervisor_that_was_stopped_aborts_nobody():
    with Node() as node:
        process = node.up()
        node.await_ready()
        wait_for("ready", node.all_ready)
        pids = [node.slot(service)["pid"] for service in SERVICES]
        process.send_signal(signal.SIGSTOP)
        time.sleep(4)  # longer than the watchdog
        process.send_signal(signal.SIGCONT)
        wait_for("it to see that", lambda: "judged anew" in node.log())
        assert node.ask(restart_request("swarm"))[1] == 0  # it has looked at everything since
        assert [node.slot(service)["restarts"] for service in SERVICES] == [0, 0, 0, 1, 0]
        assert node.ask(restart_request("swarm"))[1] == 0
        del pids[3]
        assert pids == [node.slot(s)["pid"] for s in SERVICES if s != "swarm"]


def test_who_beats_but_answers_nothing_is_aborted():
    with Node() as node:
        node.up("--set", "supervisor.stuck=1s")
        node.await_ready()
        wait_for("ready", node.all_ready)
        pid = node.slot("storage")["pid"]
        status_page.write_overdue(os.path.join(node.folder, "d", "run"), "storage", 5000)
        wait_for("a restart", lambda: node.slot("storage")["restarts"] > 0)
        assert pid_is_gone(pid) and node.slot("storage")["last_exit"] == -signal.SIGABRT
        assert "storage-0 is stuck" in node.log(), node.log()
        wait_for("ready", node.all_ready)
        time.sleep(1.5)  # the new one is not overdue
        assert node.slot("storage")["restarts"] == 1


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
        for what, body, error, word in [
                ("no service", restart_request("printer"), 2, "no such service"),
                ("no instance", restart_request("storage", 7), 2, "no such instance"),
                ("itself", restart_request("supervisor"), 5, "littlebird"),
                ("the same", scale_request("transport", 2), 0, ""),
                ("one of one", scale_request("gateway", 1), 0, ""),
                ("none", scale_request("transport", 0), 1, "at least one"),
                ("too many", scale_request("transport", 17), 1, "at most 16"),
                ("what is one process", scale_request("routing", 2), 5, "does not scale"),
                ("the supervisor", scale_request("supervisor", 2), 5, "one supervisor"),
                ("no service to scale", scale_request("printer", 2), 2, "no such service"),
                ("unknown", zmtp.field_bytes(99, b""), 5, ""),
                ("garbage", b"\xff\xff\xff", 1, "")]:
            _, got, reason, _ = node.ask(body)
            assert got == error and word in reason, (what, got, reason)
        assert node.ask(zmtp.field_bytes(3, b""))[1] == 0
        assert process.wait(LIMIT) == 0


def test_scales_up_and_down():
    with Node() as node:
        node.up()
        node.await_ready()
        wait_for("ready", node.all_ready)
        assert node.active("transport") == 1
        first = node.slot("transport")["pid"]
        assert node.ask(scale_request("transport", 4))[1] == 0
        assert node.active("transport") == 4
        assert all(node.state("transport", i) == "ready" for i in range(4))
        starts = node.events("transport")
        assert [sorted(sockets_of(e)) for e in starts] == [["mailbox", "udp"]] * 4, starts
        assert len({tuple(s) for e in starts for s in e["sockets"]}) == 8, "a socket is shared"
        assert node.mailboxes("transport") == [f"transport-{i}.sock" for i in range(4)]
        began = time.monotonic()
        assert node.ask(scale_request("transport", 2))[1] == 0
        assert node.active("transport") == 2 and node.mailboxes("transport") == [
            "transport-0.sock", "transport-1.sock"]
        assert {e["arguments"][-1] for e in starts if e["pid"] in
                {end["pid"] for end in node.events("transport", "end")}} == {"2", "3"}
        ended = min(e["at"] for e in node.events("transport", "end"))
        assert int(ended * 1000) >= int(began * 1000) + 1000, "too soon"  # the supervisor counts whole ms
        assert [node.state("transport", i) for i in range(4)] == ["ready"] * 2 + ["absent"] * 2
        assert node.state("supervisor") == "ready" and node.slot("transport")["pid"] == first
        assert node.ask(scale_request("transport", 16))[1] == 0
        assert node.ask(scale_request("transport", 1))[1] == 0
        assert len(node.events("transport", "end")) == 2 + 15 and node.active("transport") == 1
        assert node.slot("transport")["pid"] == first and node.slot("transport")["restarts"] == 0


def free_ports(count):
    """The first of so many in a row, below those that the kernel gives to others."""
    while True:
        first = random.randrange(20000, 32000)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        stack.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
                return first
            except OSError:
                pass


def test_each_swarm_has_a_port_of_its_own():
    port = free_ports(4)

    def who(answers_at):
        with socket.create_connection(("127.0.0.1", answers_at), LIMIT) as connection:
            return int(connection.recv(20))

    with Node(swarm="accept") as node, socket.socket() as other:
        other.bind(("127.0.0.1", port + 2))  # another program has the port of the third
        other.listen()
        node.up(listen=f"127.0.0.1:{port}")
        node.await_ready()
        wait_for("ready", node.all_ready)
        assert node.ask(scale_request("swarm", 4))[1] == 0
        assert [sorted(sockets_of(e)) for e in node.events("swarm")] == [["mailbox", "tcp"]] * 4
        assert len({s[1] for e in node.events("swarm") for s in e["sockets"]}) == 8, "one is shared"
        for instance in (0, 1, 3):
            assert who(port + instance) == node.slot("swarm", instance)["pid"], instance
        assert node.ask(scale_request("swarm", 1))[1] == 0
        assert who(port) == node.slot("swarm", 0)["pid"]
        for gone in (1, 3):
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", port + gone)) != 0, gone


def test_who_does_not_drain_is_killed_and_scaled_away():
    with Node(**{"storage-2": "deaf"}) as node:
        node.up("--set", "storage.workers=2")
        node.await_ready()
        wait_for("ready", node.all_ready)
        assert node.ask(scale_request("storage", 3))[1] == 0
        pid = node.slot("storage", 2)["pid"]
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            down = pool.submit(node.ask, scale_request("storage", 1))
            wait_for("it drains", lambda: node.state("storage", 2) == "draining")
            assert node.state("supervisor") == "ready"  # the others serve
            assert down.result()[1] == 0 and pid_is_gone(pid)
        assert node.mailboxes("storage") == ["storage-0.sock"] and node.active("storage") == 1


def test_a_scaling_that_fails_is_taken_back():
    with Node(**{"transport-2": "code 78", "transport-3": "crash"}) as node:
        node.up()
        node.await_ready()
        wait_for("ready", node.all_ready)
        _, error, reason, _ = node.ask(scale_request("transport", 3))
        assert error == 4 and "transport-2 failed" in reason and "code 78" in reason, (error, reason)
        assert "stays at 2" in reason, reason
        wait_for("two again", lambda: node.active("transport") == 2 and node.mailboxes("transport") ==
                 ["transport-0.sock", "transport-1.sock"])
        assert node.state("transport", 2) == "absent"
        assert node.state("supervisor") == "ready"
        node.behave("transport-2", "")
        _, error, reason, _ = node.ask(scale_request("transport", 4))  # the last crashes again and again
        assert error == 4 and "transport-3 failed" in reason and "signal 9" in reason, reason
        assert node.active("transport") == 3
        node.behave("transport-3", "")
        assert node.ask(scale_request("transport", 4))[1] == 0


def test_scaling_beside_what_fails():
    with Node(**{"transport-1": "crash"}) as node:
        node.up("--set", "transport.workers=2")
        wait_for("failed", lambda: node.state("transport", 1) == "failed")
        assert node.ask(scale_request("transport", 3))[1] == 0
        assert node.state("transport", 1) == "failed" and node.active("transport") == 3
        assert node.state("supervisor") == "degraded"
        assert node.ask(scale_request("transport", 1))[1] == 0
        wait_for("well", lambda: node.state("supervisor") == "ready")
        assert node.state("transport", 1) == "absent" and node.mailboxes("transport") == [
            "transport-0.sock"]


def test_scaling_and_restarting_at_once():
    with Node(transport="slow") as node, concurrent.futures.ThreadPoolExecutor(8) as pool:
        process = node.up("--set", "transport.workers=4")
        node.await_ready()
        wait_for("ready", node.all_ready)
        rolling = pool.submit(node.ask, restart_request("transport"))
        wait_for("the first is restarted", lambda: len(node.events("transport")) > 4)
        last = pool.submit(node.ask, restart_request("transport", 3))
        wait_for("the last drains", lambda: node.state("transport", 3) == "draining")
        down = pool.submit(node.ask, scale_request("transport", 2))
        assert down.result()[1] == 0 and rolling.result()[1] == 0, (down.result(), rolling.result())
        assert last.result()[1] == 2 and "scaled away" in last.result()[2], last.result()
        assert node.active("transport") == 2
        assert node.slot("transport")["restarts"] == node.slot("transport", 1)["restarts"] == 1
        up = pool.submit(node.ask, scale_request("transport", 6))
        wait_for("six are wanted", lambda: len(node.mailboxes("transport")) == 6)
        again = pool.submit(node.ask, scale_request("transport", 3))
        assert again.result()[1] == 0 and node.active("transport") == 3
        assert up.result()[1] == 0 or (up.result()[1] == 14 and "meanwhile" in up.result()[2])
        node.behave("transport", "mute")
        up = pool.submit(node.ask, scale_request("transport", 5))
        wait_for("five are wanted", lambda: len(node.mailboxes("transport")) == 5)
        process.send_signal(signal.SIGTERM)
        assert up.result()[1] == 14 and "being stopped" in up.result()[2], up.result()
        assert process.wait(LIMIT) == 0
        assert node.mailboxes("transport") == []


def test_as_many_as_there_are_cores():
    with Node() as node:
        core = min(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {core})  # of this thread: the supervisor inherits it
        node.up("--set", "transport.workers=auto")
        os.sched_setaffinity(0, ALL_CORES)
        node.await_ready()
        wait_for("ready", node.all_ready)
        assert len(node.events("transport")) == 1 and node.active("transport") == 1


def test_a_rolling_restart_that_fails_stops_there():
    with Node() as node:
        node.up("--set", "transport.workers=3")
        node.await_ready()
        wait_for("ready", node.all_ready)
        pids = [node.slot("transport", i)["pid"] for i in range(3)]
        node.behave("transport-1", "code 78")
        _, error, reason, _ = node.ask(restart_request("transport"))
        assert error == 4 and "transport-1 failed" in reason and "not restarted" in reason, reason
        assert node.slot("transport", 0)["pid"] not in pids + [0]
        assert node.slot("transport", 2)["pid"] == pids[2], "it should have been left alone"
        node.behave("transport-1", "")
        assert node.ask(restart_request("transport"))[1] == 0
        assert all(node.state("transport", i) == "ready" for i in range(3))


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


ALL_CORES = os.sched_getaffinity(0)
SUPERVISOR, FAKE = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
sys.exit(main())
