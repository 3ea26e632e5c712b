"""A tracker for rivals that find each other in no other way fast enough: everybody gets everybody (BEP 3, 23).

usage: swarm_tracker.py ADDRESS PORT
"""

import socket
import struct
import sys
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

INTERVAL_S = 5
swarms = {}


class Announce(BaseHTTPRequestHandler):
    def do_GET(self):
        if not self.path.startswith("/announce"):
            self.send_error(404)  # no scrape
            return
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query, encoding="latin-1")
        peers = swarms.setdefault(query["info_hash"][0], {})
        own = socket.inet_aton(self.client_address[0]) + struct.pack(">H", int(query["port"][0]))
        if query.get("event", [""])[0] == "stopped":
            peers.pop(own, None)
        else:
            peers[own] = True
        others = b"".join(peer for peer in list(peers) if peer != own)
        body = b"d8:completei0e10:incompletei0e8:intervali%de12:min intervali%de5:peers%d:%se" % (
            INTERVAL_S, INTERVAL_S, len(others), others)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Announce).serve_forever()
