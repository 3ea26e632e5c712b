#!/usr/bin/python3
"""BitTorrent v2 and hybrids (BEP 52), both ways with libtorrent: what each makes, the other fetches.

By magnet link (so that the layers of pieces are asked of peers, too) and by .torrent file. Peers
are told of each other, since how they are found is libtorrent_swarm_test.py's matter.

libtorrent before 2.0.13, when it fetches a hybrid by a link, may take an answer with hashes for a contradiction of
the two versions, and stops with torrent_inconsistent_hashes. With pieces of one block that is the rule, as it asks for
hashes again after 3 s (Littlebird makes no such hybrids); with others it is rare. It goes on when told to.
"""

import os

import lan

lan.enter()

import libtorrent as lt  # noqa: E402

from node import Lab, program, wait_for, wait_for_content  # noqa: E402
from rival import session  # noqa: E402

QUICK = {  # what Littlebird does not speak is not tried first
    "enable_outgoing_utp": False,
    "out_enc_policy": int(lt.enc_policy.pe_disabled),
    "in_enc_policy": int(lt.enc_policy.pe_disabled),
    "enable_dht": False,
    "active_limit": 100,
    "active_downloads": 100,
    "active_seeds": 100,
}

# What is shared: its files, and the size of pieces where libtorrent makes the torrent.
CONTENTS = {
    "byte.bin": ({"": 1}, 16384),
    "exact.bin": ({"": 4 * 16384}, 16384),
    "short.bin": ({"": 100_003}, 16384),
    "image.bin": ({"": 9_000_011}, 1 << 20),
    "large.bin": ({"": 40_000_001}, 16 << 20),
    "many.bin": ({"": 520 * 16384 + 1}, 16384),  # its layer is asked for in two parts
    "more.bin": ({"": 520 * 32768 + 1}, 32768),  # the same of pieces of two blocks
    "lab": ({"one.bin": 4_000_037, "empty": 0, "deep/er/two.bin": 65_536, "x": 1, "a-b": 16_384, "a/b": 33_333,
             "übung ☃.txt": 70_000, "z/empty": 0}, 32768),
}
INCONSISTENT_HASHES = 217  # libtorrent's errors::torrent_inconsistent_hashes
KINDS = {"--v2": lt.create_torrent.v2_only, "--hybrid": lt.create_torrent.canonical_files}


def make_content(lab, folder, name):
    files, _ = CONTENTS[name]
    for number, (path, size) in enumerate(files.items()):
        lab.make_file(os.path.join(folder, name, path).rstrip("/"), size, seed=size + number)
    return lab.path(folder, name)


def make_torrent(path, kind, piece_size):
    files = lt.file_storage()
    lt.add_files(files, path)
    create = lt.create_torrent(files, piece_size, flags=KINDS[kind])
    lt.set_piece_hashes(create, os.path.dirname(path))
    torrent = path + ".torrent"
    with open(torrent, "wb") as file:
        file.write(lt.bencode(create.generate()))
    return torrent


def fetch(client, order, folder, peer):
    order.save_path = folder
    handle = client.add_torrent(order)
    handle.connect_peer(peer)
    return handle


def await_seeding(what, handles):
    def is_seeding(handle):
        status = handle.status()
        if status.errc.value() == INCONSISTENT_HASHES:
            print(f"{status.name}: libtorrent stops with: {status.errc.message()}")
            handle.clear_error()
            handle.resume()
        return status.is_seeding

    wait_for(what, lambda: all([is_seeding(handle) for handle in handles]))


