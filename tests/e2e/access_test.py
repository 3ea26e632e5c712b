#!/usr/bin/python3
"""Who may speak to whom, with real users. Root alone can play them: otherwise the test says that it was skipped.

The system's node: systemd's files for users and folders are carried out in a mount namespace of the test's own, and
each service is started as its own user with the sockets that systemd would hand it, on a coordinator of a private
network, which has them all. Then every role sends every
internal message to every service, people ask the API, and a service tries to take what is another's. After that a
node of one user, whose run folder was left open.
"""

import mmap
import os
import re
import shutil
import socket
import struct
import subprocess
import sys

import status_page
import zmtp
from node import BIN, Lab, free_port, program, skip, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, "..", "..")
RUN, STATE = "/run/littlebird", "/var/lib/littlebird"
INVALID, DENIED, PERMISSION_DENIED = 1, 6, 7
USERS = {"routing": "_lb-data", "storage": "_lb-data", "transport": "_lb-net", "swarm": "_lb-net",
         "signer": "_lb-sign", "coordinator": "_lb-coord", "member": "_lb-net", "gateway": "_lb-api"}
PEOPLE = {"alice": ["littlebird"], "boss": ["littlebird", "littlebird-admin"], "eve": []}
ROLES = {"supervisor": "S", "routing": "R", "transport": "T", "storage": "D", "swarm": "W", "signer": "K",
         "coordinator": "C", "member": "M", "gateway": "G", "admin": "a", "user": "u", "stranger": "x"}
LIAR = 15  # the instance whose place in the status page is taken for a lie


# ---- the table, as tests/libcommon/access_test.c draws it ----

def drawn_cells():
    """{service: {message: the letters of those who may send it}}"""
    with open(os.path.join(SOURCE, "tests", "libcommon", "access_test.c"), encoding="utf-8") as file:
        rows = re.findall(r'\{ "(\w+)\.(\w+)", "([A-Za-z.]{12})" \}', file.read())
    cells = {}
    for service, message, senders in rows:
        cells.setdefault(service, {})[message] = senders.replace(".", "")
    return cells


def message_numbers(service):
    """{message: its number in the Request's oneof}"""
    with open(os.path.join(SOURCE, "proto", service + ".proto"), encoding="utf-8") as file:
        body = re.search(r"message Request \{(.*?)\n\}", file.read(), re.S).group(1)
    return {name: int(number) for name, number in re.findall(r"^ +\w+ (\w+) = (\d+);", body, re.M)}


# ---- users ----

class User:
    def __init__(self, name):
        fields = subprocess.run(["id", "-u", name], capture_output=True, text=True, check=True).stdout
        self.name, self.uid = name, int(fields)
        self.gid = int(subprocess.run(["id", "-g", name], capture_output=True, text=True, check=True).stdout)
        groups = subprocess.run(["id", "-G", name], capture_output=True, text=True, check=True).stdout
        self.groups = [int(group) for group in groups.split()]

    def become(self, more=()):
        os.setgroups(self.groups + list(more))
        os.setgid(self.gid)
        os.setuid(self.uid)


def as_user(user, act, more=()):
    """act() in a process of this user; what it returns, a JSON-like value, or the name of its exception."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            user.become(more)
            result = act()
        except OSError as error:
            result = type(error).__name__
        except BaseException as error:  # told to the parent, whatever it is
            result = f"failed: {error!r}"
        os.write(writer, repr(result).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    return eval(data, {})


def group_id(name):
    return int(subprocess.run(["getent", "group", name], capture_output=True, text=True, check=True).stdout.split(":")[2])


# ---- the system's node ----

def make_users(root):
    for name in ("passwd", "group"):
        os.makedirs(os.path.join(root, "etc"), exist_ok=True)
        shutil.copy("/etc/" + name, os.path.join(root, "etc", name))
    subprocess.run(["systemd-sysusers", "--root=" + root, os.path.join(SOURCE, "systemd", "littlebird.sysusers")],
                   check=True, capture_output=True)
    with open(os.path.join(root, "etc", "passwd"), "a", encoding="utf-8") as passwd, \
            open(os.path.join(root, "etc", "group"), "r+", encoding="utf-8") as group:
        lines = group.read().splitlines()
        for number, (person, groups) in enumerate(PEOPLE.items(), 54300):
            passwd.write(f"{person}:x:{number}:{number}::/:/bin/sh\n")
            lines.append(f"{person}:x:{number}:")
            for name in groups:
                at = next(i for i, line in enumerate(lines) if line.startswith(name + ":"))
                lines[at] += ("" if lines[at].endswith(":") else ",") + person
        group.seek(0)
        group.write("\n".join(lines) + "\n")
    for name in ("passwd", "group"):
        subprocess.run(["mount", "--bind", os.path.join(root, "etc", name), "/etc/" + name], check=True)


def make_folders():
    for folder in ("/run", "/var/lib"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder], check=True)
    subprocess.run(["systemd-tmpfiles", "--create", os.path.join(SOURCE, "systemd", "littlebird.tmpfiles")], check=True)


def listen(path, group):
    """As a socket unit has it: SocketUser=root, SocketGroup=, SocketMode=0660."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    os.chown(path, 0, group)
    os.chmod(path, 0o660)
    listener.listen(128)
    return listener


