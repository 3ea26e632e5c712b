"""A local net in network namespaces: one bridge, and behind each of its ports a machine with a shaped link.

Each machine's link is a veth pair. Both ends are shaped by tc tbf: the machine's end is its way up, the
bridge's end its way down. A frame counts with its Ethernet header, so of 1514 bytes 1448 are payload:
the headers alone cost 4.6 %. Token buckets of 32 kB let through no burst that matters. 192 kB may wait,
as in a switch of the cheaper kind; what finds no room is dropped. The bridge itself is not shaped. TCP
sends SEGMENTS together at least, since a timer for every two of them is what 32 peers on a small machine
spend most of their time on; and the bridge asks no packet filter.
"""

import ctypes
import os
import shutil
import socket
import subprocess
import time

BURST = "32kb"
LIMIT = "192kb"
SEGMENTS = 8
HEADERS = 66  # of a frame, or of several segments in one: Ethernet, IPv4, TCP with timestamps
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
        run("ip", "netns", "exec", self.hub, "sysctl", "-q", "net.bridge.bridge-nf-call-iptables=0", check=False)
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
        run(*place.prefix, "sysctl", "-q", f"net.ipv4.tcp_min_tso_segs={SEGMENTS}")
        # Debian's congestion control, whatever this machine has.
        run("ip", "-n", space, "route", "replace", "10.86.0.0/16", "dev", "eth0", "src", place.address,
            "congctl", "cubic")
        self.shape(space, "eth0", mbit)
        self.shape(self.hub, device, mbit)
        self.places.append(place)
        return place

    def shape(self, space, device, mbit):
        run("tc", "-n", space, "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{mbit}mbit", "burst", BURST,
            "limit", LIMIT)

    def counters(self):
        """By device: bytes of TCP sent to its machine, and received from it."""
        counted = {}
        with open(f"/proc/{self.keeper.pid}/net/dev") as file:
            for line in file:
                device, _, rest = line.partition(":")
                if device.strip().startswith("port"):
                    fields = list(map(int, rest.split()))
                    counted[device.strip()] = fields[8] - HEADERS * fields[9], fields[0] - HEADERS * fields[1]
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