def littlebird_seeds(lab, kind, teacher, client):
    """Also the .torrent file it writes is what libtorrent takes."""
    handles = []
    for name in CONTENTS:
        content = make_content(lab, "ours" + kind, name)
        torrent = lab.path("ours" + kind, name + ".torrent")
        magnet = teacher.share(content, kind, "--torrent", torrent)
        assert ("btmh:1220" in magnet) and ("btih:" in magnet) == (kind == "--hybrid"), magnet
        info = lt.torrent_info(torrent)
        assert info.info_hashes().has_v2() and info.info_hashes().has_v1() == (kind == "--hybrid")
        handles.append(fetch(client, lt.parse_magnet_uri(magnet), lab.make_folder("lt-in" + kind),
                             (teacher.host, teacher.port)))
    await_seeding("libtorrent to finish its fetches", handles)
    for name in CONTENTS:
        wait_for_content(lab.path("ours" + kind, name), lab.path("lt-in" + kind, name))
    for handle in handles:
        client.remove_torrent(handle)
    print(f"libtorrent fetched {len(handles)} torrents {kind} from Littlebird")


def littlebird_fetches(lab, kind, student, seed, client):
    """And gives it on: another libtorrent fetches from Littlebird alone, pieces of all sizes."""
    torrents, handles = {}, []
    for name in CONTENTS:
        torrents[name] = make_torrent(make_content(lab, "theirs" + kind, name), kind, CONTENTS[name][1])
        handles.append(seed.add_torrent({"ti": lt.torrent_info(torrents[name]),
                                         "save_path": lab.path("theirs" + kind)}))
    await_seeding("libtorrent to seed", handles)
    target = lab.make_folder("in" + kind)
    for name, handle in zip(CONTENTS, handles):
        link = lt.make_magnet_uri(handle.torrent_file()) + f"&x.pe={lan.address(5)}:6881"
        student.cli("fetch", link, "--to", target)
        wait_for_content(lab.path("theirs" + kind, name), os.path.join(target, name))
    for handle in handles:
        seed.remove_torrent(handle)
    print(f"Littlebird fetched {len(handles)} torrents {kind} from libtorrent")
    handles = [fetch(client, lt.parse_magnet_uri(lt.make_magnet_uri(lt.torrent_info(torrent))),
                     lab.make_folder("lt-on" + kind), (student.host, student.port)) for torrent in torrents.values()]
    await_seeding("libtorrent to fetch what Littlebird fetched", handles)
    for name in CONTENTS:
        wait_for_content(lab.path("theirs" + kind, name), lab.path("lt-on" + kind, name))
    for handle in handles:
        client.remove_torrent(handle)
    print("and gave them on")


def by_file(lab, kind, student, seed):
    """A .torrent file without its layers is one whose layers are asked for."""
    path = lab.make_file(f"file{kind}/lone.bin", 200_001, seed=77)
    torrent = make_torrent(path, kind, 32768)
    handle = seed.add_torrent({"ti": lt.torrent_info(torrent), "save_path": os.path.dirname(path)})
    await_seeding("libtorrent to seed", [handle])
    with open(torrent, "rb") as file:
        data = lt.bdecode(file.read())
    del data[b"piece layers"]
    with open(torrent, "wb") as file:
        file.write(lt.bencode(data))
    target = lab.make_folder("in-file" + kind)
    process = lab.start(program("littlebird"), "fetch", "--dir", student.dir, torrent, "--to", target)

    def ended():  # it finds nobody, so it is called
        handle.connect_peer((student.host, student.port))
        return process.poll() is not None

    wait_for("Littlebird to finish its fetch", ended, pause_s=0.5)
    assert process.returncode == 0
    wait_for_content(path, os.path.join(target, "lone.bin"))
    seed.remove_torrent(handle)
    print(f"Littlebird fetched by a file without layers {kind}")


with Lab() as lab:
    teacher = lab.node("t", host=lan.address(1), port=6881)
    student = lab.node("s", host=lan.address(2), port=6881)
    teacher.up()
    student.up()
    client = session(lan.address(4), **QUICK)
    seed = session(lan.address(5), **QUICK)
    for kind in KINDS:
        littlebird_seeds(lab, kind, teacher, client)
        littlebird_fetches(lab, kind, student, seed, client)
        by_file(lab, kind, student, seed)