class System:
    """The services, each as its own user, and the sockets they were handed."""

    def __init__(self, folder):
        self.log_folder, self.pids, self.sockets = os.path.join(folder, "logs"), {}, []
        os.makedirs(self.log_folder)
        self.bin = os.path.join("/run", "programs")  # where every user may go
        os.makedirs(self.bin)
        for name in [f"lb-{service}" for service in USERS] + ["lb-transport-member", "littlebird", "lb-admin"]:
            shutil.copy(os.path.join(BIN, name), self.bin)
        self.people = [group_id("littlebird"), group_id("_lb-node")]
        self.port, self.join_port = free_port(), free_port()
        self.join = f"127.0.0.1:{self.join_port}"

    def make_network(self):
        made = self.command(User("root"), "lb-admin", "network", "create", "class-7b", "--system", "--root", "/run/root",
                            "--coordinator", self.join)
        assert made.returncode == 0, made

    def start(self, service):
        handed = {"mailbox": listen(f"{RUN}/{service}-0.sock", self.people[1])}
        if service == "gateway":
            handed |= {name: listen(f"{RUN}/{name}.sock", self.people[0]) for name in ("api", "events")}
        if service == "coordinator":
            handed["coordinator"] = socket.create_server(("127.0.0.1", self.join_port))
        self.sockets += handed.values()
        log = os.open(self.log(service), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        pid = os.fork()
        if pid == 0:
            os.dup2(log, 2)
            spare = [os.dup(listener.fileno()) for listener in handed.values()]
            for number, fd in enumerate(spare, 3):
                os.dup2(fd, number)
                os.set_inheritable(number, True)
            os.closerange(3 + len(spare), 100)
            User(USERS[service]).become(self.people)
            os.umask(0o027)
            os.execve(f"{self.bin}/lb-{service}",
                      [f"lb-{service}", "--system", "--set", f"node.listen=127.0.0.1:{self.port}",
                       "--set", f"coordinator.listen={self.join}"],
                      {**os.environ, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(handed)),
                       "LISTEN_FDNAMES": ":".join(handed)})
        os.close(log)
        self.pids[service] = pid

    def log(self, service):
        return os.path.join(self.log_folder, service)

    def text(self, service):
        with open(self.log(service), encoding="utf-8") as file:
            return file.read()

    def state(self, service):
        if os.path.getsize(f"{RUN}/status.shm") == 0:  # as systemd-tmpfiles made it
            return "absent"
        return status_page.read_slot(RUN, service)["state"]

    def counter(self, service, name):
        with open(f"{RUN}/status.shm", "rb") as file:
            page = file.read()
        start = (status_page.HEADER_SIZE + status_page.SERVICES.index(service) * status_page.INSTANCES
                 * status_page.SLOT_SIZE)
        slot = page[start:start + status_page.SLOT_SIZE]
        at = slot.find(name.encode() + b"\0")
        return struct.unpack_from("=Q", slot, at + 24)[0] if at >= 0 else 0

    def command(self, user, *words, **options):
        return subprocess.run([os.path.join(self.bin, words[0]), *words[1:]], capture_output=True, timeout=60,
                              preexec_fn=user.become, env={"PATH": os.environ["PATH"]}, check=False, **options)

    def stop(self):
        for pid in self.pids.values():
            os.kill(pid, 15)
        ended = {service: os.waitpid(pid, 0)[1] for service, pid in self.pids.items()}
        for listener in self.sockets:
            listener.close()
        assert not any(ended.values()), ended


