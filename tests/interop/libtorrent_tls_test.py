#!/usr/bin/python3
"""A private network: libtorrent with a certificate of it fetches from Littlebird and seeds to it.

libtorrent's SSL torrents: the network's root stands in the torrent, peers speak TLS (here 1.3) and show
certificates that lead up to it; a port with the suffix "s" speaks it. libtorrent sends its leaf without the
intermediate. It takes such a torrent by file: by magnet link it cannot know that it is to speak TLS.
Who has no certificate of the network, or none at all, gets nothing.
"""

import os
import socket

import lan

lan.enter()

import libtorrent as lt  # noqa: E402

from members import Members  # noqa: E402
from node import Lab, fail, wait_for, wait_for_content  # noqa: E402
from rival import session  # noqa: E402

QUIET = {  # what Littlebird does not speak is not tried first
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "min_reconnect_time": 1,
    "out_enc_policy": int(lt.enc_policy.pe_disabled),
    "in_enc_policy": int(lt.enc_policy.pe_disabled),
    "enable_dht": False,
}
KINDS = {"--v1": lt.create_torrent.v1_only, "--v2": lt.create_torrent.v2_only,
         "--hybrid": lt.create_torrent.canonical_files}
CONTENT = {"one.bin": 3_000_037, "deep/two.bin": 65_536, "x": 1}


def tls_session(number):
    return session(lan.address(number), listen_interfaces=f"{lan.address(number)}:6881s", **QUIET)


def add(client, members, number, torrent, folder):
    """Its certificate is shown only once it was given for the torrent."""
    handle = client.add_torrent({"ti": lt.torrent_info(torrent), "save_path": folder})
    handle.set_ssl_certificate(members.path(number, "member.pem"), members.path(number, "member.key"), "")
    return handle


def make_content(lab, *folder):
    for number, (name, size) in enumerate(CONTENT.items()):
        lab.make_file(os.path.join(*folder, name), size, seed=size + number + len(folder[-1]))
    return lab.path(*folder)


def make_torrent(path, kind, root):
    """root: the network's, or None."""
    files = lt.file_storage()
    lt.add_files(files, path)
    create = lt.create_torrent(files, 65536, flags=KINDS[kind])
    if root is not None:
        with open(root, encoding="ascii") as file:
            create.set_root_cert(file.read())
    lt.set_piece_hashes(create, os.path.dirname(path))
    with open(path + ".torrent", "wb") as file:
        file.write(lt.bencode(create.generate()))
    return path + ".torrent"


def counters(node):
    return (node.service("swarm") or {}).get("counters", {})


def littlebird_seeds(lab, members, kind, teacher, student, client):
    content = make_content(lab, "ours", "lab" + kind)
    torrent = lab.path("ours", f"lab{kind}.torrent")
    magnet = teacher.share(content, kind, "--torrent", torrent)
    with open(torrent, "rb") as file:
        info = lt.bdecode(file.read())[b"info"]
    with open(members.path(0, "root.pem"), "rb") as file:
        assert info[b"ssl-cert"] == file.read(), "share makes a torrent of the network by itself"
    target = lab.make_folder("lt-in" + kind)
    handle = add(client, members, 2, torrent, target)
    handle.connect_peer((teacher.host, teacher.port))
    wait_for(f"libtorrent to fetch {kind}", lambda: handle.status().is_seeding)
    wait_for_content(content, os.path.join(target, "lab" + kind))
    client.remove_torrent(handle)
    target = lab.make_folder("in" + kind)
    student.cli("fetch", f"{magnet}&x.pe={teacher.address}", "--to", target)
    wait_for_content(content, os.path.join(target, "lab" + kind))
    print(f"libtorrent fetched from Littlebird {kind}, and so did Littlebird by a magnet link")


def littlebird_fetches(lab, members, kind, student, client):
    content = make_content(lab, "theirs", "set" + kind)
    torrent = make_torrent(content, kind, members.path(2, "root.pem"))
    handle = add(client, members, 2, torrent, lab.path("theirs"))
    wait_for("libtorrent to seed", lambda: handle.status().is_seeding)
    target = lab.make_folder("in2" + kind)
    link = lt.make_magnet_uri(handle.torrent_file()) + f"&x.pe={lan.address(4)}:6881"
    student.cli("fetch", link, "--to", target)
    wait_for_content(content, os.path.join(target, "set" + kind))
    client.remove_torrent(handle)
    print(f"Littlebird fetched from libtorrent {kind}, metainfo and all")


