#!/usr/bin/python3
"""A test that is killed leaves nothing: no node, detached or not, running or stopped, and no folder."""

import os
import signal
import subprocess
import sys

from node import is_gone, wait_for

TEST = """
import os, signal, sys
from node import Lab, program

with Lab() as lab:
    detached = lab.node("detached")
    detached.up()
    foreground = lab.node("foreground")
    lab.start(program("littlebird"), "up", "--dir", foreground.dir, "--listen", foreground.address,
              stdout=sys.stderr)
    detached.await_well()
    foreground.await_well()
    os.kill(detached.service("storage")["pid"], signal.SIGSTOP)
    print(lab.folder, *(row["pid"] for node in (detached, foreground) for row in node.status()), flush=True)
    sys.stdin.read()
"""

with subprocess.Popen([sys.executable, "-c", TEST], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                      stderr=subprocess.DEVNULL, cwd=os.path.dirname(os.path.abspath(__file__))) as test:
    folder, *pids = test.stdout.readline().decode().split()
    assert os.path.isdir(folder) and len(pids) == 12, (folder, pids)
    os.kill(test.pid, signal.SIGKILL)
wait_for("its nodes to have ended", lambda: all(is_gone(int(pid)) for pid in pids))
wait_for("its folder to be removed", lambda: not os.path.exists(folder))
