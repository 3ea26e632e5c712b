"""A machine of its own: systemd as PID 1 (systemd-nspawn) over an overlay of this host's own tree.

    sys.exit(machine.run(prepare, "/check/x_test.py", "--inside"))

run() makes the machine, has prepare(machine) install into it, boots it with a unit that runs the
command as root, and returns the command's exit code; what it wrote is on our stdout. tests/e2e is
/check in there. Nothing of it outlives the call, even when we are killed: mounts, network and
processes are in namespaces of their own, what is written is in memory. Several may run at once.

Who may not make one (no root, no namespaces, no nspawn) is told so by SystemExit(77), "skipped".
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys

from node import SKIPPED, skip

HERE = os.path.dirname(os.path.abspath(__file__))
PLACE = "/mnt"  # in a mount namespace of our own
PREFIX = "littlebird-machine-"
PROGRAMS = "/usr/local/bin"  # where they are in there, for node.py
BOOT_LIMIT_S = 300

CHECK_UNIT = """\
[Unit]
Description=The check that this machine was made for
Requires=basic.target
After=basic.target
SuccessAction=exit-force
FailureAction=exit-force

[Service]
Type=oneshot
Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/root LB_BIN={programs}
ExecStart={command}
StandardOutput=append:/check.log
StandardError=inherit
"""


class Machine:
    """What prepare() works on: the machine's files, before it is booted."""

    def __init__(self, root):
        self.root = root

    def path(self, path):
        return self.root + path

    def write(self, path, text):
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        with open(self.path(path), "w", encoding="utf-8") as file:
            file.write(text)

    def copy(self, source, path):
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        shutil.copy(source, self.path(path))

    def install(self, build):
        """As `cmake --install` does."""
        subprocess.run(["cmake", "--install", build], check=True, stdout=subprocess.DEVNULL,
                       env=dict(os.environ, DESTDIR=self.root))


def cgroup_folders():
    """Of the hierarchies that systemd uses, the folders that this process is in."""
    mounts = {}
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            kind, _, options = after.split()[:3]
            if kind == "cgroup2":
                mounts[""] = before.split()[4]
            elif kind == "cgroup" and "name=systemd" in options.split(","):
                mounts["name=systemd"] = before.split()[4]
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if controllers in mounts:
                yield mounts[controllers] + path.rstrip("/")


def remove_cgroup(folder):
    for path, folders, _ in os.walk(folder, topdown=False):
        for name in folders:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(path, name))
    with contextlib.suppress(OSError):
        os.rmdir(folder)


@contextlib.contextmanager
def own_cgroups():
    """A folder in each hierarchy: two machines in one would take each other's processes for theirs."""
    folders = []
    try:
        for parent in cgroup_folders():
            for name in os.listdir(parent):  # left by one that was killed
                if name.startswith(PREFIX) and not os.path.exists(f"/proc/{name[len(PREFIX):]}"):
                    remove_cgroup(os.path.join(parent, name))
            folders.append(os.path.join(parent, f"{PREFIX}{os.getpid()}"))
            os.mkdir(folders[-1])
        yield folders
    finally:
        for folder in folders:
            remove_cgroup(folder)


def enter(folders):
    for folder in folders:
        with open(os.path.join(folder, "cgroup.procs"), "w", encoding="utf-8") as file:
            file.write(str(os.getpid()))


def run(prepare, *command):
    """See above."""
    if os.environ.get("LB_MACHINE") == "made":
        return run_inside_namespaces(prepare, command)
    if os.geteuid() != 0:
        skip("a machine of its own needs root")
    for program in ("systemd-nspawn", "unshare", "mount"):
        if not shutil.which(program):
            skip(f"there is no {program}")
    try:
        with own_cgroups() as folders:
            # Whatever ends us ends unshare, and that ends all processes of its namespace.
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--propagation=private", "--pid", "--fork",
                 "--kill-child", "--mount-proc", sys.executable, *sys.argv],
                env=dict(os.environ, LB_MACHINE="made"), preexec_fn=lambda: enter(folders))
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
            try:
                return process.wait()
            finally:
                process.kill()
                process.wait()
    except OSError as error:
        skip(f"this host lets us make no control group: {error}")


def attempt(what, *command):
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env=dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1"))
    if result.returncode != 0:
        skip(f"this host does not let us {what}: {result.stdout.decode(errors='replace').strip()}")


def nspawn(root, *more):
    return ["systemd-nspawn", "-q", "-D", root, "-M", f"littlebird-{secrets.token_hex(4)}", "--register=no",
            "--keep-unit", "--private-network", "--console=pipe", "--link-journal=no",
            f"--bind-ro={HERE}:/check", *more]


def run_inside_namespaces(prepare, command):
    root = os.path.join(PLACE, "root")
    attempt("mount", "mount", "-t", "tmpfs", "-o", "size=2g,mode=755", "machine", PLACE)
    for name in ("upper", "work", "root"):
        os.mkdir(os.path.join(PLACE, name))
    attempt("mount an overlay", "mount", "-t", "overlay", "-o",
            f"lowerdir=/,upperdir={PLACE}/upper,workdir={PLACE}/work", "machine", root)
    os.makedirs("/run/systemd/nspawn", exist_ok=True)
    attempt("mount", "mount", "-t", "tmpfs", "-o", "mode=755", "machine", "/run/systemd/nspawn")
    machine = Machine(root)
    machine.write("/etc/machine-id", secrets.token_hex(16) + "\n")
    attempt("start a container", *nspawn(root, "/bin/true"))
    machine.write("/etc/systemd/system/check.service",
                  CHECK_UNIT.format(command=" ".join(["/usr/bin/python3", *command]), programs=PROGRAMS))
    machine.write("/check.log", "")
    prepare(machine)
    return boot(machine)


def boot(machine):
    process = subprocess.Popen(nspawn(machine.root, "-b", "systemd.unit=check.service"), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env=dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1"))
    try:
        said = process.communicate(timeout=BOOT_LIMIT_S)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        said = f"still running after {BOOT_LIMIT_S} s"
        process.kill()
        process.wait()
    with open(machine.path("/check.log"), encoding="utf-8", errors="replace") as file:
        output = file.read()
    sys.stdout.write(output)
    sys.stdout.flush()
    code = process.returncode
    if code == SKIPPED or (code != 0 and not output):  # it did not get as far as the check
        print(f"the machine ended with {code}: {said}")
        return 1
    return code
