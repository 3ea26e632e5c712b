#!/usr/bin/python3
"""What an administrator sees and sets on a running node: metrics, status while everything hangs, levels of
the log, and a reload that applies all or nothing."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

from node import LIMIT_S, Lab, SERVICES, free_port, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
DASHBOARD = os.path.join(HERE, "../../config/grafana-dashboard.json")
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?\}})? (-?[0-9.]+(?:e[+-]?[0-9]+)?)$")


def get(port, path):
    """Status and text of one page; a refusal is an answer too."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode(), answer.headers.get("Content-Type")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers.get("Content-Type")


def parse(text):
    """The exposition format, strictly: {family: (type, {labels: value})}. Fails on whatever breaks it."""
    families, family, helped = {}, None, set()
    assert text.endswith("\n"), "the last line ends, too"
    for line in text[:-1].split("\n"):
        if match := re.fullmatch(rf"# HELP ({NAME}) (\S.*)", line):
            assert match[1] not in helped, f"a second HELP: {line}"
            helped.add(match[1])
        elif match := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge)", line):
            family = match[1]
            assert family in helped and family not in families, f"TYPE out of place: {line}"
            assert (match[2] == "counter") == family.endswith("_total"), f"counters end in _total: {line}"
            families[family] = (match[2], {})
        else:
            match = SAMPLE.match(line)
            assert match and match[1] == family, f"no sample of {family}: {line}"
            samples = families[family][1]
            assert match[2] not in samples, f"twice: {line}"
            samples[match[2] or ""] = float(match[3])
    return families


def metrics(port):
    status, text, kind = get(port, "/metrics")
    assert status == 200 and kind == "text/plain; version=0.0.4; charset=utf-8", (status, kind)
    return parse(text)


def value(families, name, **labels):
    for text, number in families[name][1].items():
        if all(f'{key}="{wanted}"' in text for key, wanted in labels.items()):
            return number
    raise AssertionError(f"no {name} {labels}")


def dashboard_asks_for_what_there_is(families):
    asked = set()
    with open(DASHBOARD) as file:
        board = json.load(file)
    for panel in board["panels"]:
        for target in panel["targets"]:
            names = set(re.findall(r"littlebird_[a-z0-9_]+", target["expr"]))
            assert names, target
            asked |= names
            for name in names:
                assert name in families, f"{panel['title']}: there is no {name}"
                if "rate(" in target["expr"] or "increase(" in target["expr"]:
                    assert families[name][0] == "counter", f"{panel['title']}: a rate of {name}"
    assert len(asked) > 20, asked


