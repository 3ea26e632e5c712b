#!/usr/bin/python3
"""A node that was away brings old copies back: none of them is read again, whatever became of the key meanwhile."""

import json
import os

from node import Lab, wait_for


def is_gone(node, key):
    return node.cli("get", key, check=False).returncode == 4


def await_gone(nodes, key):
    for node in nodes:
        wait_for(f"{key} to be gone on {node.name}", lambda: is_gone(node, key))


def await_all_met(nodes):
    for node in nodes:
        wait_for(f"{node.name} to know all", lambda: len(node.contacts()) >= len(nodes) - 1)


def what_ended_is_not_undercut(nodes):
    """A node that is away keeps an older copy, which outlives the version that took its place."""
    a, b, away = nodes[0], nodes[1], nodes[4]
    a.put("undercut", "before")
    away.down()
    b.put("undercut", "after", "--ttl", "3s")
    await_gone(nodes[:4], "undercut")
    away.up(bootstrap=a)
    await_all_met(nodes)
    for node in nodes[:4]:
        assert is_gone(node, "undercut"), node.name
    # Its check is refused by those who remember the newer number; one that fails is made again a minute later.
    wait_for("the old copy to be dropped", lambda: is_gone(away, "undercut"), limit_s=300, pause_s=0.5)


def what_was_removed_does_not_come_back(nodes):
    """A node that put a value, and holds it, is away while the others remove it."""
    a, b, away = nodes[0], nodes[1], nodes[4]
    away.put("old", "before")
    away.put("old/changed", "before")
    away.down()
    wait_for("b to remove it", lambda: b.cli("put", "old", "--remove", check=False).returncode in (0, 4))
    b.put("old/changed", "after")
    away.up(bootstrap=a)
    wait_for("it to know the others again", lambda: len(away.contacts()) >= len(nodes) - 1)
    for node in nodes:
        assert is_gone(node, "old") and node.get("old/changed") == b"after", node.name
    wait_for("it to have the removal", lambda: json.loads(
        away.admin("audit", "keys", "--json", check=False).stdout)["short_count"] == 0)
    for other in nodes[:3]:
        other.down()
    wait_for("it to be asked alone", lambda: is_gone(away, "old"))
    for other in nodes[:3]:
        other.up(bootstrap=nodes[3])
    await_all_met(nodes)


with Lab() as lab:
    nodes = [lab.node(name) for name in "abcde"]
    for node in nodes:
        with open(os.path.join(node.dir, "littlebird.conf"), "a") as file:
            file.write("[storage]\ncheck_interval = 5s\n")
    nodes[0].up()
    for node in nodes[1:]:
        node.up(bootstrap=nodes[0])
    await_all_met(nodes)
    what_ended_is_not_undercut(nodes)
    what_was_removed_does_not_come_back(nodes)
