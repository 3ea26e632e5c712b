"""The intermediates by which coordinators sign end after 90 days: said two weeks before, renewed in time or late, and
what happens when one has ended: its coordinator admits nobody, the group goes on.
"""
import subprocess
import sys

import coordinator_world as world
from coordinator_world import TOOL, e2e, field_bytes, join, tool

DAY = 86400
LIFE_S = 90 * DAY


def sign(net, asked, one, ago_s=0):
    """The operator signs for `one` as it was so long ago, and hands it to `asked`."""
    request = next(row["request"] for row in asked.group()["servers"] if row["node"] == one.node)
    signed = tool("sign", net.root_key, net.root, net.network, request, int(ago_s)).stdout.strip()
    asked.ask(world.ADD_SERVER, field_bytes(1, bytes.fromhex(one.node)) + field_bytes(2, bytes.fromhex(signed)))


def says(one, words, count=1):
    e2e.wait_for(f"{one.name} says {words}", lambda: one.log().count(words) >= count)


def ending(net, first, second):
    """Ten days before, said; renewed through the other one, not any more. The deny list is signed anew each time."""
    first.revoke(join(first.invite())[0][0][0])
    says(first, "deny list 1 signed")
    sign(net, first, first, LIFE_S - 10 * DAY)
    says(first, "degraded: its certificate ends ")
    says(first, "deny list 2 signed")
    says(second, "deny list 2 signed")
    assert len(join(first.invite())[0]) == 1
    sign(net, second, first)
    e2e.wait_for("it is well again", lambda: first.log().rstrip().rsplit("ready: ", 1)[-1].count("degraded") == 0
                 and first.log().count("another intermediate now") == 2)
    says(first, "deny list 3 signed")
    folder = f"{net.folder}/member"
    tool("member", folder, first.invite(), "member")
    assert tool("renew", folder).stdout.rstrip().endswith("intermediates 2"), "a member knows both coordinators'"


def ended(net, first, second):
    """Who would join here waits; the other one admits, decisions go on, and a restart changes nothing."""
    sign(net, first, first, LIFE_S - 4)
    says(first, "its certificate ended")
    token = first.invite(addresses=[first.address])
    waiting = subprocess.Popen([TOOL, "join", token, "1", "1"], stdout=subprocess.PIPE, text=True)
    e2e.wait_for("it is refused for now", lambda: first.counters()["refused"] > 0)
    elsewhere = second.invite(addresses=[second.address])
    assert len(join(elsewhere)[0]) == 1
    for _ in range(2):
        first.revoke(join(second.invite(addresses=[second.address]))[0][0][0])
        first.kill()
        first.start()
        e2e.wait_for("the two lead each other", net.leader)
    sign(net, second, first)
    says(first, "another intermediate now", 4)
    assert waiting.communicate(timeout=e2e.LIMIT_S)[0].startswith("admitted"), "once it can, it is admitted"


def main():
    with world.World("renew") as net:
        first = net.found()
        second = net.add(first)
        ending(net, first, second)
        ended(net, first, second)
        for one in net.coordinators:
            one.stop()


if __name__ == "__main__":
    sys.exit(main())
