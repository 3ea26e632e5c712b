#!/usr/bin/python3
"""What `cmake --install` leaves is whole: programs that start, each with a manual page that names all it can do.

usage: installed_test.py BUILD-FOLDER
"""

import glob
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile

PRIVATE = ("signer", "coordinator", "member")  # run on nodes of private networks only
DAEMONS = ("supervisor", "routing", "transport", "storage", "swarm", *PRIVATE, "gateway")

# Below the prefix, or from the root; what each is for is said by its place.
FILES = (
    "bin/littlebird", "bin/lb-admin", *(f"libexec/littlebird/lb-{name}" for name in DAEMONS),
    "lib/systemd/system/littlebird.target", "lib/systemd/system/littlebird-swarm@.service",
    "lib/systemd/system/littlebird-coordinator-tcp.socket",
    "lib/systemd/system/littlebird-transport-udp@15.socket.d/10-order.conf",
    "lib/systemd/system/littlebird-.service.d/10-common.conf",
    "lib/sysusers.d/littlebird.conf", "lib/tmpfiles.d/littlebird.conf",
    "share/littlebird/proto/littlebird/v1/swarm.proto", "share/littlebird/proto/README.md",
    "share/littlebird/proto/examples/littlebird_client.py",
    "share/doc/littlebird/README.md", "share/littlebird/grafana-dashboard.json", "share/doc/littlebird/copyright",
    "share/bash-completion/completions/littlebird", "share/bash-completion/completions/lb-admin",
    "share/man/man7/littlebird.7.gz", "share/man/man7/littlebird-network.7.gz",
)
# By prefix: where the system's node reads its configuration, where zsh looks.
PREFIXES = {
    "/usr": ("/etc/littlebird/littlebird.conf", "/usr/share/zsh/vendor-completions/_littlebird"),
    "/usr/local": ("/etc/littlebird/littlebird.conf", "/usr/local/share/zsh/site-functions/_littlebird"),
    "/opt/lb": ("/opt/lb/etc/littlebird/littlebird.conf", "/opt/lb/share/zsh/site-functions/_littlebird"),
}
PAGES = {"littlebird": 1, "lb-admin": 1, **{f"lb-{name}": 8 for name in DAEMONS}}
ALIASES = {"lb-transport-member": "lb-transport"}  # what that becomes on a private network
problems = []


def check(right, problem):
    if not right:
        problems.append(problem)


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def install(build, root, prefix):
    run("cmake", "--install", build, "--prefix", prefix, env=dict(os.environ, DESTDIR=root))
    return root + prefix


def is_whole(root, prefix, below):
    for path in (*(os.path.join(below, name) for name in FILES), *(root + name for name in PREFIXES[prefix])):
        check(os.path.exists(path), f"{prefix}: there is no {path[len(root):]}")
    for path in glob.glob(below + "/lib/systemd/system/*.service"):
        with open(path, encoding="utf-8") as file:
            program = re.search(r"^ExecStart=(\S+)", file.read(), re.M)[1]
        check(os.access(root + program, os.X_OK), f"{prefix}: {os.path.basename(path)} starts {program}, which is none")
    for path in glob.glob(below + "/*/**", recursive=True):
        check(not re.search(r"\.in$|@.*@", os.path.basename(path)), f"{prefix}: {path} was not filled in")


def starts_in_its_place(below):
    """Moved as a whole, littlebird finds lb-supervisor, and that the others."""
    node = os.path.join(os.path.dirname(below), "node")
    environment = dict(os.environ, LITTLEBIRD_DIR=node)
    run(below + "/bin/littlebird", "up", "--detach", "--listen", "127.0.0.1:0", env=environment)
    try:
        pid = run(below + "/bin/lb-admin", "status", "--json", env=environment)
        pids = [int(found) for found in re.findall(r'"pid": *(\d+)', pid)]
        check(len(pids) == len(DAEMONS) - len(PRIVATE), f"{len(pids)} processes")
        for pid in pids:
            program = os.readlink(f"/proc/{pid}/exe")
            check(program.startswith(below), f"a service runs from {program}")
    finally:
        run(below + "/bin/littlebird", "down", env=environment)


def what_was_written_stays(build, root, prefix):
    path = root + PREFIXES[prefix][0]
    with open(path, "a", encoding="utf-8") as file:
        file.write("; mine\n")
    install(build, root, prefix)
    with open(path, encoding="utf-8") as file:
        check(file.read().endswith("; mine\n"), "a second installation overwrites the configuration")


# ---- manual pages ----


def page(below, name, section):
    """A page as one reads it: without markup, words one blank apart."""
    path = f"{below}/share/man/man{section}/{name}.{section}.gz"
    if not os.path.exists(path):
        problems.append(f"{name} has no manual page {path}")
        return ""
    with gzip.open(path, "rt", encoding="ascii") as file:
        source = file.read()
    check('.\\" @' not in source, f"{name}({section}) was not filled in")
    if shutil.which("groff"):
        result = subprocess.run(["groff", "-man", "-Tascii", "-ww", "-z"], input=source, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        check(result.returncode == 0 and not result.stdout, f"{name}({section}): {result.stdout}")
    text = re.sub(r"\\f.|\\&", "", source).replace("\\-", "-").replace("\\(ti", "~").replace("\\(ha", "^")
    return " ".join(text.split())


def pages_name_everything(below):
    for path in glob.glob(below + "/bin/*") + glob.glob(below + "/libexec/littlebird/*"):
        name = ALIASES.get(os.path.basename(path), os.path.basename(path))
        text = page(below, name, PAGES[name])
        said = run(path, "--help")
        options = set(re.findall(r"--[a-z][a-z0-9-]*", said))
        for command in re.findall(r"^  ([a-z]+(?: [a-z]+)?) ", said, re.M):
            help_text = run(path, *command.split(), "--help")
            options |= set(re.findall(r"^  (--[a-z0-9-]+)", help_text, re.M))
            part = re.search(rf"\.SS {command}(?![a-z ]*\.SS)(.*?)(?=\.SS|\.SH)", text)
            check(part, f"{name}({PAGES[name]}) does not name {command}")
            for line in help_text.splitlines()[1:]:
                words = " ".join(re.sub(r"^  --\S+( [A-Z|:]+)?", "", line).replace("`", "").split())
                check(not part or words in part[1], f"{name} {command}: the page does not say '{words}'")
        for option in options:
            check(re.search(rf"(?<![a-z-]){option}(?![a-z-])", text), f"{name}({PAGES[name]}) does not name {option}")


def keys_are_explained(below, folder):
    text = page(below, "littlebird.conf", 5)
    shown = run(below + "/bin/lb-admin", "config", "show", env=dict(os.environ, LITTLEBIRD_DIR=folder))
    section, keys = None, []
    for line in shown.splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = found[1]
        elif found := re.match(r"(\w+) = ", line):
            keys.append((section, found[1]))
    check(len(keys) > 20, f"lb-admin config show: {shown}")
    for section, key in keys:
        part = re.search(rf"\.SS \[{section}\](.*?)(?=\.SS|\.SH)", text)
        check(part and re.search(rf"\.TP {key} =", part[1]), f"littlebird.conf(5) does not name {section}.{key}")


def main():
    build = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        for prefix in PREFIXES:
            root = folder + prefix.replace("/", "_")
            below = install(build, root, prefix)
            is_whole(root, prefix, below)
        what_was_written_stays(build, root, prefix)
        starts_in_its_place(below)
        pages_name_everything(below)
        page(below, "littlebird", 7)
        keys_are_explained(below, folder)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


sys.exit(main())
