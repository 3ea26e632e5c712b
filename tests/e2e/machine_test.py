#!/usr/bin/python3
"""The node under a real systemd: littlebird.target in a machine of its own (machine.py).

Started, shared and fetched with a second node (--dir) beside it, every service killed and hung, scaled,
reloaded, upgraded, restarted and stopped; systemd's counts, the status page and the journal say what happened.
"""

import contextlib
import glob
import grp
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import types
import urllib.request

import machine
import node
from node import SERVICES, Lab, wait_for, wait_for_content

UNITS = {"supervisor": "littlebird-supervisor.service", "routing": "littlebird-routing.service",
         "gateway": "littlebird-gateway.service",
         **{name: f"littlebird-{name}@0.service" for name in ("transport", "storage", "swarm")}}
PRIVATE = {name: f"littlebird-{name}.service" for name in ("signer", "coordinator", "member")}
PORT = 6881
JOIN_PORT = 6891
CONFIG = "/etc/littlebird/littlebird.conf"
TAKEN_OVER = "the configuration is taken over by all"
WATCHDOG_S = 2

# As an administrator would write them.
WATCHDOG = f"[Service]\nWatchdogSec={WATCHDOG_S}\n"
FOLDERS = "[Service]\nReadWritePaths=/srv/in\n"


def prepare(made):
    made.install(os.path.dirname(node.BIN))
    made.write("/etc/systemd/system/littlebird-.service.d/50-watchdog.conf", WATCHDOG)
    for folder in ("/srv/out", "/srv/in", os.path.dirname(CONFIG)):
        os.makedirs(made.path(folder), exist_ok=True)
    made.write("/etc/systemd/system/littlebird-swarm@.service.d/50-folders.conf", FOLDERS)


# ---- asking ----


def run(*command, check=True, **options):
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(command)}\n  exit {result.returncode}\n  {result.stdout}\n  {result.stderr}")
    return result


def show(unit, name):
    return run("systemctl", "show", "-P", name, unit).stdout.strip()


def journal(*more):
    return run("journalctl", "--no-pager", "-o", "cat", *more).stdout


def rows():
    """The processes of the node as lb-admin status tells them, by (service, instance)."""
    result = run("lb-admin", "status", "--json", check=False)
    services = json.loads(result.stdout)["services"] if result.stdout else []
    return {(row["service"], row["instance"]): row for row in services}


def await_well(what):
    """All of them ready and the node well; what hinders it is told otherwise."""
    last = {}

    def is_well():
        last.clear()
        last.update(rows())
        return last and all(row["state"] == "ready" for row in last.values())

    try:
        wait_for(f"the node to be well {what}", is_well)
    except AssertionError as error:
        raise AssertionError(f"{error}: {last}") from None
    run("lb-admin", "status")  # 0: well
    return last


def ports(kind, port=PORT):
    """The sockets bound to a port of the node: their inodes stay the same as long as nobody closes them."""
    found = set()
    for family in ("", "6"):
        with open(f"/proc/net/{kind}{family}", encoding="ascii") as file:
            for line in list(file)[1:]:
                words = line.split()
                if words[1].endswith(f":{port:04X}") and (kind == "udp" or words[3] == "0A"):
                    found.add(words[9])
    return found


@contextlib.contextmanager
def step(what):
    begin = time.monotonic()
    print(f"{what} ...", flush=True)
    yield
    print(f"{what}: {time.monotonic() - begin:.2f} s", flush=True)


# ---- what is shown ----


def starts():
    with step("systemctl start littlebird.target"):
        run("systemctl", "start", "littlebird.target")
        found = await_well("after its start")
    assert set(found) == {(name, 0) for name in UNITS}, found
    users = {}
    for name, unit in UNITS.items():
        pid = found[name, 0]["pid"]
        assert int(show(unit, "MainPID")) == pid, (name, found)
        users[name] = show(unit, "User")
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            status = file.read()
        assert re.search(r"^PPid:\s+1$", status, re.M), status  # systemd's, not lb-supervisor's
        for capabilities in ("CapEff", "CapBnd"):
            assert re.search(rf"^{capabilities}:\s+0+$", status, re.M), status
    assert users == {"supervisor": "root", "routing": "_lb-data", "storage": "_lb-data", "transport": "_lb-net",
                     "swarm": "_lb-net", "gateway": "_lb-api"}, users