# ---- roles ----

def claim_to_be(service):
    """What a service that went bad can do: write its pid where another's belongs."""
    start = (status_page.HEADER_SIZE + (status_page.SERVICES.index(service) * status_page.INSTANCES + LIAR)
             * status_page.SLOT_SIZE)
    with open(f"{RUN}/status.shm", "r+b") as file, mmap.mmap(file.fileno(), 0) as page:
        struct.pack_into("=I", page, start, os.getpid())


def send_all(cells):
    """{service.message: the error of the answer, or why there was none}"""
    got = {}
    for service, messages in cells.items():
        numbers = message_numbers(service)
        try:
            with zmtp.Dealer(f"{RUN}/{service}-0.sock") as dealer:
                for message in messages:
                    dealer.send(zmtp.field_number(1, numbers[message]) + zmtp.field_number(4, 2000),
                                zmtp.field_bytes(numbers[message], b""))
                for _ in messages:
                    header = zmtp.fields(dealer.receive()[0])
                    name = next(name for name, number in numbers.items() if number == header[1])
                    got[f"{service}.{name}"] = header.get(2, 0)
        except PermissionError:
            got |= {f"{service}.{message}": "PermissionError" for message in messages}
    return got


def check_cells(system):
    """Every role and message: those that are not let through are denied, by the file's mode or by the service."""
    cells = {service: messages for service, messages in drawn_cells().items() if service in USERS}
    assert sum(map(len, cells.values())) > 20, cells
    denied = dict.fromkeys(cells, 0)
    nobodies = [("_lb-net", None, "stranger"), ("_lb-api", None, "stranger"),
                ("_lb-net", "gateway", "stranger"), ("_lb-data", "swarm", "stranger"),
                ("_lb-net", "coordinator", "stranger"), ("_lb-coord", "signer", "stranger")]
    services = [(user, service, service) for service, user in USERS.items()]
    people = [("root", None, "admin"), ("alice", None, "user"), ("boss", None, "user"), ("eve", None, "stranger")]
    for name, lie, role in services + nobodies + people:
        def act(lie=lie):
            if lie:
                claim_to_be(lie)
            return send_all(cells)

        got = as_user(User(name), act, system.people if name in USERS.values() else ())
        assert isinstance(got, dict), (name, lie, got)
        for service, messages in cells.items():
            for message, senders in messages.items():
                answer = got[f"{service}.{message}"]
                allowed = ROLES[role] in senders
                assert (answer not in (DENIED, "PermissionError")) == allowed, (name, lie, service, message, answer)
                denied[service] += answer == DENIED
        if name in PEOPLE:
            assert set(got.values()) == {"PermissionError"}, (name, got)
    for service, count in denied.items():
        assert count > 0 and system.counter(service, "requests_denied") == count, (service, count)
        lines = re.findall(r"request denied from=(.*?) uid=(\d+) ", system.text(service))
        assert lines and len(lines) == len(set(lines)), lines  # once for a sender in a minute
    assert "uid=%d" % User("_lb-net").uid in system.text("storage")
    print(f"{sum(denied.values())} requests of {len(services + nobodies + people)} senders denied and counted")


# ---- what is another's ----

def steal(user, system):
    """{what: how it ended} of everything that a service of this user tries."""
    def bind(path):
        with socket.socket(socket.AF_UNIX) as thief:
            thief.bind(path)

    def write(path):
        with open(path, "r+b") as file:
            file.write(b"x")

    def replace(path):
        with open(path + ".mine", "wb"):
            os.rename(path + ".mine", path)

    tries = {}
    for act, path in [(os.unlink, f"{RUN}/storage-0.sock"), (bind, f"{RUN}/storage-1.sock"),
                      (replace, f"{RUN}/storage-0.sock"), (replace, f"{RUN}/status.shm"),
                      (os.unlink, f"{RUN}/status.shm"), (replace, f"{RUN}/data/routing.shm"),
                      (write, f"{RUN}/data/routing.shm"), (write, f"{RUN}/data/presence.shm"),
                      (write, f"{RUN}/net/transport.key"), (os.listdir, f"{STATE}/data"), (os.listdir, f"{STATE}/net"),
                      (os.listdir, f"{STATE}/ca"), (write, f"{STATE}/ca/intermediate.key"),
                      (os.listdir, f"{STATE}/coordinator"), (write, f"{STATE}/net/member/member.key"),
                      (replace, f"{STATE}/identity"),
                      (replace, f"{STATE}/data"), (write, f"{STATE}/data/keys/node.key")]:
        def one(act=act, path=path):
            act(path)
            return "done"

        tries[f"{act.__name__} {path}"] = as_user(user, one, system.people)
    return tries


