"""The load of the chaos test: queries, values and transfers, each of which goes on by itself through whatever
happens to the nodes, and notes what it was promised."""

import itertools
import json
import os
import selectors
import socket
import subprocess
import threading
import time

from bencode import decode, encode
from node import fail, same_content

ASKERS = 8
PAUSE_S = 0.04  # of an asker, between an answer and its next query
AGAIN_S = 0.2  # not answered for so long: asked again
UNANSWERED_S = 60  # by then a service that was killed, hung or starved serves again, even on a busy machine
PUT_PAUSE_S = 0.2
ANSWER_S = 60  # of one command
FILE_SIZE = 3_000_000


class Threads:
    """Run until stop(); what one of them meets is raised there."""

    def __init__(self):
        self.over, self.threads, self.problems = threading.Event(), [], []

    def start(self, work, *arguments):
        def run():
            try:
                work(*arguments)
            except BaseException as problem:
                self.problems.append(problem)
                self.over.set()

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        for problem in self.problems:
            raise problem


class Askers:
    """Each from an IP of its own, so that the kernel spreads them over all workers."""

    METHODS = (("ping", ()), ("find_node", ("target",)), ("get", ("target",)), ("get_peers", ("info_hash",)))

    def __init__(self, node):
        self.node, self.answered, self.longest_s = node, 0, 0
        self.numbers = itertools.count()

    def ask(self, asker, now):
        if asker["transaction"] is None:
            number = next(self.numbers)
            method, arguments = self.METHODS[number % len(self.METHODS)]
            asker["transaction"], asker["since"] = number.to_bytes(4, "big"), now
            target = (number * 0x9e3779b97f4a7c15 % (1 << 64)).to_bytes(8, "big") + bytes(12)
            asker["query"] = encode({"t": asker["transaction"], "y": b"q", "q": method.encode(), "ro": 1,
                                     "a": {"id": b"abcdefghij0123456789", **dict.fromkeys(arguments, target)}})
        asker["due"] = now + AGAIN_S
        try:
            asker["socket"].send(asker["query"])
        except ConnectionRefusedError:
            pass  # nobody has the port for a moment: the supervisor itself was killed

    def hear(self, asker, now):
        try:
            answer = decode(asker["socket"].recv(2048))
        except ConnectionRefusedError:
            return
        if answer["t"] != asker["transaction"]:
            return  # to what was asked twice
        assert answer["y"] == b"r", answer
        self.answered += 1
        self.longest_s = max(self.longest_s, now - asker["since"])
        asker["transaction"], asker["due"] = None, now + PAUSE_S

    def run(self, over):
        with selectors.DefaultSelector() as selector:
            askers = []
            for i in range(ASKERS):
                asker = {"socket": socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "due": 0, "transaction": None}
                asker["socket"].bind((f"127.0.{i + 1}.{i + 1}", 0))
                asker["socket"].connect((self.node.host, self.node.port))
                asker["socket"].setblocking(False)
                selector.register(asker["socket"], selectors.EVENT_READ, asker)
                askers.append(asker)
            while not over.is_set() or any(asker["transaction"] for asker in askers):
                now = time.monotonic()
                for asker in askers:
                    if asker["transaction"] and now - asker["since"] > UNANSWERED_S:
                        fail(f"{asker['socket'].getsockname()} is not answered any more; {self.answered} were")
                    if now >= asker["due"] and (asker["transaction"] or not over.is_set()):
                        self.ask(asker, now)
                for key, _ in selector.select(PAUSE_S / 2):
                    self.hear(key.data, time.monotonic())
            for asker in askers:
                asker["socket"].close()


class Values:
    """Puts one after the other, and now and then a new version of one key; what was acknowledged has to stay."""

    def __init__(self, node):
        self.node, self.acknowledged, self.refused, self.version = node, [], 0, 0

    def put(self, key, value):
        try:
            result = self.node.cli("put", key, value, "--json", check=False, timeout=ANSWER_S)
        except subprocess.TimeoutExpired:
            fail(f"{self.node.name}: put {key} was not answered in {ANSWER_S} s")
        if result.returncode != 0 or json.loads(result.stdout)["acknowledged"] < 1:
            self.refused += 1
            return False
        return True

    def run(self, over):
        for number in itertools.count():
            if over.wait(PUT_PAUSE_S):
                return
            key = f"{self.node.name} {number}"
            if self.put(key, f"value of {key}"):
                self.acknowledged.append(key)
            if number % 8 == 0 and self.put(f"version of {self.node.name}", str(number)):
                self.version = number

    def check(self, readers):
        for reader in readers:
            for key in self.acknowledged:
                if reader.cli("get", key, check=False).stdout != f"value of {key}".encode():
                    fail(f"{reader.name}: {key} was acknowledged and is lost")
            newest = int(reader.get(f"version of {self.node.name}"))
            assert newest >= self.version, f"{reader.name}: version {newest} after {self.version} was acknowledged"


class Transfers:
    """One file after the other from `sharer` to `fetcher`; each comes out whole."""

    def __init__(self, lab, sharer, fetcher):
        self.lab, self.sharer, self.fetcher = lab, sharer, fetcher
        self.done, self.waits_for, self.links = 0, "", []
        self.into = lab.make_folder(f"in-{fetcher.name}")

    def again_until(self, what, step):
        """A command that was refused, or lost its node, is given again."""
        end = time.monotonic() + 2 * ANSWER_S
        self.waits_for = what
        while not (value := step()):
            if time.monotonic() > end:
                fail(f"{self.sharer.name} to {self.fetcher.name}: still waiting for {what}: "
                     f"{self.fetcher.transfers()}")
            time.sleep(0.1)
        return value

    def share(self, path):
        result = self.sharer.cli("share", path, check=False)
        return result.stdout.decode().strip() if result.returncode == 0 else None

    def is_fetched(self, link):
        """It goes on by itself once the node has taken the order; the command may end with its gateway."""
        rows = [row for row in self.fetcher.transfers() if row["magnet"] == link or row["infohash"] in link]
        if not rows:
            try:
                return self.fetcher.cli("fetch", link, "--to", self.into, check=False, timeout=5).returncode == 0
            except subprocess.TimeoutExpired:
                return False  # it goes on in the node, if that took the order
        return rows[0]["state"] == "seeding"

    def run(self, over):
        for number in itertools.count():
            if over.is_set():
                return
            name = f"{self.sharer.name}-{number}.iso"
            path = self.lab.make_file(f"out/{name}", FILE_SIZE, seed=name)
            link = self.again_until(f"{name} to be shared", lambda: self.share(path))
            self.again_until(f"{name} to be fetched", lambda: self.is_fetched(link))
            if not same_content(path, os.path.join(self.into, name)):
                fail(f"{name} was told to be complete and differs")
            self.links.append(link)
            self.done += 1

    def check(self):
        """All that was shared and fetched is still known, and whole."""
        for node in (self.sharer, self.fetcher):
            states = {row["infohash"]: row["state"] for row in node.transfers()}
            for link in self.links:
                state = next((states[infohash] for infohash in states if infohash in link), "lost")
                assert state == "seeding", f"{node.name}: {link} is {state}"
