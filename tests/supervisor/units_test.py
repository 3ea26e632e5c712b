#!/usr/bin/python3
"""The units of systemd/: that systemd takes them without a word, and how exposed it finds them.

usage: units_test.py BUILD-FOLDER
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

# The most exposure, in tenths: services with network 1.5, those without 0.7, the signer 0.5, the supervisor 2.0.
EXPOSURE = {"routing": 7, "storage@0": 7, "gateway": 7, "transport@0": 15, "transport@1": 15,
            "swarm@0": 15, "swarm@1": 15, "coordinator": 15, "member": 15, "signer": 5, "supervisor": 20}


def run(folder, *command):
    environment = dict(os.environ, SYSTEMD_UNIT_PATH=folder + ":", LC_ALL="C")
    return subprocess.run(["systemd-analyze", *command], env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)


def install(build, folder):
    """As cmake --install lays them out, but with programs that exist on this machine too."""
    subprocess.run(["cmake", "--install", os.path.join(build, "systemd")], check=True,
                   env=dict(os.environ, DESTDIR=folder), stdout=subprocess.DEVNULL)
    units, = glob.glob(os.path.join(folder, "**", "systemd", "system"), recursive=True)
    for path in glob.glob(os.path.join(units, "*.service")):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        assert re.search(r"^ExecStart=/\S+/littlebird/lb-\w+ --system( --instance %i)?$", text, re.M), path
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.M)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    return units


def named_units(folder):
    """A template is looked at as two of its instances."""
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".d"):
            for instance in ("0", "1") if "@" in name else ("",):
                yield name.replace("@", "@" + instance)


def main():
    if not shutil.which("systemd-analyze"):
        print("skipped: there is no systemd-analyze")
        return 77
    problems = []
    with tempfile.TemporaryDirectory() as root:
        folder = install(sys.argv[1], root)
        units = list(named_units(folder))
        for wanted in ("littlebird.target", "littlebird-api.socket", "littlebird-transport-udp@1.socket",
                       *(f"littlebird-{service}.service" for service in EXPOSURE)):
            assert wanted in units, (wanted, units)
        verify = run(folder, "verify", "--man=no", *units)
        words = [line for line in verify.stdout.splitlines() if "littlebird" in line]
        if verify.returncode != 0 or words:
            problems.append(f"systemd-analyze verify ({verify.returncode}):\n{verify.stdout}")
        for service, most in EXPOSURE.items():
            security = run(folder, "security", "--offline=true", f"--threshold={most}", "--no-pager",
                           f"littlebird-{service}.service")
            lines = security.stdout.strip().splitlines()
            print(lines[-1] if lines else "nothing said")
            if security.returncode != 0:
                problems.append(f"{service} is more exposed than {most / 10}")
        for path in glob.glob(os.path.join(folder, "**"), recursive=True):
            if os.path.isfile(path) and re.search(r"^PrivateUsers=(?!no)", open(path, encoding="utf-8").read(), re.M):
                problems.append(f"{path}: PrivateUsers= hides who calls")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


sys.exit(main())