def check_theft(system):
    mine = {"_lb-net": [f"write {RUN}/net/transport.key", f"listdir {STATE}/net", f"write {STATE}/net/member/member.key"],
            "_lb-coord": [f"listdir {STATE}/coordinator"],
            "_lb-sign": [f"listdir {STATE}/ca", f"write {STATE}/ca/intermediate.key"],
            "_lb-data": [f"write {RUN}/data/routing.shm", f"write {RUN}/data/presence.shm",
                         f"replace {RUN}/data/routing.shm", f"listdir {STATE}/data",
                         f"write {STATE}/data/keys/node.key"],
            "_lb-api": []}
    for name in mine:
        for what, end in steal(User(name), system).items():
            assert end == ("done" if what in mine[name] else "PermissionError"), (name, what, end)
    for name in mine:
        assert User(name).uid < 1000, "logind removes the shared memory of people (RemoveIPC=)"


# ---- people at the API ----

def api_code(method, spoof=b""):
    with zmtp.Dealer(f"{RUN}/api.sock", metadata=spoof) as dealer:
        dealer.send(zmtp.field_number(1, 1) + zmtp.field_text(2, "littlebird.v1." + method)
                    + zmtp.field_bytes(3, b"id") + zmtp.field_number(4, 100), b"")
        return zmtp.fields(zmtp.fields(dealer.receive()[0]).get(6, b"")).get(1, 0)


def check_people(system):
    root, alice, boss, eve = User("root"), User("alice"), User("boss"), User("eve")
    for person in (root, alice, boss):
        assert system.command(person, "lb-admin", "table").returncode == 0, person.name
        put = system.command(person, "littlebird", "put", person.name, "hello")
        assert put.returncode == 0, put
        got = system.command(alice, "littlebird", "get", person.name)
        assert got.stdout.strip() == b"hello", got
        assert system.command(person, "lb-admin", "status").returncode in (0, 1, 2), person.name
    restart = system.command(alice, "lb-admin", "restart", "swarm")
    assert restart.returncode == 1 and b"littlebird-admin" in restart.stderr, restart
    for words in (("invitations",), ("withdraw", "0" * 12)):
        refused = system.command(alice, "lb-admin", "network", *words)
        assert refused.returncode == 1 and b"littlebird-admin" in refused.stderr, refused
    listed = system.command(boss, "lb-admin", "network", "invitations")
    assert listed.returncode == 0 and b"there is no invitation" in listed.stderr, listed
    assert system.command(boss, "lb-admin", "network", "withdraw", "0" * 12).returncode == 4
    for person, denied in ((root, False), (alice, True), (boss, False)):
        for method in ("RestartService", "ScaleService", "SetLogLevel", "Reload", "Stop"):
            code = as_user(person, lambda method=method: api_code("NodeService/" + method))
            assert (code == PERMISSION_DENIED) == denied, (person.name, method, code)
        code = as_user(person, lambda: api_code("NodeService/GetServerInfo"))
        assert code == 0, (person.name, code)
    assert as_user(eve, lambda: api_code("NodeService/GetServerInfo")) == "PermissionError"
    shown = system.command(eve, "lb-admin", "--help")
    assert shown.returncode == 0
    # A service that went bad is no person, whatever it says of itself.
    net = User("_lb-net")
    claim = b"\x0cPeer-Address" + struct.pack(">I", 15) + b"localhost:0:0:1"
    for spoof in (b"", claim):
        code = as_user(net, lambda spoof=spoof: api_code("NodeService/GetServerInfo", spoof), system.people)
        assert code == PERMISSION_DENIED, (spoof, code)
    assert system.counter("gateway", "calls_denied") == 8 + 2, "each one is counted"
    log = system.text("gateway")
    assert f"change asked by uid={boss.uid} " in log and "method=NodeService/Stop" in log, log
    assert f"change asked by uid={alice.uid} " not in log, log
    assert f"call denied from=a user uid={alice.uid} " in log, log


