#!/usr/bin/python3
"""What aria2 and Transmission of Debian 12 make of a hybrid torrent by Littlebird.

Neither knows BEP 52. This says what is so and is no wish: should a later version take hybrids, the
test fails, and then `share` may make them by default.
"""

import os

import lan

lan.enter()

from node import Lab, same_content, wait_for  # noqa: E402
