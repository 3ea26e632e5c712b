#!/usr/bin/python3
"""A private network: created, joined by others, used by all of them, and closed to who is not admitted.

A file is shared and fetched, values are put and read, messages are sent; a capture of all the traffic
contains nothing of them. A node without a certificate, and one of another network, get nothing.

usage: private_test.py [--nodes N]      12 when not given
"""

import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import time

from node import Lab, same_content, wait_for
from private import Capture, Member, Token, check_capture, in_own_net

FILE_WORD, VALUE_WORD, MAIL_WORD = b"seed-of-a-private-file", b"seed-of-a-private-value", b"seed-of-a-private-mail"
FILE_SIZE = 1_500_000
REVOKED_LIMIT_S = 60  # what is promised, and far more than it takes


def make_file(lab):
    """Whatever part of it is seen in the clear is known by its words."""
    path = lab.path("out", "image")
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as file:
        for number in range(FILE_SIZE // 50):
            file.write(b"%s %026d\n" % (FILE_WORD, number))
    return path


# ---- who may come in ----


def refusals(first, lab):
    """What a person is told when a node cannot join; none of it leaves anything that stands in the way."""
    token = first.invite()
    other = Member(lab, "other")

    def refused(what, text, *more, node=other):
        result = node.join(text, "--timeout", "20s", *more, check=False)
        said = result.stderr.decode()
        assert result.returncode == 1 and what in said, (what, result)
        assert Token(token).secret.hex() not in said and text not in said, said
        assert not os.path.exists(os.path.join(node.dir, "data", "identity"))
        return said

    refused("cut or mistyped", token[:-1])
    refused("cut or mistyped", token.swapcase())
    parts = Token(token)
    refused("this network", parts.text(root=bytes(32)))  # somebody in the middle, with a CA of his own
    refused("token", parts.text(secret=bytes(16)))
    refused("token", parts.text(invite=bytes(6)))
    nowhere = f"127.0.0.1:{other.coordinator_port}"
    refused(nowhere, first.invite("--address", nowhere), "--timeout", "3s")
    other.join(token)
    assert "member" in other.join(token, check=False).stderr.decode()
    late = Member(lab, "late")
    refused("used", token, node=late)
    running = Member(lab, "running")
    running.up()
    said = running.join(first.invite(), check=False).stderr.decode()
    assert "littlebird down" in said, said
    running.down()
    return other


def withdrawal(first, lab):
    """A token that was withdrawn admits nobody, the list says what became of each, and no list has a secret."""
    invited = first.admin("invite", "--uses", "3", "--ttl", "1h")
    token = invited.stdout.decode().strip()
    number = Token(token).invite.hex()
    assert f"lb-admin network withdraw {number}" in invited.stderr.decode(), invited
    in_time, late = Member(lab, "in-time"), Member(lab, "too-late")
    in_time.join(token)
    row = first.invitations()[number]
    assert (row["uses_left"], row["uses"], row["withdrawn"]) == (2, 3, False), row
    assert 3500 < row["expires_s"] - time.time() <= 3600 and abs(row["made_s"] - time.time()) < 100, row

    assert b"is withdrawn" in first.withdraw(number.upper()).stderr
    refused = late.join(token, "--timeout", "20s", check=False)
    assert refused.returncode == 1 and b"withdrawn" in refused.stderr, refused
    assert in_time.node_id in {member["node_id"] for member in first.members()}, "who has joined stays"
    row = first.invitations()[number]
    assert (row["uses_left"], row["withdrawn"]) == (2, True), row

    for name, code, words in ((number, 1, "already"), ("0" * 12, 4, "no invitation"), (number[:8], 2, "12 hexa"),
                              (token, 2, "the token itself")):
        wrong = first.withdraw(name, check=False)
        assert wrong.returncode == code and words in wrong.stderr.decode(), wrong
        assert token not in wrong.stderr.decode(), wrong
    shown = first.admin("network", "invitations").stdout.decode()
    lines = {line.split()[0]: line for line in shown.splitlines()}
    assert "2 of 3" in lines[number] and "withdrawn" in lines[number], shown
    assert any("0 of 1" in line and "used up" in line for line in lines.values()), shown
    assert list(lines)[-1] == number, f"the newest is the last:\n{shown}"
    everything = shown + json.dumps(first.invitations()) + first.log()
    assert token not in everything and Token(token).secret.hex() not in everything, "a secret is told"

    for node in (in_time, Member(lab, "of-no-network")):  # a member that coordinates nothing, and who is none
        node.up()
        for command in (("invitations",), ("withdraw", number)):
            wrong = node.admin("network", *command, check=False)
            said = wrong.stderr.decode()
            assert wrong.returncode == 1 and ("no coordinator" in said or "open network" in said), wrong
        node.down()
        wrong = node.admin("network", "invitations", check=False)
        assert wrong.returncode == 3, wrong


def approval(lab):
    """With --approve a token is not enough: an operator compares fingerprints."""
    head = Member(lab, "head")
    head.create("approved", "--approve")
    head.up()
    joins, tokens = [], [head.invite(), head.invite()]
    for name, token in zip(("wanted", "unwanted"), tokens):
        node = Member(lab, name)
        joins.append((node, node.start_join(token)))
    shown = []
    for node, join in joins:
        line = join.stderr.readline()
        assert "waits for approval" in line, line
        shown.append(line.split("fingerprint ")[1].strip())
    pending = {row["fingerprint"] for row in head.members("pending")}
    assert pending == set(shown), (pending, shown)
    head.withdraw(Token(tokens[0]).invite.hex())  # who waits goes on waiting
    head.admin("members", "approve", shown[0].replace("-", "").upper())
    head.admin("members", "reject", shown[1])
    assert joins[0][1].wait(60) == 0, joins[0][1].stderr.read()
    assert joins[1][1].wait(60) == 1
    assert "rejected" in joins[1][1].stderr.read()
    ids = {row["node_id"] for row in head.members()}
    assert ids == {head.node_id, joins[0][0].node_id}, ids
    assert head.admin("members", "approve", shown[1], check=False).returncode == 4
    head.down()


# ---- what members do ----


def use_it(nodes, path, lab):
    """A file, values and a message, among nodes[0], which has it, and the others."""
    magnet = nodes[0].share(path)
    fetches = [node.start_cli("fetch", magnet, "--to", lab.make_folder("in", node.name), stderr=subprocess.PIPE)
               for node in nodes[1:]]
    for number, node in enumerate(nodes):
        stored = node.put(f"quiz/{number}", f"{VALUE_WORD.decode()} {number}")
        assert stored["acknowledged"] >= min(8, len(nodes) - 1), stored
    for number in range(len(nodes)):
        reader = nodes[(number + 5) % len(nodes)]
        assert reader.get(f"quiz/{number}") == VALUE_WORD + b" %d" % number
    for node, fetch in zip(nodes[1:], fetches):
        assert fetch.wait(120) == 0, fetch.stderr.read()
        assert same_content(path, lab.path("in", node.name, "image")), node.name
    return magnet


def messages(one, other, third):
    """From one to the other: delivered, read there and by nobody else; kept while the other is away."""
    text = MAIL_WORD.decode() + " \x1b[2J\n7  from somebody else"

    def send():
        """Once the other's certificate is with its neighbours: some seconds after it came."""
        result = one.cli("send", other.node_id, "-", "--json", input=text.encode(), check=False)
        assert result.returncode in (0, 4), result
        return result.returncode == 0 and json.loads(result.stdout)

    sent = wait_for("the message to be sent", send, pause_s=0.5)
    wait_for("the message to come", other.inbox)
    mail = other.inbox()
    assert [(m["sender"], m["utf8"], m["message_id"]) for m in mail] == [(one.node_id, text, sent["message_id"])], mail
    shown = other.cli("inbox").stdout
    assert b"\x1b" not in shown and b"\n    7  from somebody else" in shown, shown
    assert third.inbox() == [] and one.inbox() == []
    other.down()
    kept = json.loads(one.cli("send", other.node_id, MAIL_WORD.decode() + " 2", "--json").stdout)
    assert not kept["delivered"] and kept["holders"] >= 1, kept
    other.up()
    wait_for("the message that was kept", lambda: len(other.inbox()) == 2)
    assert other.inbox()[1]["message_id"] == kept["message_id"]
    other.cli("inbox", "--remove", str(mail[0]["number"]))
    assert len(other.inbox()) == 1
    assert one.cli("send", "ab" * 20, "to nobody", check=False).returncode != 0


# ---- who is outside ----


def knock(node, foreigner, magnet):
    """Who does not look at our certificate is told by his own, or that he has none: over UDP and TCP."""
    infohash = re.search("btih:([0-9a-f]{40})", magnet)[1]
    certificate = [word for option, name in (("-cert", "member.pem"), ("-cert_chain", "member.pem"), ("-key", "member.key"))
                   for word in (option, os.path.join(foreigner.dir, "data", "member", name))]
    for service, how in (("transport", ["-dtls1_2"]), ("swarm", ["-tls1_3", "-servername", infohash])):
        for counter, who in (("tls_other_ca", certificate), ("tls_no_certificate", [])):
            before = node.counters(service).get(counter, 0)
            command = ["openssl", "s_client", "-connect", node.address, *how, *who]

            def is_counted():
                subprocess.run(command, input=b"", capture_output=True, timeout=20)
                return node.counters(service).get(counter, 0) > before

            wait_for(f"{service} to count {counter}", is_counted, pause_s=0.5)


def outsiders(nodes, magnet, lab):
    """A node of the open network, and a member of another one: neither learns nor gets anything."""
    stranger, foreigner = Member(lab, "stranger"), Member(lab, "foreigner")
    foreigner.create("elsewhere")
    for node in (stranger, foreigner):
        node.up(bootstrap=nodes[:4])
    for node in (stranger, foreigner):
        fetch = node.start_cli("fetch", magnet, "--to", lab.make_folder("in", node.name),
                               *[word for other in nodes[:4] for word in ("--peer", other.address)],
                               stderr=subprocess.DEVNULL)
        assert node.cli("get", "quiz/0", check=False).returncode == 4
        assert node.cli("put", "quiz/0", "mine", check=False).returncode in (0, 1)
        fetch.terminate()
        fetch.wait()
        got = [t["have_bytes"] for t in node.transfers()]
        assert got in ([], [0]), got
        assert not any(contact["state"] == "good" for contact in node.contacts()), node.contacts()
    assert nodes[0].get("quiz/0") == VALUE_WORD + b" 0"
    inside = {contact["address"] for node in nodes for contact in node.contacts()}
    assert not inside & {stranger.address, foreigner.address}, inside

    for node in nodes[:4]:
        wait_for("what is plain to be counted", lambda: node.counters("transport").get("tls_plain"))
    knock(nodes[1], foreigner, magnet)
    stranger.down()
    foreigner.down()


def revoked(first, nodes):
    """Whoever is put out is gone from every table and session within a minute."""
    out, others = nodes[-1], nodes[:-1]
    node_id = out.node_id
    wrong = first.admin("revoke", node_id[:8], "--host", "another-machine", check=False)
    assert wrong.returncode == 1 and b"nothing was done" in wrong.stderr, wrong
    assert first.admin("revoke", first.node_id, check=False).returncode == 1, "a coordinator is removed first"
    begin = time.monotonic()
    said = first.admin("revoke", node_id[:8]).stderr.decode()
    assert "lb-admin network withdraw" in said, said
    wait_for("the revoked node to be gone from every table", lambda: not any(
        contact["node_id"] == node_id for node in others for contact in node.contacts()), pause_s=0.5)
    took = time.monotonic() - begin
    assert took < REVOKED_LIMIT_S, took
    assert [row["revoked"] for row in first.members() if row["node_id"] == node_id] == [True]
    assert b"already" in first.admin("revoke", node_id).stderr
    out.cli("put", "quiz/0", "by a revoked node", check=False)
    assert others[0].get("quiz/0") == VALUE_WORD + b" 0"
    return took


# ---- all of it ----


def secrets_are_kept(first, root, token):
    """Keys are their owner's alone, and no log has a secret."""
    for folder in (root, os.path.join(first.dir, "data")):
        for place, _, names in os.walk(folder):
            for name in names:
                if name.endswith(".key"):
                    assert os.stat(os.path.join(place, name)).st_mode & 0o777 == 0o600, name
    assert os.listdir(root) and not any(name.startswith("lab.key") for name in os.listdir(os.path.join(first.dir, "data")))
    secret = Token(token).secret.hex()
    assert token not in first.log() and secret not in first.log()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=12)
    count = parser.parse_args().nodes
    check_capture(b"in the clear")
    with Lab() as lab:
        first = Member(lab, "first")
        root = first.create("lab")
        first.up()
        status = json.loads(first.admin("status", "--json").stdout)
        assert status["network"]["name"] == "lab" and status["node_id"] == first.node_id, status
        nodes = [first, refusals(first, lab)]
        token = first.invite("--uses", str(count - 2), "--ttl", "10min")
        begin = time.monotonic()
        joined = [Member(lab, f"n{number}") for number in range(2, count)]
        joins = [node.start_join(token) for node in joined]
        for join in joins:
            assert join.wait(60) == 0, join.stderr.read()
        nodes += joined
        print(f"{len(joins)} nodes joined in {time.monotonic() - begin:.1f} s")
        rows = first.members()
        assert sorted(row["node_id"] for row in rows) == sorted(node.node_id for node in nodes), rows
        assert len({row["serial"] for row in rows}) == count, rows
        capture = Capture(FILE_WORD, VALUE_WORD, MAIL_WORD)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda node: node.up(), nodes[1:]))
        for node in nodes:
            node.await_well()
        wait_for("every node to know others", lambda: all(len(n.contacts()) >= min(8, count - 1) for n in nodes),
                 pause_s=0.5)
        magnet = use_it(nodes, make_file(lab), lab)
        messages(nodes[1], nodes[2], nodes[3])
        outsiders(nodes, magnet, lab)
        lost = capture.end()
        print(f"{capture.packets} packets, {capture.bytes / 1e6:.0f} MB captured, {lost} lost, found: {capture.found}")
        assert lost == 0 and capture.bytes > FILE_SIZE * (count - 1), (lost, capture.bytes)
        assert not any(capture.found.values()), capture.found
        print(f"revoked: gone everywhere after {revoked(first, nodes):.1f} s")
        withdrawal(first, lab)
        secrets_are_kept(first, root, token)
        approval(lab)
        with concurrent.futures.ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(lambda node: node.down(), nodes))


in_own_net()
main()
