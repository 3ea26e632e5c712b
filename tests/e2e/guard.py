"""Ends what a test left behind when it was killed: nodes outlive who started them, by design.

    guard.py MARK < PIPE     started by watch(), not by hand

The guard is a process of its own. It reads the folders of the test until nobody holds the other end
of the pipe any more: then the test has ended, however it did. All that the test started carries MARK
in its environment, and what of it is still there is killed by its pid; the folders are removed.
"""

import os
import shutil
import signal
import subprocess
import sys
import time

VARIABLE = "LB_TEST_MARK"
LIMIT_S = 60  # what cannot be killed in this time stays

pipe = None  # its other end is the guard's; closed by the end of this process, and only by that


def watch(folder):
    """From now on this process is guarded, and folder, which is the test's own, is removed after it."""
    global pipe
    if pipe is None:
        mark = f"{os.getpid()}-{os.urandom(8).hex()}"
        read_end, pipe = os.pipe()
        subprocess.run([sys.executable, "-I", "-S", os.path.abspath(__file__), mark], stdin=read_end,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, check=True)
        os.close(read_end)
        os.environ[VARIABLE] = mark
    os.write(pipe, os.fsencode(folder) + b"\0")


# ---- the guard ----


def has(pid, entry):
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return entry in file.read().split(b"\0")
    except OSError:
        return False  # it has ended, or is another user's


def kill(pid, entry):
    """Only if it is still the one that was meant."""
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if has(pid, entry):
            signal.pidfd_send_signal(process, signal.SIGKILL)
    except OSError:
        pass  # it has just ended
    finally:
        os.close(process)


def kill_all(entry):
    """And what they start meanwhile."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and has(name, entry)]
        if not pids:
            return
        for pid in pids:
            kill(pid, entry)
        time.sleep(0.05)


def remove(folder):
    """Unless something is mounted there, which may be anything."""
    with open("/proc/self/mountinfo", "rb") as file:
        if not any(line.split()[4].startswith(folder + b"/") for line in file):
            shutil.rmtree(folder, ignore_errors=True)


def main():
    if os.fork() != 0:  # nobody's child: not ended with the test by who ends its children
        return
    os.chdir("/")
    folders = sys.stdin.buffer.read().split(b"\0")[:-1]
    kill_all(f"{VARIABLE}={sys.argv[1]}".encode())
    for folder in folders:
        remove(folder)


if __name__ == "__main__":
    main()
