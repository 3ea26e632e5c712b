"""Coordinators without the rest of a node: lb-signer and lb-coordinator in folders of their own, asked over their
mailboxes as the gateway does, and by tests/coordinator/coordinator_tool.c as nodes and people do.
"""
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import node as e2e  # noqa: E402
import status_page  # noqa: E402
import zmtp  # noqa: E402
from zmtp import field_bytes, field_number, field_text  # noqa: E402

TOOL = os.path.join(e2e.BIN, "coordinator-tool")

# lb.coordinator.Request, by the numbers of its oneof
INVITE, LIST_MEMBERS, DECIDE, REVOKE, GET_GROUP, ADD_SERVER, REMOVE_SERVER = range(1, 8)
LIST_INVITES, WITHDRAW, SET_POLICY = 8, 9, 10
INVALID, NOT_FOUND, UNAVAILABLE, DENIED, EXISTS, CONFLICT, FULL, NO_SPACE = 1, 2, 4, 6, 7, 8, 9, 12


class Refused(Exception):
    def __init__(self, err, reason):
        super().__init__(f"{err}: {reason}")
        self.err, self.reason = err, reason


def all_fields(data):
    """{field: [values]} of a message."""
    found, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 2:
            size = number()
            value = data[at:at + size]
            at += size
        else:
            value = number()
        found.setdefault(key >> 3, []).append(value)
    return found


