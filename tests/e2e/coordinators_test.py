#!/usr/bin/python3
"""Three coordinators, of which the leader is killed in the middle of many joins: each of them comes to its end,
with an id and a serial of its own. Without a majority joins wait, and what the members do goes on.

usage: coordinators_test.py [--joins N]      12 when not given; the whole of it: 50
"""

import argparse
import os
import signal
import time

from node import Lab, wait_for
from private import Member, Token, in_own_net


def leader_of(coordinators):
    """The one that says so itself; None while there is none."""
    for node in coordinators:
        result = node.admin("coordinator", "status", "--json", check=False)
        if result.returncode != 0:
            continue
        group = node.group()
        if group["leader"] != 0 and group["leader"] == group["server"]:
            return node
    return None


def make_group(lab):
    """Three coordinators in a network of theirs."""
    first = Member(lab, "c1")
    root = first.create("lab")
    first.up()
    group = [first]
    for number in (2, 3):
        node = Member(lab, f"c{number}")
        node.join(first.invite(), "--coordinator", node.join_address)
        node.up()
        wait_for("its offer to be known", lambda: any(
            c["server"] == 0 and c["address"] == node.join_address for c in first.group()["coordinators"]))
        assert first.admin("coordinator", "add", node.join_address, check=False).returncode == 2, "without the root's key"
        first.admin("coordinator", "add", node.join_address, "--root-key", os.path.join(root, "lab.key"))
        group.append(node)
    until = first.group()["intermediate_until_s"]  # 90 days; the operator signs anew
    first.admin("coordinator", "renew", first.node_id[:12], "--root-key", os.path.join(root, "lab.key"))
    wait_for("its new certificate", lambda: first.group()["intermediate_until_s"] > until)
    wait_for("three that vote", lambda: sum(c["voter"] for c in first.group()["coordinators"]) == 3)
    renew_all(group, root)
    return group


def renew_all(group, root):
    """What all of them sign by, anew, from one of them and with the root's key alone."""
    before = [node.group()["intermediate_until_s"] for node in group]
    wait_for("another second than that of the last", lambda: time.time() > max(before) - 90 * 86400 + 1)
    assert group[0].admin("coordinator", "renew", check=False).returncode == 2, "without the root's key"
    assert group[0].admin("coordinator", "renew", "nobody", "--root-key", os.path.join(root, "lab.key"),
                          check=False).returncode == 4
    said = group[0].admin("coordinator", "renew", "--root-key", os.path.join(root, "lab.key")).stderr.decode()
    assert said.count("signs until") == 3, said
    wait_for("each to have its new one", lambda: all(
        node.group()["intermediate_until_s"] > until for node, until in zip(group, before)))


def withdraw_at_another(lab, coordinators):
    """Made at one, withdrawn at another, and the third admits nobody by it; all three list the same."""
    made, withdrawn, asked = coordinators
    token = made.invite("--uses", "2", "--address", asked.join_address)
    number = Token(token).invite.hex()
    wait_for("the others to know of it", lambda: number in withdrawn.invitations())
    withdrawn.withdraw(number)
    refused = Member(lab, "too-late").join(token, "--timeout", "20s", check=False)
    assert refused.returncode == 1 and b"withdrawn" in refused.stderr, refused
    wait_for("the same list at each", lambda: all(
        node.invitations() == made.invitations() for node in coordinators))
    assert made.invitations()[number]["withdrawn"]
    assert made.withdraw(number, check=False).returncode == 1


def kill_leader_while_joining(lab, coordinators, count):
    """-> the member that was killed."""
    leader = leader_of(coordinators)
    token = leader.invite("--uses", str(count))
    nodes = [Member(lab, f"n{number}") for number in range(count)]
    joins, ended = [], None
    for number, node in enumerate(nodes):
        joins.append(node.start_join(token))
        if number == count // 2:
            wait_for("some to have joined", lambda: any(join.poll() == 0 for join in joins))
            os.kill(leader.service("supervisor")["pid"], signal.SIGSTOP)  # or it would start it again at once
            os.kill(leader.service("coordinator")["pid"], signal.SIGKILL)
            ended = time.monotonic()
            leader.kill()
    others = [node for node in coordinators if node is not leader]
    following = wait_for("another leader", lambda: leader_of(others), pause_s=0.02)
    print(f"another leader after {time.monotonic() - ended:.2f} s")
    for join in joins:
        assert join.wait(120) == 0, join.stderr.read()
    rows = following.members()
    joined = [row for row in rows if row["node_id"] in {node.node_id for node in nodes}]
    assert len(joined) == count and len({row["serial"] for row in rows}) == len(rows) == count + 3, rows
    return leader, nodes


def without_majority(lab, coordinators, dead, members):
    """One of three lives: joins wait, and go on when a second is back; what members do was never in need of it."""
    alive = [node for node in coordinators if node is not dead]
    one, other = members[:2]
    for node in (one, other):
        node.up()
    token = alive[0].invite()
    alive[1].kill()
    late = Member(lab, "late")
    join = late.start_join(token)
    wait_for("two members to know each other", lambda: one.contacts() and other.contacts())
    assert one.put("without", "a coordinator")["acknowledged"] >= 1
    assert other.get("without") == b"a coordinator"
    assert join.poll() is None, join.stderr.read()
    alive[1].up()
    assert join.wait(120) == 0, join.stderr.read()
    dead.up()
    wait_for("all three to be as far as the leader", lambda: (lambda leader: leader and all(
        c["lag"] == 0 for c in leader.group()["coordinators"]))(leader_of(coordinators)), pause_s=0.5)
    assert late.node_id in {row["node_id"] for row in alive[0].members()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--joins", type=int, default=12)
    count = parser.parse_args().joins
    with Lab() as lab:
        coordinators = make_group(lab)
        withdraw_at_another(lab, coordinators)
        dead, members = kill_leader_while_joining(lab, coordinators, count)
        without_majority(lab, coordinators, dead, members)


in_own_net()
main()
