"""Private networks for end-to-end tests: nodes that create one, join it and serve it, tokens taken apart,
and a capture of all that goes over loopback.
"""

import base64
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import threading

from node import Node, free_port, skip

# ---- nodes ----


class Member(Node):
    """A node with a configuration of its own, which knows its ports before it is a member."""

    def __init__(self, lab, name, host="127.0.0.1"):
        super().__init__(lab, name, host)
        self.coordinator_port = free_port(host)
        with open(os.path.join(self.dir, "littlebird.conf"), "a") as file:
            file.write(f"[node]\nlisten = {self.address}\nlan_discovery = no\n"
                       f"[swarm]\nlocal_discovery = no\n[coordinator]\nlisten = {self.join_address}\n")

    @property
    def join_address(self):
        return f"{self.host}:{self.coordinator_port}"

    @property
    def node_id(self):
        return self.identity()["node-id"]

    def identity(self):
        with open(os.path.join(self.dir, "data", "identity")) as file:
            return dict(line.split(" ", 1) for line in file.read().splitlines())

    def create(self, network, *more):
        """-> the folder of the root's key."""
        root = self.lab.path(f"{network}-root")
        self.admin("network", "create", network, "--root", root, "--coordinator", self.join_address, *more)
        return root

    def invite(self, *more):
        result = self.admin("invite", *more)
        token = result.stdout.decode()
        assert re.fullmatch(r"lb1\.[A-Za-z0-9_-]+\n", token), token
        return token.strip()

    def join(self, token, *more, **options):
        return self.cli("join", "-", *more, input=token.encode(), **options)

    def start_join(self, token, *more):
        process = self.start_cli("join", "-", *more, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        process.stdin.write(token)
        process.stdin.close()
        return process

    def members(self, *which):
        return json.loads(self.admin("members", *which, "--json").stdout)["members"]

    def invitations(self):
        """{id: row}, in the order they were made in."""
        rows = json.loads(self.admin("network", "invitations", "--json").stdout)["invitations"]
        return {row["invitation_id"]: row for row in rows}

    def withdraw(self, invitation, **options):
        return self.admin("network", "withdraw", invitation, **options)

    def group(self):
        return json.loads(self.admin("coordinator", "status", "--json").stdout)

    def counters(self, service):
        row = self.service(service)
        return row["counters"] if row else {}

    def inbox(self):
        return [json.loads(line) for line in self.cli("inbox", "--json").stdout.splitlines()]


# ---- tokens (libcommon/pki/join_token.h) ----


class Token:
    """A join token taken apart, so that one part of it can be another."""

    def __init__(self, text):
        raw = base64.urlsafe_b64decode(text[4:] + "=" * (-len(text[4:]) % 4))
        self.invite, self.secret, self.root, self.rest = raw[:6], raw[6:22], raw[22:54], raw[54:-1]
        assert self.sum(raw[:-1]) == raw[-1:], "the last byte is the check sum"

    @staticmethod
    def sum(data):
        value = 2166136261
        for byte in data:
            value = (value ^ byte) * 16777619 & 0xFFFFFFFF
        return bytes([value & 0xFF])

    def text(self, **parts):
        fields = {"invite": self.invite, "secret": self.secret, "root": self.root, "rest": self.rest, **parts}
        raw = b"".join(fields[name] for name in ("invite", "secret", "root", "rest"))
        return "lb1." + base64.urlsafe_b64encode(raw + self.sum(raw)).decode().rstrip("=")


# ---- all that goes over loopback ----

SO_RCVBUFFORCE, PACKET_STATISTICS, SOL_PACKET, PACKET_IGNORE_OUTGOING = 33, 6, 263, 23
ETH_P_ALL = 3


def in_own_net():
    """Go on in a network namespace with nothing but loopback, in which nobody else speaks; needs root."""
    if "LB_OWN_NET" in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    if os.geteuid() != 0 or not all(shutil.which(tool) for tool in ("unshare", "ip")):
        skip("a network namespace needs root, unshare and ip")
    if subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode != 0:
        skip("no right to make a network namespace")
    os.environ["LB_OWN_NET"] = "1"
    os.execvp("unshare", ["unshare", "-n", sys.executable, *sys.argv])


class Capture:
    """Every packet that is received on lo, looked through for words that nobody outside may read."""

    def __init__(self, *words):
        self.words, self.found = words, {word: 0 for word in words}
        self.packets = self.bytes = 0
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)  # each of them once
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20)
        self.socket.bind(("lo", 0))
        self.wake, self.stop = os.pipe()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        buffer = bytearray(1 << 18)
        while True:
            ready, _, _ = select.select([self.socket, self.wake], [], [])
            if self.socket not in ready:
                return  # told to stop, and nothing is left
            size = self.socket.recv_into(buffer)
            packet = buffer[:size]
            self.packets += 1
            self.bytes += size
            for word in self.words:
                self.found[word] += word in packet

    def end(self):
        """Once nothing more comes; how many packets the kernel had no place for."""
        os.close(self.stop)
        self.thread.join()
        lost = int.from_bytes(self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)[4:], sys.byteorder)
        self.socket.close()
        os.close(self.wake)
        return lost


def check_capture(word):
    """It sees what is sent in the clear: otherwise that nothing was found would mean nothing."""
    capture = Capture(word)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, socket.create_server(("127.0.0.1", 0)) as server:
        one.bind(("127.0.0.1", 0))
        one.sendto(b"udp " + word, one.getsockname())
        with socket.create_connection(server.getsockname()) as client, server.accept()[0] as other:
            client.sendall(b"x" * 20000 + word)
            client.shutdown(socket.SHUT_WR)
            while other.recv(1 << 16):
                pass
    lost = capture.end()
    assert capture.found[word] >= 2 and lost == 0, (capture.found, lost)
