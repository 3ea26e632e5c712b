#!/usr/bin/python3
"""The Debian package, from `apt install` to a purge, under a real systemd in a machine of its own (machine.py).

Installed it runs, upgraded it goes on with nothing lost, removed it stops and keeps what people put there, and
after a purge the machine is as it was: files, users, groups and units.
"""

import contextlib
import glob
import grp
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import machine
import node
from node import wait_for

USERS = {"_lb-net", "_lb-data", "_lb-api", "_lb-coord", "_lb-sign"}
GROUPS = USERS | {"_lb-node", "littlebird", "littlebird-admin"}
CONFIG = "/etc/littlebird/littlebird.conf"
MINE = "; a line of the administrator\n"
PACKAGE = "/littlebird.deb"
NEXT = "/littlebird-next.deb"  # the same programs, as a later version
SERVICES = ("supervisor", *node.SERVICES)
READ_PAUSE_S = 0.1

# What apt, dpkg and systemd write down about anything.
NOT_OURS = ("/var/lib/dpkg", "/var/lib/apt", "/var/cache", "/var/log", "/var/lib/systemd", "/var/lib/private",
            "/var/lib/PackageKit", "/var/tmp", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow",
            "/etc/subuid", "/etc/subgid", "/etc/.pwd.lock", "/etc/machine-id", "/etc/ld.so.cache")


def packed(folder):
    """The package of the build folder, and the same with a later version. What is built is packed: for generators
    other than make, cpack does not first see to it that everything is, all tests too."""
    build = os.path.dirname(node.BIN)
    subprocess.run(["cpack", "--config", os.path.join(build, "CPackConfig.cmake"), "-B", folder,
                    "-D", "CPACK_CMAKE_GENERATOR=Ninja", "-D", "CPACK_DEBIAN_COMPRESSION_TYPE=gzip"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    package, = glob.glob(os.path.join(folder, "littlebird_*.deb"))
    tree, later = os.path.join(folder, "tree"), os.path.join(folder, "next.deb")
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    control = os.path.join(tree, "DEBIAN/control")
    with open(control, encoding="utf-8") as file:
        text = file.read()
    with open(control, "w", encoding="utf-8") as file:
        file.writelines(line.rstrip("\n") + "+next\n" if line.startswith("Version:") else line
                        for line in text.splitlines(keepends=True))
    subprocess.run(["dpkg-deb", "-Zgzip", "-b", tree, later], check=True, stdout=subprocess.DEVNULL)
    return package, later


def prepare(made):
    with tempfile.TemporaryDirectory() as folder:
        package, later = packed(folder)
        made.copy(package, PACKAGE)
        made.copy(later, NEXT)
    if os.path.lexists(made.path("/usr/sbin/policy-rc.d")):  # images of containers let no package start a service
        os.unlink(made.path("/usr/sbin/policy-rc.d"))


# ---- asking ----


def run(*command, check=True):
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                            env=dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C"))
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(command)}\n  exit {result.returncode}\n  {result.stdout}\n  {result.stderr}")
    return result


def manage(*command):
    """apt or dpkg, of which our scripts' complaints are failures."""
    result = run(*command)
    for line in (result.stdout + result.stderr).splitlines():
        assert "littlebird: " not in line and "rror" not in line, line


def files():
    """Every path below the folders a package writes to."""
    found = set()
    for top in ("/etc", "/usr", "/var", "/run/littlebird", "/lib/systemd", "/opt", "/srv"):
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if not f"{folder}/{name}".startswith(NOT_OURS)]
            found.update(path for name in (*folders, *names)
                         if not (path := f"{folder}/{name}").startswith(NOT_OURS))
    return found


def accounts():
    return ({user.pw_name for user in pwd.getpwall()}, {group.gr_name for group in grp.getgrall()})


def pids():
    shown = {name: run("systemctl", "show", "-P", "MainPID", unit(name)).stdout.strip() for name in SERVICES}
    return {name: int(pid) for name, pid in shown.items()}


def unit(name):
    return f"littlebird-{name}@0.service" if name in ("transport", "storage", "swarm") else f"littlebird-{name}.service"


def ports():
    """The inodes of the node's sockets: the same as long as nobody closes them."""
    shown = run("ss", "-Hlntue", "( sport = :6881 )").stdout
    return {word for word in shown.split() if word.startswith("ino:")}


def is_enabled(name="littlebird.target"):
    return run("systemctl", "is-enabled", name, check=False).stdout.strip() == "enabled"


def await_well():
    run("lb-admin", "wait", "--ready")
    wait_for("lb-admin status to say that all is well", lambda: run("lb-admin", "status", check=False).returncode == 0)


@contextlib.contextmanager
def step(what):
    begin = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - begin:.2f} s", flush=True)


