"""What keeps a node busy in a test while something happens to it: work in threads, and queries over UDP."""

import itertools
import selectors
import socket
import threading
import time

from bencode import decode, encode
from node import fail

PAUSE_S = 0.04  # of an asker, between an answer and its next query


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
    """Each from an IP of its own, so that the kernel spreads them over all workers; one query each is under way. It is
    asked again after again_s, or, with None, has to be answered the first time; unanswered_s is never exceeded."""

    METHODS = (("ping", ()), ("find_node", ("target",)), ("get", ("target",)), ("get_peers", ("info_hash",)))

    def __init__(self, node, count, unanswered_s, again_s=None):
        self.node, self.count, self.unanswered_s, self.again_s = node, count, unanswered_s, again_s
        self.answered, self.longest_s = 0, 0
        self.numbers = itertools.count()

    def ask(self, asker, now):
        if asker["transaction"] is None:
            number = next(self.numbers)
            method, arguments = self.METHODS[number % len(self.METHODS)]
            asker["transaction"], asker["since"] = number.to_bytes(4, "big"), now
            target = (number * 0x9e3779b97f4a7c15 % (1 << 64)).to_bytes(8, "big") + bytes(12)
            asker["query"] = encode({"t": asker["transaction"], "y": b"q", "q": method.encode(), "ro": 1,
                                     "a": {"id": b"abcdefghij0123456789", **dict.fromkeys(arguments, target)}})
        asker["due"] = now + (self.again_s or self.unanswered_s + 1)
        try:
            asker["socket"].send(asker["query"])
        except ConnectionRefusedError:
            if self.again_s is None:
                raise
            # Nobody has the port for a moment: the supervisor itself was killed.

    def hear(self, asker, now):
        try:
            answer = decode(asker["socket"].recv(2048))
        except ConnectionRefusedError:
            if self.again_s is None:
                raise
            return
        if answer["t"] != asker["transaction"] and self.again_s is not None:
            return  # to what was asked twice
        assert answer["t"] == asker["transaction"] and answer["y"] == b"r", answer
        self.answered += 1
        self.longest_s = max(self.longest_s, now - asker["since"])
        asker["transaction"], asker["due"] = None, now + PAUSE_S

    def open(self, selector):
        for i in range(self.count):
            asker = {"socket": socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "due": 0, "transaction": None}
            asker["socket"].bind((f"127.0.{i + 1}.{i + 1}", 0))
            asker["socket"].connect((self.node.host, self.node.port))
            asker["socket"].setblocking(False)
            selector.register(asker["socket"], selectors.EVENT_READ, asker)
            yield asker

    def run(self, over):
        with selectors.DefaultSelector() as selector:
            askers = list(self.open(selector))
            while not over.is_set() or any(asker["transaction"] for asker in askers):
                now = time.monotonic()
                for asker in askers:
                    if asker["transaction"] and now - asker["since"] > self.unanswered_s:
                        fail(f"a query of {asker['socket'].getsockname()} is not answered; {self.answered} were")
                    if now >= asker["due"] and (asker["transaction"] or not over.is_set()):
                        self.ask(asker, now)
                for key, _ in selector.select(PAUSE_S / 4):
                    self.hear(key.data, time.monotonic())
            for asker in askers:
                asker["socket"].close()
