"""The load of the chaos test beside its queries (load.py): values and transfers, each of which goes on by itself
through whatever happens to the nodes, and notes what it was promised."""

import itertools
import json
import os
import subprocess
import time

from node import fail, same_content

PUT_PAUSE_S = 0.2
ANSWER_S = 60  # of one command
FILE_SIZE = 3_000_000


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
