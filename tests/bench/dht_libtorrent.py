#!/usr/bin/python3
"""A libtorrent DHT node on $BENCH_ADDRESS, port $BENCH_PORT, with its limits off: a rival of bench-dht."""

import os
import time

import libtorrent

session = libtorrent.session({
    "listen_interfaces": f"{os.environ['BENCH_ADDRESS']}:{os.environ['BENCH_PORT']}",
    "enable_dht": True, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "dht_bootstrap_nodes": "", "dht_max_dht_items": 10_000,
    "dht_upload_rate_limit": 100_000_000, "dht_block_ratelimit": 1_000_000,
    "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False,
    "dht_enforce_node_id": False, "dht_privacy_lookups": False, "alert_mask": 0,
})
while True:
    time.sleep(3600)
