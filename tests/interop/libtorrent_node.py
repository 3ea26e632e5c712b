#!/usr/bin/python3
"""One libtorrent DHT node as a process, so that it can be killed. usage: libtorrent_node.py ADDRESS BOOTSTRAP

Reads commands, a line each: `put TEXT` stores an immutable item and prints its target and on how many nodes it is;
`get TARGET` prints the item or "-"; `nodes` prints how many contacts it has.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import libtorrent as lt  # noqa: E402

from rival import session  # noqa: E402

PATIENCE_S = 20


def answer(client, kind, accept):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        client.wait_for_alert(200)
        for alert in client.pop_alerts():
            if isinstance(alert, kind) and accept(alert):
                return alert
    return None


def put(client, text):
    target = client.dht_put_immutable_item(text)
    done = answer(client, lt.dht_put_alert, lambda a: a.target == target)
    return f"{target} {done.num_success if done else 0}"


def get(client, target):
    wanted = lt.sha1_hash(bytes.fromhex(target))
    client.dht_get_immutable_item(wanted)
    found = answer(client, lt.dht_immutable_item_alert, lambda a: a.target == wanted)
    return found.item["value"].decode() if found and found.item["value"] else "-"


def contacts(client):
    client.post_session_stats()
    told = answer(client, lt.session_stats_alert, lambda a: True)
    return told.values["dht.dht_nodes"] if told else 0


host = sys.argv[1]
node = session(host, bootstrap=sys.argv[2])
node.apply_settings({"dht_max_dht_items": 10000, "dht_upload_rate_limit": 10_000_000, "dht_block_ratelimit": 1_000_000,
                     "alert_mask": lt.alert.category_t.dht_notification | lt.alert.category_t.stats_notification})
print("up", flush=True)
for line in sys.stdin:
    command, _, rest = line.rstrip("\n").partition(" ")
    if command == "put":
        print(put(node, rest), flush=True)
    elif command == "get":
        print(get(node, rest), flush=True)
    elif command == "nodes":
        print(contacts(node), flush=True)
