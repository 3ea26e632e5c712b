"""What every client of tests/bench/swarm can do, and Littlebird.

A client is one process in one place. start() brings it up idle; seed() has the origin serve the file and
returns once it does; fetch() begins; poll() says whether everything is there and verified. SIGKILL is
kill(), and again() is what a person does then: start it on the same folders and tell it the same.
"""

import glob
import os
import shutil
import signal
import socket
import struct
import subprocess
import time

here = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.abspath(os.environ.get("LB_BIN") or os.path.join(here, "..", "..", "build", "gcc", "bin"))
PROTO = os.path.join(here, "..", "..", "proto")


def load_messages(folder):
    """common.proto and swarm.proto as Python modules."""
    import sys
    subprocess.run(["protoc", f"--proto_path={PROTO}", f"--python_out={folder}", "common.proto", "swarm.proto"],
                   check=True, stderr=subprocess.DEVNULL)
    sys.path.insert(0, folder)
    import common_pb2
    import swarm_pb2
    return common_pb2, swarm_pb2


def cpu_of(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def switches_of(pid):
    """How often its threads gave up a CPU by themselves: each is a wait, and a wake-up."""
    total = 0
    for thread in glob.glob(f"/proc/{pid}/task/*/status"):
        try:
            with open(thread) as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt"))
        except OSError:
            pass  # it ended
    return total


class Client:
    name = None
    tracked = False  # it is told of the others by the tracker

    def __init__(self, lab, place, number):
        self.lab, self.place, self.number = lab, place, number
        self.folder = os.path.join(lab.folder, f"peer{number}")
        self.target = os.path.join(self.folder, "files")
        os.makedirs(self.target)
        self.process, self.cpu_before, self.cpu_idle = None, 0.0, 0.0
        self.others = []

    # ---- the process ----

    def run(self, *command, **options):
        log = open(os.path.join(self.folder, "log"), "a")
        self.process = subprocess.Popen([*self.place.prefix, *map(str, command)], stdout=options.pop("stdout", log),
                                        stderr=log, stdin=options.pop("stdin", subprocess.DEVNULL),
                                        start_new_session=True, **options)
        log.close()

    def pids(self):
        return [self.process.pid] if self.process is not None else []

    def cpu(self):
        return self.cpu_before + sum(cpu_of(pid) for pid in self.pids())

    def mark_idle(self):
        """What it used until now was for getting ready."""
        self.cpu_idle = self.cpu()

    def cpu_used(self):
        return self.cpu() - self.cpu_idle

    def kill(self):
        if self.process is None:
            return
        self.cpu_before = self.cpu()
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.process = None

    def log_tail(self):
        with open(os.path.join(self.folder, "log"), errors="replace") as file:
            return file.read()[-600:]

    # ---- what it does ----

    def start(self):
        raise NotImplementedError

    def ready(self):
        return True

    def again(self):
        self.start()
        self.lab.wait(self.ready, f"{self.name} {self.number}")
        self.fetch(self.others)

    def meet(self, others):
        """It is told of these too."""

    def poll(self):
        raise NotImplementedError

    def figures(self):
        """sent: payload bytes it says it gave; waste: bytes it says it got in vain; None: it does not say."""
        return {"sent": None, "waste": None}

    def result(self):
        return os.path.join(self.target, os.path.basename(self.lab.file))


class Littlebird(Client):
    """lb-swarm with its defaults, told the others' addresses; no DHT beside it."""
    name = "Littlebird"

    def start(self):
        self.run(os.path.join(BIN, "lb-swarm"), "--dir", self.folder, "--set", "node.log_level=warn",
                 "--set", f"node.listen={self.place.address}:{self.place.port}")
        self.connect(f"{self.folder}/run/swarm-0.sock")

    def connect(self, path):
        import zmq
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(f"ipc://{path}")

    def kill(self):
        self.socket.close()
        super().kill()

    def ask(self, **body):
        common, swarm = self.lab.messages
        self.socket.send_multipart([common.Header(call_id=1, timeout_ms=600000).SerializeToString(),
                                    swarm.Request(**body).SerializeToString()])
        header, reply = self.receive()
        if error := common.Header.FromString(header).error:
            raise LookupError(f"lb-swarm answers {common.Err.Name(error)}: {common.Header.FromString(header).reason}")
        return swarm.Reply.FromString(reply)

    def receive(self):
        end = time.monotonic() + 600
        while not self.socket.poll(1000):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"lb-swarm ended with code {self.process.returncode}: {self.log_tail()}")
        return self.socket.recv_multipart()

    def transfer(self):
        swarm = self.lab.messages[1]
        transfers = self.ask(list=swarm.List(infohash=self.lab.infohash)).transfers.transfers
        return transfers[0] if transfers else None

    def seed(self):
        swarm = self.lab.messages[1]
        self.lab.infohash = self.ask(share=swarm.Share(path=self.lab.file)).shared.infohash
        self.lab.torrent = self.ask(get_metainfo=swarm.GetMetainfo(infohash=self.lab.infohash)).metainfo.metainfo

    def fetch(self, others):
        swarm = self.lab.messages[1]
        self.ask(fetch=swarm.Fetch(metainfo=self.lab.torrent, folder=self.target))
        self.meet(others)

    def again(self):
        """Its order is on the disk: it goes on by itself. Without a DHT it is told the addresses again."""
        self.start()
        self.meet(self.others)

    def meet(self, others):
        """All addresses at once: 31 peers are told 500, and the clock runs."""
        common, swarm = self.lab.messages
        left = {number: socket.inet_aton(other.place.address) + struct.pack(">H", other.place.port)
                for number, other in enumerate(others, 1)}
        for _ in range(500):  # it is being opened, or what is on the disk is being checked
            for number, address in left.items():
                self.socket.send_multipart([
                    common.Header(call_id=number, timeout_ms=600000).SerializeToString(),
                    swarm.Request(add_peer=swarm.AddPeer(infohash=self.lab.infohash, address=address))
                    .SerializeToString()])
            for _ in range(len(left)):
                header = common.Header.FromString(self.receive()[0])
                if not header.error:
                    del left[header.call_id]
            if not left:
                return
            time.sleep(0.01)

    def poll(self):
        transfer = self.transfer()
        return transfer is not None and transfer.state == self.lab.messages[1].Transfer.SEEDING

    def figures(self):
        transfer = self.transfer()
        return {"sent": transfer.sent_bytes, "waste": transfer.wasted_bytes} if transfer else super().figures()