def shares_and_fetches(lab, other):
    with step("a second node fetches from it, and it from that"):
        other.up([types.SimpleNamespace(address=f"127.0.0.1:{PORT}")])
        shutil.chown("/srv/in", "_lb-net", "_lb-net")
        shutil.copy(lab.make_file("image", 3_000_000), "/srv/out/image")
        other.cli("fetch", run("littlebird", "share", "/srv/out/image").stdout.strip(), "--to", lab.make_folder("in"))
        wait_for_content("/srv/out/image", lab.path("in/image"))
        run("littlebird", "fetch", other.share(lab.make_file("back", 3_000_000, seed=2)), "--to", "/srv/in")
        wait_for_content(lab.path("back"), "/srv/in/back")
        run("littlebird", "put", "colour", "blue")
        serves(other)


def serves(other):
    """What was put is found, here and from outside."""
    assert run("littlebird", "get", "colour").stdout == "blue"
    assert other.get("colour") == b"blue"


def knows_who_asks():
    """The sandbox leaves the kernel's credentials as they are: groups decide, not what is said."""
    def ask(group, *command):
        return run("setpriv", "--reuid=nobody", f"--regid={group}", "--clear-groups", *command, check=False).returncode

    with step("members of littlebird may look and put, but not restart; others nothing"):
        assert ask("littlebird", "lb-admin", "status") == 0
        assert ask("littlebird", "littlebird", "put", "shape", "round") == 0
        assert ask("littlebird", "lb-admin", "restart", "routing") == 1
        assert ask("nogroup", "lb-admin", "status") != 0
        assert rows()["routing", 0]["restarts"] == 0


def await_restart(name, before, restarts, what):
    def is_back():
        row = rows().get((name, 0))
        return row and row["pid"] not in (0, before[name, 0]["pid"]) and row["state"] in ("ready", "degraded")

    wait_for(f"{name} to be back {what}", is_back, pause_s=0.02)
    wait_for(f"{name} to have {restarts} restarts", lambda: rows()[name, 0]["restarts"] == restarts)
    assert int(show(UNITS[name], "NRestarts")) == restarts


def survives_kills(other):
    kept = ports("udp"), ports("tcp")
    before = await_well("before anything is killed")
    with step("kill -9 of each service"):
        for name in UNITS:
            begin = time.monotonic()
            os.kill(before[name, 0]["pid"], signal.SIGKILL)
            await_restart(name, before, 1, "after SIGKILL")
            print(f"  {name}: serves again after {time.monotonic() - begin:.2f} s", flush=True)
        await_well("after all were killed")
    assert (ports("udp"), ports("tcp")) == kept, "a port was given up"
    for unit in UNITS.values():
        said = journal("-u", unit)
        assert "code=killed, status=9/KILL" in said and "restart counter is at 1" in said, (unit, said)
    serves(other)


def survives_hangs(other):
    before = await_well("before anything hangs")
    with step("SIGSTOP of each service, until its watchdog strikes"):
        for name in UNITS:
            os.kill(before[name, 0]["pid"], signal.SIGSTOP)
        for name in UNITS:
            await_restart(name, before, 2, "after SIGSTOP")
        await_well("after all have hung")
    for unit in UNITS.values():
        assert f"Watchdog timeout (limit {WATCHDOG_S}s)" in journal("-u", unit), unit
    serves(other)


def instances(name):
    return sorted(instance for service, instance in rows() if service == name)


def scales(other):
    kept = ports("udp")
    for name, count in SCALED.items():
        with step(f"scale {name}={count} and back"):
            run("lb-admin", "scale", f"{name}={count}")
            assert instances(name) == list(range(count)), rows()
            await_well(f"with {count} of {name}")
            if name == "transport":
                assert len(ports("udp")) == count * len(kept) and kept < ports("udp")
            serves(other)
            last = f"littlebird-{name}@{count - 1}"
            assert show(f"{last}.service", "ActiveState") == "active"
            second = ports("tcp", PORT + 1)  # of swarm@1, which binds its own and has systemd keep it
            assert bool(second) == (name == "swarm"), second
            run("lb-admin", "restart", name)  # rolling
            assert ports("tcp", PORT + 1) == second, "a port was given up"
            assert all(row["restarts"] == (3 if instance == 0 else 1)
                       for (service, instance), row in rows().items() if service == name), rows()
            run("lb-admin", "scale", f"{name}=1")
            assert instances(name) == [0], rows()
            for kind in ("service", "socket"):
                assert show(f"{last}.{kind}", "ActiveState") == "inactive"
    assert ports("udp") == kept, "a port was given up, or kept for nobody"
    serves(other)


