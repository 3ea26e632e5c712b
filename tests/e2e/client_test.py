#!/usr/bin/python3
"""A client (BEP 43) puts, gets, shares and fetches through others, and is in nobody's table; nobody is answered by it."""

import json
import socket

from node import Lab, same_content, wait_for

PING = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"


def is_answered(node):
    """The network turns datagrams to a closed port away: being turned away is no answer either."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(1)
        asker.connect((node.host, node.port))
        asker.send(PING)
        try:
            return bool(asker.recv(2048))
        except OSError:
            return False


with Lab() as lab:
    a, b, client = lab.node("a"), lab.node("b"), lab.node("client")
    a.up()
    b.up(a)
    client.up(a, "--client")
    wait_for("all to know whom they can", lambda: len(client.contacts()) == 2 and a.contacts() and b.contacts())

    stored = client.put("quiz/1", "What is a leaf?")
    assert stored["acknowledged"] == 2, f"on the two others and not here: {stored}"
    assert b.get("quiz/1") == b"What is a leaf?"
    assert a.put("quiz/2", "What is a root?")["acknowledged"] == 2, "a client holds nothing"
    assert client.get("quiz/2") == b"What is a root?"
    path = lab.make_file("out/image", 300_000)
    client.cli("fetch", a.share(path), "--to", lab.make_folder("in"))
    assert same_content(path, lab.path("in", "image"))
    other = lab.make_file("out/homework", 200_000)
    b.cli("fetch", client.share(other), "--to", lab.make_folder("in"))
    assert same_content(other, lab.path("in", "homework"))

    assert is_answered(a) and not is_answered(client)
    assert client.service("storage")["counters"]["items"] == 0
    for node in (a, b):
        assert client.address not in {contact["address"] for contact in node.contacts()}, node.contacts()
    assert client.admin("status").returncode == 0
    assert client.service("routing")["note"] == "client, contacts: 2"

    lonely = lab.node("lonely")
    lonely.up(None, "--client")
    for put in (["quiz/1", "to whom?"], ["--immutable", "to whom?"]):
        refused = lonely.cli("put", *put, check=False, timeout=20)
        assert refused.returncode == 4 and b"no other node is known" in refused.stderr, refused

    b.down()
    b.up(a, "--client")  # what it held as a full node it keeps, but nobody can ask it for that
    audit = json.loads(b.admin("audit", "keys", "--json").stdout)
    assert audit["held"] == 2 and audit["wanted"] == audit["replicas_min"] == 1, audit