# ---- what is shown ----


def is_installed(before):
    users, groups = accounts()
    assert users - before[0] == USERS and groups - before[1] == GROUPS, (users - before[0], groups - before[1])
    assert is_enabled()
    assert run("systemctl", "is-active", "littlebird.target").stdout == "active\n"
    assert not is_enabled("littlebird-metrics.socket")  # off unless wanted
    await_well()
    assert all(pids().values()), pids()
    assert run("dpkg", "--verify", "littlebird").stdout == ""
    for program in glob.glob("/usr/libexec/littlebird/lb-*"):
        name = os.path.basename(program).replace("transport-member", "transport")  # what that becomes on a private network
        assert run(program, "--version").stdout.startswith(name), program
    for name in ("man/man1/littlebird.1.gz", "bash-completion/completions/lb-admin",
                 "zsh/vendor-completions/_littlebird"):
        assert os.path.exists(f"/usr/share/{name}"), name
    run("littlebird", "put", "colour", "blue")


class Reader:
    """Reads the value over and over, as people do while an administrator upgrades."""

    def __enter__(self):
        self.over, self.read, self.failed = threading.Event(), 0, []
        self.thread = threading.Thread(target=self.go)
        self.thread.start()
        return self

    def go(self):
        while not self.over.is_set():
            result = run("littlebird", "get", "colour", check=False)
            if (result.returncode, result.stdout) == (0, "blue"):
                self.read += 1
            else:
                self.failed.append((result.returncode, result.stdout, result.stderr))
            self.over.wait(READ_PAUSE_S)

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def is_upgraded():
    run("systemctl", "disable", "littlebird.target")  # by an administrator, who is asked no more
    run("systemctl", "enable", "littlebird-metrics.socket")
    kept, before = ports(), pids()
    assert len(kept) == 4, kept  # UDP and TCP, IPv4 and IPv6
    with open(CONFIG, "a", encoding="utf-8") as file:
        file.write(MINE)
    with Reader() as reader:
        manage("dpkg", "-i", NEXT)
    print(f"  while it was upgraded: {reader.read} reads, {len(reader.failed)} failed {reader.failed[:1]}", flush=True)
    assert reader.read and not reader.failed, reader.failed
    await_well()
    after = pids()
    assert all(after[name] not in (0, before[name]) for name in SERVICES), (before, after)
    for name, pid in after.items():
        assert os.readlink(f"/proc/{pid}/exe") == f"/usr/libexec/littlebird/lb-{name}", name  # not "(deleted)"
    assert ports() == kept, "a port was given up"
    assert not is_enabled() and is_enabled("littlebird-metrics.socket")
    run("systemctl", "enable", "littlebird.target")
    with open(CONFIG, encoding="utf-8") as file:
        assert file.read().endswith(MINE)


def is_removed():
    run("lb-admin", "scale", "transport=2")
    manage("dpkg", "-r", "littlebird")
    assert not ports() and not glob.glob("/run/littlebird/*.sock"), "it runs on"
    left = run("systemctl", "list-units", "--plain", "--no-legend", "--state=active,failed", "littlebird*").stdout
    assert not [line for line in left.splitlines() if "slice" not in line.split()[0]], left
    assert not shutil.which("littlebird") and not os.path.exists("/usr/libexec/littlebird")
    assert os.path.exists(CONFIG) and glob.glob("/var/lib/littlebird/data/**/data.mdb", recursive=True)


def is_purged(before, accounts_before):
    manage("dpkg", "-P", "littlebird")
    assert accounts() == accounts_before
    assert files() == before, (files() - before, before - files())
    assert "littlebird" not in run("dpkg-query", "-W", "-f", "${Package}\n").stdout.split()
    left = run("systemctl", "list-unit-files", "--plain", "--no-legend", "littlebird*", check=False).stdout
    assert not left, left


def check():
    before, accounts_before = files(), accounts()
    with step("installed, enabled and started"):
        manage("apt-get", "-q", "-y", "--no-install-recommends", "install", PACKAGE)
        is_installed(accounts_before)
    with step("upgraded while it is used"):
        is_upgraded()
    with step("removed"):
        is_removed()
    with step("purged"):
        is_purged(before, accounts_before)


def main():
    if sys.argv[1:] == ["--inside"]:
        try:
            check()
        except BaseException:
            print(run("journalctl", "--no-pager", "-o", "short-monotonic", "-n", "200", check=False).stdout)
            raise
        return 0
    for program in ("cpack", "dpkg-deb", "dpkg-shlibdeps", "apt-get"):
        if not shutil.which(program):
            node.skip(f"there is no {program}")
    return machine.run(prepare, "/check/package_test.py", "--inside")


sys.exit(main())
