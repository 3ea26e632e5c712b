#!/usr/bin/python3
"""A libtorrent DHT node stores and reads BEP 44 items with Littlebird nodes, both ways, and samples infohashes there."""

import hashlib
import subprocess
import time

import lan

lan.enter()

import libtorrent as lt  # noqa: E402

from node import Lab, wait_for  # noqa: E402
from rival import session  # noqa: E402


def alert(client, kind, ask, accept=lambda a: True):
    """Ask, and again every few seconds, until an alert of this kind is accepted."""
    state = {"asked": 0.0}

    def found():
        if time.monotonic() - state["asked"] > 5:
            state["asked"] = time.monotonic()
            ask()
        client.wait_for_alert(200)
        return next((a for a in client.pop_alerts() if isinstance(a, kind) and accept(a)), None)

    return wait_for(f"libtorrent's {kind.__name__}", found)


def immutable_items(client, nodes):
    target = client.dht_put_immutable_item("from libtorrent")
    alert(client, lt.dht_put_alert, lambda: client.dht_put_immutable_item("from libtorrent"),
          lambda a: a.num_success > 0)
    value = nodes[2].get(str(target), "--immutable")
    assert value == b"from libtorrent", value
    stored = nodes[1].put("--immutable", "from Littlebird")
    wanted = lt.sha1_hash(bytes.fromhex(stored["target"]))
    got = alert(client, lt.dht_immutable_item_alert, lambda: client.dht_get_immutable_item(wanted))
    assert got.item["value"] == b"from Littlebird", got.item
    print("immutable items both ways")


def mutable_items(client, nodes):
    stored = nodes[0].put("timetable", "Monday")
    key = bytes.fromhex(stored["public_key"])
    got = alert(client, lt.dht_mutable_item_alert, lambda: client.dht_get_mutable_item(key, b""),
                lambda a: a.authoritative and a.item["value"] is not None)
    assert got.item["value"] == b"Monday" and got.seq == stored["seq"], got.item
    stored = nodes[1].put("timetable", "Tuesday")
    got = alert(client, lt.dht_mutable_item_alert, lambda: client.dht_get_mutable_item(key, b""),
                lambda a: a.item["value"] == b"Tuesday")
    assert got.seq == stored["seq"]
    print("a mutable item of Littlebird's, read by libtorrent")


def key_pair(seed):
    """Ed25519 (RFC 8032) as libtorrent wants it: the public key and the expanded private one."""
    der = bytes.fromhex("302e020100300506032b657004220420") + seed
    public = subprocess.run(["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"], input=der,
                            capture_output=True, check=True).stdout[-32:]
    private = bytearray(hashlib.sha512(seed).digest())
    private[0] &= 248
    private[31] = private[31] & 63 | 64
    return public, bytes(private)


def own_items(client, nodes):
    public, private = key_pair(bytes(range(32)))
    alert(client, lt.dht_put_alert,
          lambda: client.dht_put_mutable_item(private, public, b"a notice", b"notice"),
          lambda a: a.num_success > 0)
    value = nodes[2].get("notice", "--public-key", public.hex())
    assert value == b"a notice", value
    print("a mutable item of libtorrent's, read by Littlebird")


def samples(client, nodes, lab):
    """BEP 51: what one node announces, libtorrent finds in the samples of another."""
    magnet = nodes[0].share(lab.make_file("image", 100_000))
    infohash = magnet.split("urn:btih:")[1].split("&")[0]

    def ask():
        client.dht_sample_infohashes((nodes[1].host, nodes[1].port), lt.sha1_hash(bytes(20)))

    got = alert(client, lt.dht_sample_infohashes_alert, ask, lambda a: a.num_samples > 0)
    assert [str(sample) for sample in got.samples] == [infohash], got.samples
    assert got.num_infohashes == 1 and len(got.nodes) > 0, (got.num_infohashes, got.nodes)
    print("samples of infohashes, read by libtorrent")


with Lab() as lab:
    nodes = [lab.node(f"n{i}", host=lan.address(i), port=6881) for i in range(1, 5)]
    nodes[0].up()
    for node in nodes[1:]:
        node.up(bootstrap=nodes[0])
    client = session(lan.address(6), bootstrap=nodes[0].address)
    wait_for("libtorrent's DHT to know our nodes", lambda: client.status().dht_nodes >= 3)
    immutable_items(client, nodes)
    mutable_items(client, nodes)
    own_items(client, nodes)
    samples(client, nodes, lab)