class Membership:
    """A certificate for each client, of a network that the lab has (pki-make)."""
    COUNT = 40

    def __init__(self, lab, number):
        lab.members = os.path.join(lab.parent, "members")
        if not os.path.exists(lab.members):
            subprocess.run([os.path.join(BIN, "pki-make"), lab.members, "bench", str(self.COUNT)], check=True)
        self.folder = os.path.join(lab.members, str(number % self.COUNT))

    def path(self, name):
        return os.path.join(self.folder, "member", name)


class LittlebirdTls(Littlebird):
    """As a member of a private network."""
    name = "Littlebird, TLS"

    def __init__(self, lab, place, number):
        super().__init__(lab, place, number)
        shutil.copytree(Membership(lab, number).folder, os.path.join(self.folder, "data"))
        os.chmod(os.path.join(self.folder, "data"), 0o700)


class LittlebirdNode(Littlebird):
    """A whole node by `littlebird up`, which finds the others by itself: bootstrap node, DHT, local net."""
    name = "Littlebird node"

    def start(self):
        first = self.lab.clients[0] if self.lab.clients else self
        more = ["--bootstrap", f"{first.place.address}:{first.place.port}"] if first is not self else []
        self.run(os.path.join(BIN, "littlebird"), "up", "--dir", self.folder, "--listen",
                 f"{self.place.address}:{self.place.port}", *more)
        self.connect(f"{self.folder}/run/swarm-0.sock")

    def ready(self):
        done = subprocess.run([os.path.join(BIN, "lb-admin"), "wait", "--ready", "--dir", self.folder],
                              capture_output=True)
        return done.returncode == 0

    def pids(self):
        if self.process is None:
            return []
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            first = [self.process.pid, *map(int, file.read().split())]
        more = []
        for pid in first[1:]:
            try:
                with open(f"/proc/{pid}/task/{pid}/children") as file:
                    more += map(int, file.read().split())
            except OSError:
                pass
        return first + more

    def meet(self, others):
        pass

    def fetch(self, others):
        """By its link, as a person does: the metainfo comes from the others, too."""
        swarm = self.lab.messages[1]
        self.ask(fetch=swarm.Fetch(magnet=f"magnet:?xt=urn:btih:{self.lab.infohash.hex()}", folder=self.target))


def remove(folder):
    shutil.rmtree(folder, ignore_errors=True)
