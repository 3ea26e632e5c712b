"""A local net in network namespaces: one bridge, and behind each of its ports a machine with a shaped link.

Each machine's link is a veth pair. Both ends are shaped by tc tbf: the machine's end is its way up, the
bridge's end its way down. A frame counts with its Ethernet header, so of 1514 bytes 1448 are payload:
the headers alone cost 4.6 %. Token buckets of 16 kB let through no burst that matters. 128 kB may wait,
as in a switch of the cheaper kind; what finds no room is dropped. The bridge itself is not shaped.
"""

import ctypes
import os
import shutil
import socket
import subprocess
import time

BURST = "16kb"
LIMIT = "128kb"
CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)


def run(*command, check=True):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def why_not():
    """Why namespaces cannot be made here; None: they can."""
    for program in ("ip", "tc"):
        if shutil.which(program) is None:
            return f"{program} is not installed (iproute2)"
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    return None


class Place:
    """Where one machine is: its namespace, its address, its device on the bridge."""

    port = 6881

    def __init__(self, space, device, address):
        self.space, self.device, self.address = space, device, address
        self.prefix = ["ip", "netns", "exec", space]

    def socket(self):
        """A TCP socket in that namespace, made from outside: it stays there."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.space}") as there:
            enter(there)
            try:
                return socket.socket()
            finally:
                enter(home)


def enter(space_file):
    if libc.setns(space_file.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Net:
    GATE = "10.86.0.1"  # the bridge's own address, for the tracker

    def __init__(self):
        self.name = f"benchsw{os.getpid()}"
        self.hub = f"{self.name}-hub"
        self.spaces, self.places, self.keeper = [], [], None

    def open(self):
        self.make_space(self.hub)
        run("ip", "-n", self.hub, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", self.hub, "addr", "add", f"{self.GATE}/16", "dev", "br0")
        for device in ("lo", "br0"):
            run("ip", "-n", self.hub, "link", "set", device, "up")
        # Through its /proc/PID/net/dev all ports are read at once, without entering the namespace.
        self.keeper = subprocess.Popen(["ip", "netns", "exec", self.hub, "sleep", "infinity"])

    def make_space(self, space):
        self.spaces.append(space)
        run("ip", "netns", "add", space)

    def add(self, mbit):
        number = len(self.places) + 1
        space, device = f"{self.name}-{number}", f"port{number}"
        place = Place(space, device, f"10.86.1.{number}")
        self.make_space(space)
        run("ip", "-n", self.hub, "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", space)
        run("ip", "-n", self.hub, "link", "set", device, "master", "br0", "up")
        run("ip", "-n", space, "addr", "add", f"{place.address}/16", "broadcast", "+", "dev", "eth0")
        for name in ("lo", "eth0"):
            run("ip", "-n", space, "link", "set", name, "up")
        run("ip", "-n", space, "route", "add", "default", "dev", "eth0")  # multicast finds its way
        self.shape(space, "eth0", mbit)
        self.shape(self.hub, device, mbit)
        self.places.append(place)
        return place

    def shape(self, space, device, mbit):
        run("tc", "-n", space, "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{mbit}mbit", "burst", BURST,
            "limit", LIMIT)

    def counters(self):
        """By device: bytes sent to its machine, bytes received from it."""
        counted = {}
        with open(f"/proc/{self.keeper.pid}/net/dev") as file:
            for line in file:
                device, _, rest = line.partition(":")
                fields = rest.split()
                if device.strip().startswith("port"):
                    counted[device.strip()] = int(fields[8]), int(fields[0])
        return counted

    def close(self):
        if self.keeper is not None:
            self.keeper.kill()
            self.keeper.wait()
        for space in reversed(self.spaces):
            run("ip", "netns", "delete", space, check=False)
        self.spaces, self.places = [], []


def tcp_segments(pid):
    """Of the namespace of this process: TCP segments sent, and sent again."""
    with open(f"/proc/{pid}/net/snmp") as file:
        names, values = [line.split()[1:] for line in file if line.startswith("Tcp:")]
    counted = dict(zip(names, map(int, values)))
    return counted["OutSegs"], counted["RetransSegs"]


def wait_until(true, limit_s=60, what="it"):
    end = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} is not ready after {limit_s} s")
        time.sleep(0.02)
