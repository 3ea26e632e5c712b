#!/usr/bin/python3
"""KRPC on a private network: members speak inside DTLS, others get nothing, and what a restart loses comes back."""

import socket

from members import Members
from node import Lab, wait_for

PING = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"


def counter(node, name):
    return node.service("transport")["counters"].get(name, 0)


def good(node):
    return {contact["address"] for contact in node.contacts() if contact["state"] == "good"}


def strangers_get_nothing(node, stranger):
    """One whose certificate is of another CA, and one that speaks plain KRPC."""
    wait_for("the stranger to be refused", lambda: counter(stranger, "tls_other_ca") + counter(node, "tls_other_ca"))
    assert not stranger.contacts(), stranger.contacts()
    assert stranger.address not in {contact["address"] for contact in node.contacts()}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.connect((node.host, node.port))
        plain.send(PING)
        wait_for("plain KRPC to be counted", lambda: counter(node, "tls_plain") == 1)
        plain.setblocking(False)
        try:
            assert not plain.recv(2048), "plain KRPC was answered"
        except BlockingIOError:
            pass


def members_talk(a, b, key):
    a.put(key, "What is a leaf?")
    assert b.get(key) == b"What is a leaf?"


def a_worker_comes_back(nodes):
    """Its sessions are gone, and those of others with it: nobody takes anybody for lost."""
    a, b, c = nodes
    a.kill_service("transport")
    wait_for("sessions to be open again", lambda: counter(a, "tls_sessions") >= 1)
    members_talk(b, a, "quiz/2")
    members_talk(a, c, "quiz/3")
    for node in nodes:
        assert good(node) == {other.address for other in nodes} - {node.address}, node.name


def workers_share(a, b):
    a.admin("scale", "transport=2")
    wait_for("the second worker", lambda: (a.service("transport", 1) or {}).get("state") == "ready")
    members_talk(a, b, "quiz/4")
    members_talk(b, a, "quiz/5")


def main():
    with Lab() as lab:
        members = Members(lab, 3)
        nodes = [lab.node(name) for name in "abc"]
        stranger = lab.node("d")
        for number, node in enumerate(nodes + [stranger]):
            members.admit(node, number)
        nodes[0].up()
        for node in nodes[1:]:
            node.up(nodes[0])
        for node in nodes:
            wait_for(f"{node.name} to know the others", lambda node=node: len(good(node)) == 2)
        stranger.up(nodes[0])
        members_talk(nodes[0], nodes[1], "quiz/1")
        strangers_get_nothing(nodes[0], stranger)
        a_worker_comes_back(nodes)
        workers_share(nodes[0], nodes[1])
        assert all(counter(node, "tls_other_id") == 0 for node in nodes)


main()