def strangers_get_nothing(lab, members, teacher, client):
    content = make_content(lab, "ours", "secret")
    torrent = lab.path("ours", "secret.torrent")
    teacher.share(content, "--torrent", torrent)
    before = counters(teacher)
    handles = [add(client, members, members.stranger, torrent, lab.make_folder("lt-stranger"))]
    handles[0].connect_peer((teacher.host, teacher.port))
    wait_for("a certificate of another network to be refused",
             lambda: counters(teacher).get("tls_other_ca", 0) > before.get("tls_other_ca", 0))
    with socket.create_connection((teacher.host, teacher.port)) as plain:
        plain.sendall(b"\x13BitTorrent protocol" + bytes(8) + bytes(20) + b"-XX0000-" + bytes(12))
        assert plain.recv(1) == b"", "it says nothing to who does not speak TLS"
    wait_for("a plain connection to be counted", lambda: counters(teacher)["tls_plain"] > before.get("tls_plain", 0))
    status = handles[0].status()
    assert status.total_payload_download == 0 and not status.is_seeding
    for handle in handles:
        client.remove_torrent(handle)
    print("a stranger's certificate and plain TCP were refused and counted")


def open_half(teacher, number):
    half = socket.socket()
    half.bind((lan.address(number), 0))
    half.connect((teacher.host, teacher.port))
    half.sendall(b"\x16\x03\x01")
    return half


def half_open_handshakes_keep_nobody_out(lab, members, teacher, client):
    """300 who begin TLS and say no more: more than begin in a second, and than may be half-open."""
    halves = [open_half(teacher, number) for number in range(10, 20) for _ in range(30)]
    torrent = lab.path("ours", "lab--v2.torrent")
    handle = add(client, members, 2, torrent, lab.make_folder("lt-among-halves"))

    def is_fetched():
        handle.connect_peer((teacher.host, teacher.port))
        return handle.status().is_seeding

    wait_for("libtorrent to fetch meanwhile", is_fetched, pause_s=0.2)
    wait_for("those that say no more to be closed",
             lambda: counters(teacher)["tls_late"] > 0 and counters(teacher)["tls_too_many"] > 0)
    for half in halves:
        half.close()
    client.remove_torrent(handle)
    print("handshakes that do not end are few at once, and end by themselves")


def who_is_put_out_is_gone(lab, members, teacher, client):
    """From live sessions, too, and it is not let in again."""
    torrent = lab.path("ours", "lab--v1.torrent")
    handle = add(client, members, 2, torrent, lab.make_folder("lt-again"))
    handle.set_download_limit(50_000)  # it will not be ready before it is put out
    handle.connect_peer((teacher.host, teacher.port))
    wait_for("libtorrent to fetch", lambda: handle.status().total_payload_download > 0)
    before = counters(teacher).get("tls_revoked", 0)
    members.put_out(teacher)
    wait_for("the peer to be gone", lambda: handle.status().num_peers == 0)
    assert counters(teacher)["tls_revoked"] == before + 1

    def is_refused_again():
        handle.connect_peer((teacher.host, teacher.port))
        return counters(teacher)["tls_revoked"] > before + 1

    wait_for("it to be refused", is_refused_again, pause_s=0.5)
    print("who is put out loses its session and gets no other")


def refused(lab, node, source, said):
    result = node.cli("fetch", source, "--to", lab.make_folder("refused"), check=False)
    text = result.stderr.decode()
    if result.returncode == 0 or said not in text:
        fail(f"exit {result.returncode}, {text!r}: expected to read {said!r}")


def torrents_of_elsewhere(lab, members, student, outsider):
    content = make_content(lab, "theirs", "elsewhere")
    refused(lab, student, make_torrent(content, "--v1", None), "of the open network")
    refused(lab, student, make_torrent(content, "--v1", members.path(members.stranger, "root.pem")),
            "not a member of that network")
    refused(lab, outsider, make_torrent(content, "--v1", members.path(0, "root.pem")),
            "not a member of that network")
    print("torrents of another network are refused, with the reason")


with Lab() as lab:
    members = Members(lab, 3)
    teacher = lab.node("t", host=lan.address(1), port=6881)
    student = lab.node("s", host=lan.address(2), port=6881)
    outsider = lab.node("o", host=lan.address(3), port=6881)
    members.admit(teacher, 0)
    members.admit(student, 1)
    for node in (teacher, student, outsider):
        node.up()
    client = tls_session(4)
    for kind in KINDS:
        littlebird_seeds(lab, members, kind, teacher, student, client)
        littlebird_fetches(lab, members, kind, student, client)
    strangers_get_nothing(lab, members, teacher, client)
    torrents_of_elsewhere(lab, members, student, outsider)
    half_open_handshakes_keep_nobody_out(lab, members, teacher, client)
    who_is_put_out_is_gone(lab, members, teacher, client)