def a_new_supervisor_finds_the_same_size():
    with step("lb-supervisor alone is restarted, the node is as large as it was"):
        run("lb-admin", "scale", "transport=2")
        before = await_well("with two of transport")
        run("systemctl", "restart", UNITS["supervisor"])
        after = await_well("with a new supervisor")
        for key, row in before.items():
            assert key == ("supervisor", 0) or (after[key]["pid"], after[key]["restarts"]) == (
                row["pid"], row["restarts"]), (row, after[key])


def is_reloaded():
    before = await_well("before it is reloaded")
    with step("systemctl reload littlebird.target"):
        with open(CONFIG, "w", encoding="utf-8") as file:
            file.write("[node]\nlog_level = debug\n")
        done = journal("-u", UNITS["supervisor"]).count(TAKEN_OVER)
        run("systemctl", "reload", "littlebird.target")
        # A file that is edited before all have read it is refused by those who come later.
        wait_for("all to have taken it over",
                 lambda: journal("-u", UNITS["supervisor"]).count(TAKEN_OVER) > done)
        assert "node.log_level = debug" in journal("-u", UNITS["supervisor"])
        os.unlink(CONFIG)
        run("lb-admin", "reload")  # waits until all have taken it over
        after = await_well("after it was reloaded")
    assert "the configuration was not taken over by" not in journal("-u", UNITS["supervisor"])
    assert {key: row["pid"] for key, row in after.items()} == {key: row["pid"] for key, row in before.items()}


def is_seen():
    """The gateway has no network but the listening socket that systemd hands it; levels go through the page."""
    def page(path):
        with urllib.request.urlopen(f"http://127.0.0.1:9881{path}", timeout=20) as answer:
            return answer.read().decode()

    with step("metrics by a socket unit, levels of the log, health"):
        run("systemctl", "enable", "littlebird-metrics.socket")
        run("systemctl", "restart", "littlebird.target")
        row = await_well("with metrics")["gateway", 0]
        assert row["listens"] == "HTTP 127.0.0.1:9881", row
        assert 'littlebird_service_up{service="storage",worker="0"} 1' in page("/metrics")
        assert page("/readyz") == "ready\n"
        run("lb-admin", "log", "storage", "debug", "10m")
        wait_for("storage to obey", lambda: "the level of the log is debug" in journal("-u", UNITS["storage"]))
        run("lb-admin", "log", "all", "default")
        assert run("lb-admin", "health").stdout.startswith("LITTLEBIRD OK - ")


def is_upgraded(other):
    """As dpkg does it: another file is moved over the old one, and then what runs is started anew."""
    kept = ports("udp"), ports("tcp")
    with step("upgrade in place, one service after the other"):
        for program in glob.glob("/usr/local/libexec/littlebird/lb-*"):
            shutil.copy(program, program + ".new")
            os.rename(program + ".new", program)
        for name in SERVICES:
            run("lb-admin", "restart", name)
            serves(other)
        run("systemctl", "restart", UNITS["supervisor"])
        after = await_well("after the upgrade")
    for key, row in after.items():
        assert not os.readlink(f"/proc/{row['pid']}/exe").endswith("(deleted)"), key
    assert (ports("udp"), ports("tcp")) == kept, "a port was given up"


def refuses_a_bad_configuration():
    with step("a service whose configuration is wrong is not tried again and again"):
        with open(CONFIG, "w", encoding="utf-8") as file:
            file.write("[node]\nno_such_key = 1\n")
        assert run("lb-admin", "restart", "storage", check=False).returncode == 1
        # A message may activate it a few times more, until lb-supervisor has taken its socket away.
        wait_for("its socket to be closed", lambda: show("littlebird-storage@0.socket", "ActiveState") != "active")
        # Whatever activated it and was ended with the socket: it is shown as what it failed with.
        wait_for("it to be shown as failed", lambda: rows()["storage", 0]["state"] == "failed")
        row = rows()["storage", 0]
        assert "code 78" in row["note"], row
        assert journal("-u", UNITS["storage"]).count("status=78/CONFIG") <= 6
        assert "no_such_key" in journal("-u", UNITS["storage"])
        os.unlink(CONFIG)
        run("lb-admin", "restart", "storage")
        await_well("with the configuration mended")


