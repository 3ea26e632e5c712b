"""What the interop tests share: torrents made by libtorrent, and a libtorrent session on one address."""

import os

import libtorrent as lt


def make_torrent(lab, path, piece_size=65536):
    """A v1 .torrent of a file or folder and its magnet link, made by libtorrent."""
    files = lt.file_storage()
    lt.add_files(files, path)
    create = lt.create_torrent(files, piece_size, flags=lt.create_torrent.v1_only)
    lt.set_piece_hashes(create, os.path.dirname(path))
    data = lt.bencode(create.generate())
    torrent = lab.path(os.path.basename(path) + ".torrent")
    with open(torrent, "wb") as file:
        file.write(data)
    return torrent, lt.make_magnet_uri(lt.torrent_info(torrent))


def session(address, port=6881, bootstrap="", **more):
    """A libtorrent session that finds peers by the DHT alone and takes every node of one small subnet."""
    return lt.session({
        "listen_interfaces": f"{address}:{port}",
        "enable_dht": True,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "dht_bootstrap_nodes": bootstrap,
        "dht_restrict_routing_ips": False,
        "dht_restrict_search_ips": False,
        "dht_prefer_verified_node_ids": False,
        "dht_enforce_node_id": False,
        "dht_ignore_dark_internet": False,
        "dht_block_timeout": 1,
        "dht_block_ratelimit": 1000,
        "allow_multiple_connections_per_ip": True,
        "alert_mask": lt.alert.category_t.all_categories,
        **more,
    })