def check_files(system):
    """What is shared is what lb-swarm may read, and never its own: not its key, not its records."""
    alice = User("alice")
    os.makedirs("/run/files", mode=0o755)
    with open("/run/files/image", "wb") as file:
        file.write(os.urandom(300_000))
    shared = system.command(alice, "littlebird", "share", "/run/files/image")
    assert shared.returncode == 0 and shared.stdout.startswith(b"magnet:"), shared
    os.makedirs("/run/files/secret", mode=0o700)
    refused = system.command(alice, "littlebird", "share", "/run/files/secret")
    assert refused.returncode == 1 and b"_lb-net" in refused.stderr, refused
    os.symlink(f"{STATE}/net", "/run/files/link")
    for path in (f"{RUN}/net/transport.key", f"{RUN}/net", RUN, f"{STATE}/net", "/run/files/link/swarm"):
        refused = system.command(alice, "littlebird", "share", path)
        assert refused.returncode == 1, (path, refused)
    with open("/run/files/x.torrent", "wb") as file:
        file.write(b"d4:infod6:lengthi5e4:name1:x12:piece lengthi16384e6:pieces20:" + b"x" * 20 + b"ee")
    refused = system.command(alice, "littlebird", "fetch", "/run/files/x.torrent", "--to", "/run/files/link/swarm")
    assert refused.returncode == 1, refused
    assert not os.path.exists(f"{STATE}/net/swarm/x"), "a torrent's file among the records"


def system_node(lab):
    make_users(lab.folder)
    make_folders()
    system = System(lab.folder)
    system.make_network()
    try:
        for service in USERS:
            system.start(service)
        for service in USERS:
            wait_for(f"{service} to serve", lambda service=service: system.state(service) in ("ready", "degraded"),
                     limit_s=30)
        wait_for("the gateway to have its neighbours", lambda: system.state("gateway") == "ready", limit_s=30)
        check_cells(system)
        check_people(system)
        check_files(system)
        check_theft(system)
        for service in USERS:
            assert system.state(service) in ("ready", "degraded"), service
            assert os.waitpid(system.pids[service], os.WNOHANG) == (0, 0), service
    except BaseException:
        for service in USERS:
            print(f"--- {service}\n{system.text(service)}", file=sys.stderr)
        raise
    finally:
        system.stop()


# ---- a node of one user ----

def own_node(lab):
    """Its run folder left open, to the world: others are told no, but for those whom a group lets in."""
    node = lab.node("own")
    node.up()
    run = os.path.join(node.dir, "run")
    path = os.path.join(run, "api.sock")
    assert os.stat(run).st_mode & 0o7777 == 0o700

    def status():
        with zmtp.Dealer(path) as dealer:
            dealer.send(zmtp.field_number(1, 1) + zmtp.field_text(2, "littlebird.v1.NodeService/GetStatus")
                        + zmtp.field_bytes(3, b"id"), b"")
            return zmtp.fields(zmtp.fields(dealer.receive()[0]).get(6, b"")).get(1, 0)

    assert status() == 0
    for name in PEOPLE:
        assert as_user(User(name), status) == "PermissionError", name
    for folder in (lab.folder, node.dir, run):
        os.chmod(folder, 0o755)
    os.chmod(path, 0o666)
    for name, code in (("alice", 0), ("boss", 0), ("eve", PERMISSION_DENIED)):
        assert as_user(User(name), status) == code, name
    for message, number in (("sightings", 1), ("lookup", 2)):  # of lb-routing, by one who is no service
        _, error, reason, _ = zmtp.ask(os.path.join(run, "routing-0.sock"), zmtp.field_bytes(number, b""))
        assert error == (DENIED if message == "sightings" else INVALID), (message, error, reason)
    node.await_well()


def main():
    if os.geteuid() != 0:
        skip("only root can play other users")
    if not all(shutil.which(tool) for tool in ("unshare", "systemd-sysusers", "systemd-tmpfiles")):
        skip("unshare, systemd-sysusers or systemd-tmpfiles is not there")
    if "LB_ACCESS_INSIDE" not in os.environ:
        if subprocess.run(["unshare", "-m", "--propagation", "private", "true"], capture_output=True).returncode != 0:
            skip("no mount namespace can be made here")
        os.environ["LB_ACCESS_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, os.path.abspath(__file__)])
    with Lab() as lab:
        system_node(lab)
        own_node(lab)


main()
