#!/usr/bin/python3
"""What members of a private network keep for one of them that is away: its mail and its certificate.

Real nodes, whose certificates the test makes itself; it speaks to their boxes by lb_call, through the transport of one
of them, as lb-member does. A mail is kept, found by the other holders, survives a kill, the leaving of holders and a
newcomer, and is listed, read and dropped by its recipient alone. In the end that one is put out of the network, and
gone from every table.
"""

import hashlib
import json
import os
import ssl
import struct

import zmtp
from members import Members
from node import Lab, Node, fail, wait_for

DENIED, NOT_THERE = 6, ("refused", 2)
PART, KEEP_S = 900, 3600
MEMBERS = 5  # the last one, whom the deny list names, is the recipient


class Box:
    """What the boxes of other members answer to one node."""

    def __init__(self, node):
        self.transport = os.path.join(node.dir, "run", "transport-0.sock")

    def call(self, to, name, body):
        """-> {field: value} of the reply's body, and the field that it is."""
        compact = bytes(map(int, to.host.split("."))) + struct.pack(">H", to.port)
        request = zmtp.field_bytes(FIELDS[name], body)
        call = zmtp.field_number(1, 2) + zmtp.field_bytes(2, request)  # Call: to storage
        query = zmtp.field_bytes(1, compact) + zmtp.field_bytes(2, to.id) + zmtp.field_bytes(10, call)
        _, error, reason, reply = zmtp.ask(self.transport, zmtp.field_bytes(1, query))
        assert error == 0, (to.name, name, error, reason)
        answer = zmtp.fields(zmtp.fields(reply)[1])
        if 7 in answer:  # 202: its storage is starting, or has too much to do
            return "error", answer
        (field, value), = zmtp.fields(answer[12]).items()
        return REPLIES[field], zmtp.fields(value)

    def keep(self, to, mail):
        for offset in range(0, len(mail.sealed), PART):
            kind, answer = self.call(to, "keep", (
                zmtp.field_bytes(1, mail.recipient) + zmtp.field_bytes(2, mail.id)
                + zmtp.field_number(3, len(mail.sealed)) + zmtp.field_number(4, KEEP_S)
                + zmtp.field_number(5, offset) + zmtp.field_bytes(6, mail.sealed[offset:offset + PART])))
        return answer.get(1) if kind == "taken" else (kind, answer)

    def list(self, to):
        kind, answer = self.call(to, "list_mail", b"")
        assert kind == "list", answer
        return zmtp.fields(answer[1])[1] if 1 in answer else None

    def read(self, to, mail):
        data = b""
        while len(data) < len(mail.sealed):
            kind, answer = self.call(to, "get_mail_part", (
                zmtp.field_bytes(1, mail.recipient) + zmtp.field_bytes(2, mail.id) + zmtp.field_number(3, len(data))))
            if kind != "part":
                return kind, answer.get(1)
            data += answer[6]
        return data

    def drop(self, to, mail):
        kind, answer = self.call(to, "drop_mail", zmtp.field_bytes(1, mail.id))
        assert kind == "taken" and answer == {1: 1}, (kind, answer)

    def put_certificate(self, to, leaf, intermediate):
        """In two calls, as it goes when they do not fit into one."""
        kind, answer = self.call(to, "put_certificate", zmtp.field_bytes(2, intermediate))
        assert (kind, answer) == ("taken", {}), (kind, answer)
        return self.call(to, "put_certificate", zmtp.field_bytes(1, leaf))

    def certificate(self, to, node_id):
        kind, answer = self.call(to, "get_certificate", zmtp.field_bytes(1, node_id))
        assert kind == "certificate", answer
        return answer.get(1)


FIELDS = {"keep": 4, "list_mail": 5, "get_mail_part": 6, "drop_mail": 7, "put_certificate": 8, "get_certificate": 9}
REPLIES = {3: "taken", 4: "list", 5: "part", 6: "certificate", 7: "refused"}