def is_restarted(other):
    before = rows()
    with step("systemctl restart littlebird.target"):
        run("systemctl", "restart", "littlebird.target")
        after = await_well("after its restart")
    assert set(after) == {(name, 0) for name in UNITS}, after  # as many as configured
    assert not {row["pid"] for row in after.values()} & {row["pid"] for row in before.values()}
    assert all(row["restarts"] == 0 for row in after.values()), after
    serves(other)


def admits_members():
    """As the coordinator of a network of its own: the key's process is apart, and none of its user looks into it."""
    with step("lb-admin network create, and a start"):
        run("systemctl", "stop", "littlebird.target", UNITS["supervisor"])
        run("lb-admin", "network", "create", "class-7b", "--system", "--root", "/root/class-7b",
            "--coordinator", f"127.0.0.1:{JOIN_PORT}")
        run("systemctl", "start", "littlebird.target")
        found = await_well("as a coordinator")
    assert set(found) == {(name, 0) for name in (*UNITS, *PRIVATE)}, found
    pids = {name: found[name, 0]["pid"] for name in (*UNITS, *PRIVATE)}
    assert {name: show(unit, "User") for name, unit in PRIVATE.items()} == {
        "signer": "_lb-sign", "coordinator": "_lb-coord", "member": "_lb-net"}
    shut = {name for name, pid in pids.items() if os.stat(f"/proc/{pid}/environ").st_uid == 0} - {"supervisor"}
    assert shut == {"signer", "coordinator", "member", "transport", "swarm"}, shut  # all that have a key
    with open(f"/proc/{pids['signer']}/net/dev", encoding="ascii") as file:
        assert [line.split(":")[0].strip() for line in file if ":" in line] == ["lo"]
    with step("the signer and the coordinator are killed, and their port stays"):
        kept = ports("tcp", JOIN_PORT)
        assert len(kept) == 2, kept
        for name in ("signer", "coordinator"):
            os.kill(pids[name], signal.SIGKILL)
            wait_for(f"{name} to be back", lambda name=name: rows()[name, 0]["restarts"] == 1)
        await_well("after both were killed")
        assert ports("tcp", JOIN_PORT) == kept, "a port was given up"
    assert run("lb-admin", "invite").stdout.startswith("lb1."), "no token"
    with step("a key that others may read is refused, with a word on what to do"):
        os.chmod("/var/lib/littlebird/ca/intermediate.key", 0o644)
        assert run("lb-admin", "restart", "signer", check=False).returncode == 1
        assert "intermediate.key" in journal("-u", PRIVATE["signer"]), journal("-u", PRIVATE["signer"])
        os.chmod("/var/lib/littlebird/ca/intermediate.key", 0o600)
        run("lb-admin", "restart", "signer")
        await_well("with the key mended")


def stops(other):
    since = run("date", "+%F %T.%6N").stdout.strip()
    with step("systemctl stop, draining in order"):
        run("systemctl", "stop", "littlebird.target", UNITS["supervisor"])
    ended = re.findall(r"^Stopped littlebird-(\w+)(?:@0)?\.service", journal("--since", since, "_PID=1"), re.M)
    assert ended == ["gateway", "swarm", "storage", "transport", "routing", "supervisor"], ended
    assert run("lb-admin", "status", check=False).returncode == 3
    assert not ports("udp") and not ports("tcp") and not glob.glob("/run/littlebird/*.sock")
    with step("and start again"):
        run("systemctl", "start", "littlebird.target")
        await_well("after it was stopped")
    serves(other)


SCALED = {"transport": 3, "storage": 2, "swarm": 2}


def check():
    with Lab() as lab:
        other = lab.node("other")
        starts()
        shares_and_fetches(lab, other)
        knows_who_asks()
        survives_kills(other)
        survives_hangs(other)
        scales(other)
        a_new_supervisor_finds_the_same_size()
        is_reloaded()
        is_upgraded(other)
        refuses_a_bad_configuration()
        is_restarted(other)
        is_seen()
        stops(other)
        admits_members()


def main():
    if sys.argv[1:] != ["--inside"]:
        return machine.run(prepare, "/check/machine_test.py", "--inside")
    try:
        check()
    except BaseException:
        print(run("lb-admin", "status", check=False).stdout)
        print(run("journalctl", "--no-pager", "-o", "short-monotonic", "-n", "300").stdout)
        raise
    return 0


sys.exit(main())