def tool(*arguments, check=True, **options):
    done = subprocess.run([TOOL, *map(str, arguments)], capture_output=True, text=True, timeout=e2e.LIMIT_S, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{arguments[0]}: {done.stdout}{done.stderr}")
    return done


class Coordinator:
    """One host: lb-signer and lb-coordinator."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.dir = os.path.join(world.folder, name)
        self.port = e2e.free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.processes = {}
        os.makedirs(self.dir, exist_ok=True)

    def start(self, *services, settings=()):
        for service in services or ("signer", "coordinator"):
            log = open(os.path.join(self.dir, f"{service}.log"), "ab")
            command = [e2e.program(f"lb-{service}"), "--dir", self.dir,
                       "--set", f"coordinator.listen={self.address}", *settings]
            self.processes[service] = subprocess.Popen(command, stdout=log, stderr=log)
            log.close()

    def kill(self, *services, how=signal.SIGKILL):
        for service in services or tuple(self.processes):
            process = self.processes.pop(service)
            process.send_signal(how)
            process.wait()

    def stop(self):
        """As its manager does; each says that it has ended well."""
        for service, process in self.processes.items():
            process.terminate()
            assert process.wait(e2e.LIMIT_S) == 0, (self.name, service, process.returncode)
        self.processes = {}

    def log(self, service="coordinator"):
        with open(os.path.join(self.dir, f"{service}.log"), errors="replace") as file:
            return file.read()

    def ask(self, case, body=b"", timeout_s=20.0):
        """The body of the reply's oneof; Refused."""
        request = field_bytes(case, body)
        socket = os.path.join(self.dir, "run", "coordinator-0.sock")
        _, err, reason, reply = zmtp.ask(socket, request, timeout_s, timeout_ms=int(timeout_s * 900))
        if err != 0:
            raise Refused(err, reason)
        return next(iter(zmtp.fields(reply).values()), b"")

    def group(self):
        """Or None while it cannot say."""
        try:
            group = all_fields(self.ask(GET_GROUP, timeout_s=5))
        except (OSError, Refused):
            return None
        servers = [all_fields(row) for row in group.get(9, [])]
        return {"server": group.get(3, [0])[0], "leader": group.get(4, [0])[0], "term": group.get(5, [0])[0],
                "applied": group.get(8, [0])[0], "members": group.get(10, [0])[0],
                "pending": group.get(11, [0])[0], "denied": group.get(12, [0])[0],
                "servers": [{"server": row.get(1, [0])[0], "address": row.get(2, [b""])[0].decode(),
                             "node": row.get(3, [b""])[0].hex(), "voter": row.get(4, [0])[0],
                             "lag": row.get(5, [0])[0], "request": row.get(6, [b""])[0].hex()} for row in servers]}

    def leads(self):
        group = self.group()
        return group is not None and group["leader"] == group["server"] != 0

    def invite(self, uses=1, ttl_s=3600, addresses=()):
        body = field_number(1, uses) + field_number(2, ttl_s) + b"".join(field_text(3, text) for text in addresses)
        return zmtp.fields(self.ask(INVITE, body))[1].decode()

    def invitations(self):
        """{id: dictionary}, of all pages."""
        found, after = {}, b""
        while True:
            reply = all_fields(self.ask(LIST_INVITES, field_bytes(1, after) if after else b""))
            for row in map(all_fields, reply.get(1, [])):
                after = row[1][0]
                found[after] = {"left": row.get(2, [0])[0], "expires_s": row[3][0], "uses": row.get(4, [0])[0],
                                "made_s": row.get(5, [0])[0], "withdrawn": bool(row.get(6, [0])[0])}
            if not reply.get(2, [0])[0]:
                return found

    def withdraw(self, invite):
        self.ask(WITHDRAW, field_bytes(1, invite))

    def members(self, pending=False):
        """All of them: dictionaries."""
        found, after = [], b""
        while True:
            body = field_number(1, int(pending)) + (field_bytes(2, after) if after else b"")
            reply = all_fields(self.ask(LIST_MEMBERS, body))
            for row in map(all_fields, reply.get(1, [])):
                found.append({"node": row.get(1, [b""])[0].hex(), "host": row.get(2, [b""])[0].decode(),
                              "fingerprint": row.get(3, [b""])[0].decode(), "serial": row.get(4, [0])[0],
                              "revoked": bool(row.get(7, [0])[0]), "key": row.get(9, [b""])[0]})
            if not reply.get(2, [0])[0]:
                return found
            after = found[-1]["key"] if pending else bytes.fromhex(found[-1]["node"])

    def decide(self, key, admit):
        self.ask(DECIDE, field_bytes(1, key) + field_number(2, int(admit)))

    def revoke(self, node):
        self.ask(REVOKE, field_bytes(1, bytes.fromhex(node)))

    def counters(self):
        """{name: value} of its status slot (libcommon/status_page.h)."""
        with open(os.path.join(self.dir, "run", "status.shm"), "rb") as file:
            page = file.read()
        slot = status_page.HEADER_SIZE + (
            status_page.SERVICES.index("coordinator") * status_page.INSTANCES) * status_page.SLOT_SIZE
        first = slot + status_page.NOTE_AT + 2 * status_page.NOTE_SIZE
        found = {}
        for at in range(first, slot + status_page.SLOT_SIZE - 16, 32):
            name, value = struct.unpack_from("=24sQ", page, at)
            if name[0] == 0:
                break
            found[name.rstrip(b"\0").decode()] = value
        return found


class World:
    """A network of coordinators in a temporary folder, removed at the end with all that runs."""

    def __init__(self, name):
        self.folder = tempfile.mkdtemp(prefix=f"lb-{name}-", dir=os.environ.get("LB_TEST_FOLDER"))
        self.coordinators = []

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            for one in self.coordinators:
                sys.stderr.write(f"--- {one.name}\n{one.log()[-4000:]}{one.log('signer')[-1000:]}\n")
        for one in self.coordinators:
            one.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def found(self, *more, wait=True):
        """The first coordinator of a new network, running."""
        first = Coordinator(self, "c1")
        self.coordinators.append(first)
        words = tool("create", first.dir, "class", os.path.join(self.folder, "root"), first.address, *more).stdout.split()
        self.network, first.node, self.root_key, self.root = words
        first.start()
        if wait:
            e2e.wait_for("the first coordinator leads", first.leads)
        return first

    def add(self, asked):
        """One more: joins, offers itself, is added by the operator."""
        one = Coordinator(self, f"c{len(self.coordinators) + 1}")
        words = tool("member", one.dir, asked.invite(), one.name).stdout.split()
        one.node = words[1]
        tool("offer", one.dir, one.address)
        self.coordinators.append(one)
        one.start()
        offer = e2e.wait_for("it offers itself", lambda: next(
            (row for row in asked.group()["servers"] if row["node"] == one.node), None))
        signed = tool("sign", self.root_key, self.root, self.network, offer["request"]).stdout.strip()
        asked.ask(ADD_SERVER, field_bytes(1, bytes.fromhex(one.node)) + field_bytes(2, bytes.fromhex(signed)))
        e2e.wait_for("it is of the group", lambda: one.group() is not None and any(
            row["node"] == one.node and row["voter"] for row in one.group()["servers"]))
        return one

    def leader(self, among=None):
        return next((one for one in among or self.coordinators if "coordinator" in one.processes and one.leads()), None)


def join(token, count=1, at_once=1, *more, check=True):
    """[(node, serial, ms)] of those that were admitted, and the other lines."""
    lines = tool("join", token, count, at_once, *more, check=check).stdout.splitlines()
    admitted = [(line.split()[1], int(line.split()[2]), int(line.split()[3])) for line in lines
                if line.startswith("admitted")]
    return admitted, [line for line in lines if not line.startswith("admitted")]