class Mail:
    def __init__(self, recipient, size, seed):
        self.recipient = recipient
        self.sealed = b"".join(hashlib.sha256(b"%d %d" % (seed, i)).digest() for i in range(size // 32 + 1))[:size]
        self.id = hashlib.sha256(self.sealed).digest()


def start(lab, members, number, others):
    node = Node(lab, f"box{number}")
    members.admit(node, number)
    with open(os.path.join(node.dir, "littlebird.conf"), "a", encoding="utf-8") as file:
        file.write("[node]\nlan_discovery = no\n[storage]\ncheck_interval = 2s\n")
    node.up(bootstrap=others)
    node.id = identity(node)
    return node


def identity(node):
    with open(os.path.join(node.dir, "data", "identity"), encoding="utf-8") as file:
        return bytes.fromhex(next(line for line in file if line.startswith("node-id ")).split()[1])


def counter(node, name, service="storage"):
    row = node.service(service)
    return row["counters"].get(name, 0) if row else 0


def await_counter(node, name, value, service="storage"):
    wait_for(f"{node.name}: {name} to be {value}", lambda: counter(node, name, service) == value)


def await_certificate(box, nodes, node_id, leaf):
    wait_for("its certificate at each of them", lambda: all(box.certificate(node, node_id) == leaf for node in nodes))


def certificates(members, number):
    with open(members.path(number, "member.pem"), encoding="ascii") as file:
        pems = file.read().split("-----END CERTIFICATE-----\n")
    return [ssl.PEM_cert_to_DER_cert(pem + "-----END CERTIFICATE-----\n") for pem in pems[:2]]


def main():
    with Lab() as lab:
        members = Members(lab, MEMBERS)
        with open(os.path.join(members.folder, str(MEMBERS - 1), "identity"), encoding="utf-8") as file:
            recipient = bytes.fromhex(file.read().split("node-id ")[1].split()[0])
        nodes = [start(lab, members, 0, None)]
        nodes += [start(lab, members, number, nodes[:1]) for number in (1, 2)]
        for node in nodes:
            wait_for(f"{node.name} to know the others", lambda node=node: len(node.contacts()) == 2)
        box = Box(nodes[0])
        mail, large = Mail(recipient, 2000, 1), Mail(recipient, 40960, 2)

        # One holder gets them, and sees that the others have them too; nobody keeps its own.
        for kept in (mail, large):
            wait_for("a holder that knows who is near", lambda kept=kept: box.keep(nodes[1], kept) == 1)
        leaf, intermediate = certificates(members, MEMBERS - 1)
        wait_for("a holder that knows the root", lambda: box.put_certificate(nodes[1], leaf, intermediate)
                 == ("taken", {1: 1}))
        stranger_leaf, _ = certificates(members, members.stranger)
        kind, answer = box.put_certificate(nodes[1], stranger_leaf, intermediate)
        assert kind == "refused", (kind, answer)
        for node in nodes:
            await_counter(node, "box_mails", 2)
        await_certificate(box, nodes[1:], recipient, leaf)
        assert box.list(nodes[1]) is None  # node 0 has none
        kind, answer = box.keep(nodes[1], Mail(nodes[1].id, 100, 3))
        assert kind == "refused" and answer[1] == DENIED, answer

        # A process dies, a newcomer comes, a holder leaves: it is all still there.
        nodes[1].kill_service("storage")
        await_counter(nodes[1], "box_mails", 2)
        nodes.append(start(lab, members, 3, nodes[:1]))
        await_counter(nodes[3], "box_mails", 2)
        await_certificate(box, nodes[3:], recipient, leaf)
        nodes[1].down()

        # Its recipient comes: it alone has a list, it reads, and what it has dropped stays away. Its lb-member finds
        # no message in this mail, and may have dropped it before.
        owner = start(lab, members, MEMBERS - 1, [nodes[0]])
        own = Box(owner)
        for node in (nodes[0], nodes[2], nodes[3]):
            assert own.list(node) in (mail.id, large.id, None), node.name
        assert own.read(nodes[3], mail) in (mail.sealed, NOT_THERE)
        assert own.read(nodes[2], large) in (large.sealed, NOT_THERE)
        for node in (nodes[0], nodes[2], nodes[3]):
            own.drop(node, mail)
            own.drop(node, large)
        for node in (nodes[0], nodes[2], nodes[3]):
            await_counter(node, "box_mails", 0)
            assert own.list(node) is None
        nodes[1].up(bootstrap=nodes[:1])  # it held them when it left
        wait_for("its checks to have offered them", lambda: counter(nodes[1], "box_checks") >= 2)
        for node in (nodes[0], nodes[2], nodes[3]):
            assert counter(node, "box_mails") == 0, node.name
        assert counter(owner, "box_mails") == 0

        # It is put out: nobody's table has it any more.
        wait_for("its place in the tables", lambda: all(knows(node, recipient) for node in nodes))
        for node in nodes:
            members.put_out(node)
        wait_for("it to be gone from the tables", lambda: not any(knows(node, recipient) for node in nodes))
        if not any(counter(node, "contacts_forgotten", "routing") for node in nodes):
            fail("nobody has forgotten it: " + json.dumps([node.contacts() for node in nodes]))


def knows(node, node_id):
    return any(contact["node_id"] == node_id.hex() for contact in node.contacts())


if __name__ == "__main__":
    main()