def pages(node, port):
    families = metrics(port)
    unnamed = families["littlebird_unnamed_counter"][1]
    assert not unnamed, f"each counter has a row in metric_names.h: {unnamed}"
    for service in (*SERVICES, "supervisor"):
        assert value(families, "littlebird_service_up", service=service, worker=0) == 1
        assert value(families, "littlebird_service_resident_memory_bytes", service=service) > 100_000
        start = value(families, "littlebird_service_start_time_seconds", service=service)
        assert 0 <= time.time() - start < 3600, start
    assert value(families, "littlebird_node_ready") == 1
    dashboard_asks_for_what_there_is(families)
    before = value(families, "littlebird_api_calls_total", service="gateway")
    node.cli("list")
    assert value(metrics(port), "littlebird_api_calls_total", service="gateway") > before
    assert get(port, "/healthz")[:2] == (200, "ok\n")
    assert get(port, "/readyz")[:2] == (200, "ready\n")
    assert get(port, "/../etc/passwd")[0] == 404 and get(port, "/metrics/")[0] == 404
    for request in (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b"DELETE / HTTP/1.0\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(request)
            assert b" 405 " in client.recv(1000).split(b"\r\n")[0], request


def slow_clients(node, port):
    """Those that say nothing, never end, or do not read hold no place for long, and the API goes on meanwhile."""
    slow = []
    for i in range(40):
        client = socket.create_connection(("127.0.0.1", port), timeout=20)
        client.sendall((b"", b"GET /metr", b"GET / HTTP/1.1\r\nX: " + b"y" * 3000, b"\x16\x03\x01\0\xff")[i % 4])
        slow.append(client)
    node.cli("list")
    assert node.admin("status").returncode == 0
    wait_for("a place for a scrape", lambda: get(port, "/healthz")[0] == 200, pause_s=0.2)
    for client in slow:
        client.close()


def stop(*pids):
    """A process that is asked to stop does so once it has a processor to do it on."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        wait_for("it to stop", lambda pid=pid: open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T")


def hanging(node, port):
    """One after the other and all at once: status answers, and names them; so does health."""
    pids = {row["service"]: row["pid"] for row in node.status()}
    for service in (*SERVICES, None):
        stopped = [service] if service else list(pids)
        try:
            stop(*(pids[name] for name in stopped))
            begun = time.monotonic()
            result = node.admin("status", "--json", check=False)
            took_s = time.monotonic() - begun
            document = json.loads(result.stdout)
            assert result.returncode == 2 and document["level"] == "down", document
            assert {r["service"] for r in document["services"] if r["state"] == "hung"} == set(stopped)
            assert took_s < 60, "it waits for nobody"
            text = node.admin("status", check=False).stdout.decode()
            health = node.admin("health", check=False)
            assert health.returncode == 2 and health.stdout.startswith(b"LITTLEBIRD CRITICAL - "), health
            for name in stopped:
                assert f"{name} hangs: its process {pids[name]} is stopped" in text, text
                assert f"kill -CONT {pids[name]}" in text, text
            if service and service != "gateway":
                assert node.admin("wait", "--ready", "--timeout", "1s", check=False).returncode == 1
        finally:
            for name in stopped:
                os.kill(pids[name], signal.SIGCONT)
    node.await_well("after it hung")
    assert {row["service"]: row["pid"] for row in node.status()} == pids, "nothing was restarted for it"
    assert get(port, "/readyz")[0] == 200
    health = node.admin("health")
    assert re.fullmatch(rb"LITTLEBIRD OK - 6 of 6 processes serve \| serving=6;;;0;6 restarts=[0-9]+c .*\n", health.stdout), health


def not_ready(node, port):
    """A service that is gone for long makes /readyz say so; the gateway itself lives."""
    os.kill(node.service("storage")["pid"], signal.SIGSTOP)
    wait_for("/readyz to say what is missing",
             lambda: get(port, "/readyz")[0] == 503 and "storage" in get(port, "/readyz")[1])
    assert get(port, "/healthz")[0] == 200
    assert value(metrics(port), "littlebird_node_ready") == 0


def levels(node):
    """For a time, for good, and back; in status, in the list and in the log itself."""
    def level(service):
        return node.service(service)["log"]

    assert all(row["log"] is None for row in node.status())
    node.admin("log", "transport", "debug", "10m")
    assert level("transport")["level"] == "debug" and 0 < level("transport")["left_ms"] <= 600_000
    wait_for("it to be obeyed", lambda: "transport: the level of the log is debug" in node.log())
    node.admin("log", "swarm@0", "error")
    assert level("swarm") == {"level": "error", "left_ms": 0}
    listed = node.admin("log").stdout.decode()
    assert re.search(r"transport +debug +9m|transport +debug +10m", listed) and re.search(r"swarm +error\n", listed), listed
    assert "logs debug" in node.admin("status").stdout.decode()
    node.admin("log", "swarm", "debug", "1s")
    wait_for("the time to be over", lambda: level("swarm") is None)
    wait_for("swarm to log as configured again", lambda: "swarm: the level of the log is info" in node.log())
    node.admin("log", "all", "default")
    assert all(row["log"] is None for row in node.status())
    for words, code in ((("swarm", "loud"), 2), (("swarm",), 2), (("cellar", "debug"), 2), (("swarm@7", "debug"), 1),
                        (("swarm", "debug", "soon"), 2)):
        assert node.admin("log", *words, check=False).returncode in (code, 4), words


def write(node, port, *lines):
    with open(os.path.join(node.dir, "littlebird.conf"), "w") as file:
        file.write("\n".join(("[gateway]", f"metrics_listen = 127.0.0.1:{port}", *lines, "")))


def reload(node, port):
    """All of it or nothing; what changed, what waits for a restart and of whom; and the file's line."""
    def said(*words, code=0):
        result = node.admin("reload", *words, check=False)
        assert result.returncode == code, result
        return result.stdout.decode(), result.stderr.decode()

    assert said() == ("nothing has changed\n", "")
    write(node, port, "[swarm]", "send_limit = 5 MB/s", "peers_max = 50", "[storage]", "max_size = 2 GiB")
    dry, _ = said("--dry-run")
    assert "a reload would use:\n  swarm.peers_max = 50 (was 200; " in dry, dry
    assert dry == said("--dry-run")[0], "it changed nothing"
    assert "littlebird.conf:4)" in dry and "storage.max_size = 2 GiB" in dry and "lb-admin restart storage" in dry, dry
    # One wrong line: nothing of it, by the supervisor or by SIGHUP, and the line is named to both.
    write(node, port, "[swarm]", "send_limit = 5 MB/s", "peers_max = none at all")
    _, problem = said(code=78)
    assert "littlebird.conf:5: 'none at all' does not fit 'peers_max'" in problem, problem
    errors = node.log().count("littlebird.conf:5: ")
    for service in ("supervisor", "swarm"):
        os.kill(node.service(service)["pid"], signal.SIGHUP)
        errors += 1
        wait_for("the log to name the line", lambda: node.log().count("littlebird.conf:5: ") >= errors)
    assert node.admin("config", "check", check=False).returncode == 78
    # Right again: it is used, and what needs more is told until it is done.
    write(node, port, "[node]", "log_level = debug", "[swarm]", "send_limit = 5 MB/s", "[storage]", "max_size = 2 GiB")
    done = json.loads(said("--json")[0])
    assert [line.split(" ")[0] for line in done["applied"]] == ["node.log_level", "swarm.send_limit"], done
    assert len(done["needs_restart"]) == 1 and not done["late"] and not done["problem"], done
    for service in (*SERVICES, "supervisor"):
        wait_for("everybody to log by it",
                 lambda: f"{service}: the level of the log is debug" in node.log())
    assert said()[0].startswith("not used until more is done:\n  storage.max_size = 2 GiB (was 1 GiB"), said()
    node.admin("restart", "storage")
    assert node.log().count("storage: starting: looking for routing") == 2, "it is not degraded for starting"
    assert said()[0] == "nothing has changed\n", "the restart has used it"
    # A whole reload by a signal.
    write(node, port, "[storage]", "max_size = 2 GiB")
    os.kill(node.service("supervisor")["pid"], signal.SIGHUP)
    for service in (*SERVICES, "supervisor"):
        wait_for("the level to be back", lambda: f"{service}: the level of the log is info" in node.log())
    # Who hangs is named; it follows when it goes on.
    pid = node.service("swarm")["pid"]
    os.kill(pid, signal.SIGSTOP)
    write(node, port, "[swarm]", "upload_slots = 3", "[storage]", "max_size = 2 GiB")
    try:
        assert "swarm-0 has not taken it over yet" in said(code=5)[1]
    finally:
        os.kill(pid, signal.SIGCONT)
    node.await_well("after the reloads")


def watch(node):
    """Block after block until Ctrl-C, and nothing for terminals."""
    watching, seen = node.start_admin("status", "--watch", stdout=subprocess.PIPE), ""
    while seen.count("SERVICE ") < 2:
        line = watching.stdout.readline().decode()
        assert line, f"it ended by itself: {seen}"
        seen += line
    watching.send_signal(signal.SIGINT)
    seen += watching.communicate(timeout=LIMIT_S)[0].decode()
    assert "\033" not in seen, seen


def main():
    with Lab() as lab:
        node, port = lab.node("a"), free_port()
        write(node, port)
        node.up(None, "--set", "supervisor.watchdog=5min")  # nobody is restarted here for being slow
        pages(node, port)
        slow_clients(node, port)
        levels(node)
        reload(node, port)
        hanging(node, port)
        not_ready(node, port)
        os.kill(node.service("storage")["pid"], signal.SIGCONT)
        watch(node)
        node.down()
        assert node.admin("health", check=False).returncode == 2
        stopped = node.admin("status", "--json", check=False)
        assert stopped.returncode == 3 and json.loads(stopped.stdout)["level"] == "not running", stopped


main()
