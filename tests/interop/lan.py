"""A network of its own for clients that refuse loopback addresses.

Transmission's DHT treats 127.0.0.0/8 as unusable, so the interop tests run in a fresh network
namespace whose only interface carries 10.86.53.1 to .60. enter() starts the script again inside one;
without the rights for that the test says so and counts as skipped.
"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from node import skip  # noqa: E402

MARK = "LB_INTEROP_NAMESPACE"


def address(number):
    return f"10.86.53.{number}"


def enter():
    if os.environ.get(MARK) == "1":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for number in range(1, 61):
            subprocess.run(["ip", "addr", "add", f"{address(number)}/24", "dev", "lo"], check=True)
        return
    flags = ["-n"] if os.geteuid() == 0 else ["-r", "-n"]
    if subprocess.run(["unshare", *flags, "true"], capture_output=True).returncode != 0:
        skip("no right to make a network namespace (run as root)")
    os.environ[MARK] = "1"
    os.execvp("unshare", ["unshare", *flags, sys.executable, *sys.argv])
