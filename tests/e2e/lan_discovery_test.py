#!/usr/bin/python3
"""Nodes of one net find each other by multicast, without bootstrap: over IPv4 alone, over IPv6 alone. So do
torrents' peers, when the nodes do not.

Each node stands in a network namespace of its own on one bridge, which needs root.
"""

import os
import shutil
import subprocess
import sys

from node import Lab, Node, program, same_content, skip, wait_for


def ip(*arguments, check=True):
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)


class Net:
    """A bridge with one namespace a host: 10.86.54.N and fd86:54::N."""

    def __init__(self):
        self.prefix, self.spaces = f"lbn{os.getpid()}", []

    def __enter__(self):
        if os.geteuid() != 0 or shutil.which("ip") is None:
            skip("network namespaces need root")
        hub = f"{self.prefix}-hub"
        if ip("netns", "add", hub, check=False).returncode != 0:
            skip("no right to make a network namespace")
        self.spaces.append(hub)
        if ip("-n", hub, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0", check=False).returncode != 0:
            self.__exit__()
            skip("no right to make a bridge")
        ip("-n", hub, "link", "set", "br0", "up")
        return self

    def __exit__(self, *_):
        for space in reversed(self.spaces):
            ip("netns", "del", space, check=False)

    def host(self, number):
        hub, space, port = self.spaces[0], f"{self.prefix}-{number}", f"port{number}"
        ip("netns", "add", space)
        self.spaces.append(space)
        ip("-n", hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("-n", hub, "link", "set", port, "master", "br0", "up")
        ip("-n", space, "addr", "add", f"10.86.54.{number}/24", "dev", "eth0")
        ip("-n", space, "addr", "add", f"fd86:54::{number}/64", "dev", "eth0", "nodad")
        ip("-n", space, "link", "set", "lo", "up")
        ip("-n", space, "link", "set", "eth0", "up")
        return space


class Host(Node):
    """A node inside a namespace; its API is a unix socket, so the rest is asked from outside."""

    def __init__(self, lab, name, space, listen):
        super().__init__(lab, name)
        self.space, self.listen = space, listen

    def up(self, *more):
        self.lab.running.append(self)
        return self.lab.run("ip", "netns", "exec", self.space, program("littlebird"), "up", "--dir", self.dir,
                            "--listen", self.listen, "--detach", *more)

    def found(self):
        return {contact["address"] for contact in self.contacts() if contact["state"] == "good"}


def pair(lab, net, name, first, listen, seen):
    """Two nodes find each other; `seen` is how an address of host N is written."""
    a, b = (Host(lab, f"{name}{n}", net.host(n), listen.format(n)) for n in (first, first + 1))
    a.up()
    b.up()
    wait_for(f"{name}: the first to find the second", lambda: seen.format(first + 1) in a.found())
    wait_for(f"{name}: the second to find the first", lambda: seen.format(first) in b.found())
    a.put("quiz/1", "What is a leaf?")
    assert b.get("quiz/1") == b"What is a leaf?"
    return a, b


def configured(lab, name, space, listen, text):
    node = Host(lab, name, space, listen)
    with open(os.path.join(node.dir, "littlebird.conf"), "w") as file:
        file.write(text)
    return node


def torrents(lab, net):
    """A fetch finds its peer by multicast alone: the nodes know each other not. BEP 14."""
    for first, listen in ((11, "0.0.0.0:7001"), (13, "[::]:7001")):
        teacher, student = (configured(lab, f"torrent{n}", net.host(n), listen, "[node]\nlan_discovery = no\n")
                            for n in (first, first + 1))
        teacher.up()
        student.up()
        content = lab.make_file(f"lesson{first}.bin", 3_000_001, seed=first)
        student.cli("fetch", teacher.share(content), "--to", lab.make_folder(f"in{first}"), "--seed-for", "0")
        assert same_content(content, lab.path(f"in{first}", f"lesson{first}.bin"))
        assert teacher.contacts() == [] == student.contacts()
    # A lasting service: it is announced anew by another lb-transport, and another lb-swarm asks anew.
    teacher.kill_service("transport")
    teacher.kill_service("swarm")
    late = configured(lab, "late", net.host(15), listen, "[node]\nlan_discovery = no\n")
    late.up()
    late.cli("fetch", teacher.transfers()[0]["magnet"], "--to", lab.make_folder("late-in"))
    assert same_content(content, lab.path("late-in", f"lesson{first}.bin"))
    for node in (teacher, student, late):
        node.down()


CALLS = """
import socket, sys
calls = [socket.create_connection(("10.86.54.8", 7001)) for _ in range(33)]
calls[32].settimeout(60)
try:
    assert calls[32].recv(1) == b""
except ConnectionResetError:
    pass
for call in calls[:32]:
    call.setblocking(False)
    try:
        sys.exit(f"closed: {call.recv(1)}")
    except BlockingIOError:
        pass
"""


def calls_of_one_address(space, other):
    """32 of one address are taken, the next is closed at once; another address has its own."""
    for one in (space, other):
        subprocess.run(["ip", "netns", "exec", one, sys.executable, "-c", CALLS], check=True, timeout=100)


def main():
    with Net() as net, Lab() as lab:
        torrents(lab, net)
        a, b = pair(lab, net, "four", 1, "0.0.0.0:7001", "10.86.54.{}:7001")
        other = configured(lab, "other", net.host(9), "0.0.0.0:7001", "[node]\nnetwork = another\n")
        other.up()
        # One that names its address speaks from it; when it is found, `other` has been heard too.
        c = Host(lab, "c", net.host(8), "10.86.54.8:7001")
        c.up()
        wait_for("a third to be found", lambda: "10.86.54.8:7001" in a.found() | b.found() and c.found())
        assert other.contacts() == [], "nodes of another network are left alone"
        calls_of_one_address(other.space, a.space)
        off = configured(lab, "off", net.host(7), "0.0.0.0:7001", "[node]\nlan_discovery = no\n")
        off.up()
        for node in (a, b, c, other):
            node.down()
        pair(lab, net, "six", 3, "[::]:7001", "[fd86:54::{}]:7001")
        assert off.contacts() == [], "without lan_discovery nobody is found"


if __name__ == "__main__":
    main()
