#!/usr/bin/python3
"""The units of systemd/: that systemd takes them without a word, and how exposed it finds them.

usage: units_test.py BUILT-SYSTEMD-FOLDER SYSTEMD-FOLDER
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

# The most exposure, in tenths: services with network 1.5, those without 0.7.
EXPOSURE = {"routing": 7, "storage": 7, "gateway": 7, "transport": 15, "swarm": 15}


def run(folder, *command):
    environment = dict(os.environ, SYSTEMD_UNIT_PATH=folder + ":", LC_ALL="C")
    return subprocess.run(["systemd-analyze", *command], env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)


def copy_units(built, source, folder):
    """Into folder, with programs that exist on this machine too."""
    for path in glob.glob(os.path.join(source, "*.target")) + \
            glob.glob(os.path.join(source, "*.socket")):
        shutil.copy(path, folder)
    shutil.copytree(os.path.join(source, "littlebird-.service.d"),
                    os.path.join(folder, "littlebird-.service.d"))
    for path in glob.glob(os.path.join(built, "*.service")):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        assert re.search(r"^ExecStart=/\S+/littlebird/lb-\w+ --system$", text, re.M), path
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.M)
        with open(os.path.join(folder, os.path.basename(path)), "w", encoding="utf-8") as file:
            file.write(text)


def main():
    if not shutil.which("systemd-analyze"):
        print("skipped: there is no systemd-analyze")
        return 77
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        copy_units(sys.argv[1], sys.argv[2], folder)
        units = sorted(glob.glob(os.path.join(folder, "*.*[a-z]")))
        units = [unit for unit in units if os.path.isfile(unit)]
        assert len(units) == 5 + 5 + 4 + 1, units
        verify = run(folder, "verify", "--man=no", *units)
        words = [line for line in verify.stdout.splitlines() if "littlebird" in line]
        if verify.returncode != 0 or words:
            problems.append(f"systemd-analyze verify ({verify.returncode}):\n{verify.stdout}")
        for service, most in EXPOSURE.items():
            unit = os.path.join(folder, f"littlebird-{service}.service")
            security = run(folder, "security", "--offline=true", f"--threshold={most}",
                           "--no-pager", unit)
            lines = security.stdout.strip().splitlines()
            print(lines[-1] if lines else "nothing said")
            if security.returncode != 0:
                problems.append(f"{service} is more exposed than {most / 10}")
            if "PrivateUsers=yes" in open(unit, encoding="utf-8").read():
                problems.append(f"{service}: PrivateUsers= hides who calls")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


sys.exit(main())
