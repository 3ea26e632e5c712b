"""A network that loses a third of its nodes at once: every value is read from the others, and afterwards each lies on
as many nodes as before. Shared by the network of our nodes alone and by the one mixed with another kind.
"""

import concurrent.futures
import json
import time

from node import wait_for

REPLICAS = 20
AT_ONCE = 8
CHECKS = ("--set", "storage.check_interval=10s")  # of replicas: so that a test sees the healing
HEAL_LIMIT_S = 600


def start(nodes):
    """The first, then the others through it."""
    begin = time.monotonic()
    nodes[0].up(None, *CHECKS)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda node: node.up(nodes[0], *CHECKS), nodes[1:]))
    print(f"{len(nodes)} nodes up after {time.monotonic() - begin:.1f} s")


def put_all(chance, nodes, values):
    """values: pairs of key and value. Returns how many nodes acknowledged each."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        writers = [(chance.choice(nodes), key, value) for key, value in values]
        return list(pool.map(lambda w: w[0].put(w[1], w[2])["acknowledged"], writers))


def get_all(chance, nodes, values):
    """Each value from a node chosen at random; what is missing or wrong is told, all of it."""
    def get(pair):
        key, value = pair
        result = chance.choice(nodes).cli("get", key, check=False)
        return None if result.stdout == value.encode() else f"{key}: exit {result.returncode} {result.stderr!r}"

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        lost = [problem for problem in pool.map(get, values) if problem]
    assert not lost, f"{len(lost)} of {len(values)} not read: {lost[:5]}"


def audit(node):
    return json.loads(node.admin("audit", "keys", "--json", check=False).stdout)


def wait_for_replicas(what, nodes):
    """Until the audits of all nodes agree that no value has fewer replicas than it should."""
    left = list(nodes)

    def whole():
        while left:
            found = audit(left[0])
            if found["short_count"] or found["failed"]:
                last[:] = [left[0].name, found["counted"], found["replicas_min"], found["short_count"], found["failed"]]
                return False
            held.append(found["counted"])
            fewest.append(found["replicas_min"])
            left.pop(0)
        return True

    last, held, fewest = [], [], []
    begin = time.monotonic()
    try:
        wait_for(f"every value to have its replicas {what}", whole, HEAL_LIMIT_S, pause_s=1)
    except AssertionError as error:
        raise AssertionError(f"{error}; node, counted, fewest, short, failed: {last}") from error
    print(f"{what}: all replicas there, as {len(nodes)} nodes count {sum(held)} of them (fewest of one value "
          f"{min(fewest)}), after {time.monotonic() - begin:.1f} s")
    return sum(held)


def lose_a_third(chance, nodes):
    """SIGKILL to a third of the nodes at once; returns those left."""
    victims = chance.sample(nodes, len(nodes) // 3)
    for victim in victims:
        victim.kill()
    return [node for node in nodes if node not in victims]
