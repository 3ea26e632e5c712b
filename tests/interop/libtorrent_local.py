#!/usr/bin/python3
"""A libtorrent client that finds peers by local discovery alone. usage: libtorrent_local.py TORRENT|MAGNET FOLDER

Says "seeding" on stdout once it has everything, and goes on until it is ended.
"""

import sys
import time

import libtorrent as lt

session = lt.session({"listen_interfaces": "0.0.0.0:6881", "enable_dht": False, "enable_lsd": True,
                      "enable_upnp": False, "enable_natpmp": False})
source, folder = sys.argv[1:]
order = lt.parse_magnet_uri(source) if source.startswith("magnet:") else lt.add_torrent_params()
if not source.startswith("magnet:"):
    order.ti = lt.torrent_info(source)
order.save_path = folder
handle = session.add_torrent(order)
while not handle.status().is_seeding:
    time.sleep(0.05)
print("seeding", flush=True)
while True:
    time.sleep(3600)
