"""What comes to the door of a coordinator: who waits for approval, whose clock is wrong, who is no coordinator, who is
put out, who only knocks; a disk that is full; and what lb-signer gives away, which is nothing.
"""
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time

import coordinator_world as world
from coordinator_world import CONFLICT, DENIED, NO_SPACE, Refused, e2e, field_bytes, field_number, join, tool


def births(net):
    """What a network cannot be made of; nothing is left of it."""
    folder = os.path.join(net.folder, "unborn")
    root = os.path.join(net.folder, "unborn-root")
    for words, said in ((("a b", root, "127.0.0.1:1"), "name"), (("class", root, "nowhere"), "HOST:PORT"),
                        (("class", folder + "/data", "127.0.0.1:1"), "own folder")):
        done = tool("create", folder, *words, check=False)
        assert done.returncode == 1 and said in done.stderr, done
        assert not os.path.exists(os.path.join(folder, "data", "identity"))
    tool("create", folder, "class", root, "127.0.0.1:1")
    done = tool("create", folder, "class", root, "127.0.0.1:1", check=False)
    assert done.returncode == 1 and "already" in done.stderr, done
    done = tool("create", folder + "2", "class", root, "127.0.0.1:1", check=False)
    assert done.returncode == 1 and "class.key" in done.stderr, done
    done = tool("offer", folder, "127.0.0.1:1", check=False)
    assert done.returncode == 1 and "is a coordinator" in done.stderr, done
    done = tool("offer", folder + "2", "127.0.0.1:1", check=False)
    assert done.returncode == 1 and "only a member" in done.stderr, done


def approval(first):
    """One waits with a fingerprint that both ends see; the other is not admitted."""
    token = first.invite(uses=2)
    keys = [f"{first.world.folder}/approval{i}.key" for i in range(2)]
    said = [join(token, 1, 1, key)[1][0].split()[1] for key in keys]
    waiting = {row["fingerprint"]: row["key"] for row in first.members(pending=True)}
    assert set(waiting) == set(said), (waiting, said)
    first.decide(waiting[said[0]], True)
    first.decide(waiting[said[1]], False)
    assert len(join(token, 1, 1, keys[0])[0]) == 1
    admitted, others = join(token, 1, 1, keys[1], check=False)
    assert admitted == [] and f"refused {DENIED} " in others[0], others
    assert first.members(pending=True) == []
    first.ask(world.SET_POLICY, field_number(1, 0))


def clocks(first):
    """Five minutes are borne, and 25 hours told; the token was not used for it."""
    token = first.invite()
    for ahead_s, words in ((-90000, "90000 s behind"), (90000, "90000 s ahead")):
        said = tool("skew", token, ahead_s, check=False).stdout
        assert said.startswith(f"refused {CONFLICT} ") and words in said.replace("89999", "90000"), said
    assert tool("skew", token, -290).stdout.startswith("admitted")


def tls(first, alpn, certificate=None, version=None):
    """A client that verifies nobody. Whether anything is answered after the handshake, or why not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    if version:
        context.minimum_version = context.maximum_version = version
    if certificate:
        context.load_cert_chain(*certificate)
    with socket.create_connection(("127.0.0.1", first.port), timeout=20) as plain:
        with context.wrap_socket(plain) as connection:
            connection.sendall(bytes(7) + b"\x01" + bytes([0, 1]) + b"x" + bytes(64))
            return connection.recv(100)


def refused_by_raft(first, member, words, certificate):
    try:
        assert tls(first, "lb-raft/1", certificate) == b"", words
    except (ssl.SSLError, ConnectionError):
        pass


def impostors(first):
    """Raft's door opens for coordinators of this network only."""
    folder = os.path.join(first.world.folder, "impostor")
    tool("member", folder, first.invite(), "impostor")
    own = [f"{folder}/data/member/member.{kind}" for kind in ("pem", "key")]
    other = os.path.join(first.world.folder, "other")
    tool("create", other, "class", other + "-root", "127.0.0.1:1")
    foreign = [f"{other}/data/member/member.{kind}" for kind in ("pem", "key")]
    before = first.group()
    for who, certificate in (("nobody", None), ("a member", own), ("a coordinator of another network", foreign)):
        refused_by_raft(first, folder, who, certificate)
    try:
        tls(first, "lb-join/1", version=ssl.TLSVersion.TLSv1_2)
        raise AssertionError("TLS 1.2 was spoken")
    except (ssl.SSLError, ConnectionError):
        pass
    after = first.group()
    assert after["term"] == before["term"] and after["leader"] == before["leader"], (before, after)
    e2e.wait_for("they are counted", lambda: first.counters()["raft_refused"] >= 2)
    return folder


def after_holidays(net, first, folder):
    """A member's certificate ended while it was off: the register knows its key, and it goes on, for 90 days."""
    def off_for(days):
        tool("past", folder, f"{first.dir}/data/ca", net.root_key, net.root, days)
        return tool("renew", folder, check=False).stdout

    for days in (0, 21, 89):
        assert off_for(days).startswith("renewed "), days
    assert off_for(91).startswith(f"refused {DENIED} the certificate ended more than 90 days ago"), "91 days"
    assert off_for(21).startswith("renewed ")


def renewing(first, folder):
    """Asked again at once, the same certificate; put out, none, also with one that ended weeks ago."""
    node = open(f"{folder}/data/identity").read().split()[-1]
    again = {tool("renew", folder).stdout.split()[1] for _ in range(3)}
    assert len(again) == 1, again
    first.revoke(node)
    e2e.wait_for("the deny list is signed", lambda: "deny list 1 signed" in first.log())
    said = tool("renew", folder, check=False).stdout
    assert said.startswith(f"refused {DENIED} this node was revoked"), said
    admitted, others = join(first.invite())
    assert admitted and not others


def hostile(first):
    """Junk, silence and a crowd: who joins properly is served all the while."""
    silent = [socket.create_connection(("127.0.0.1", first.port)) for _ in range(100)]
    for data in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(3000), b"\x16\x03\x01\xff\xff" + bytes(2000)):
        with socket.create_connection(("127.0.0.1", first.port)) as knock:
            knock.sendall(data)
            try:
                knock.recv(100)
            except ConnectionError:
                pass
    for size in (b"\xff\xff\xff\xff", b"\x00\x00\x00\x05abcde", b"\x00\x00\x00\x00"):
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["lb-join/1"])
            with context.wrap_socket(socket.create_connection(("127.0.0.1", first.port))) as knock:
                knock.sendall(size)
                knock.recv(1000)
        except (ssl.SSLError, ConnectionError):
            pass
    assert len(join(first.invite(uses=5), 5, 5)[0]) == 5
    for one in silent:
        one.close()
    assert first.processes["coordinator"].poll() is None


def deaf(first):
    """Who asks on and on and reads no answer is not listened to any more: what waits for it stays small."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect(("127.0.0.1", first.port))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["lb-join/1"])
    with context.wrap_socket(plain) as knock:
        knock.settimeout(2)
        news = b"\x00\x00\x00\x02\x1a\x00"
        try:
            for _ in range(1000):
                knock.sendall(news * 2700)
            raise AssertionError("2,700,000 questions were taken")
        except socket.timeout:
            pass
    assert len(join(first.invite())[0]) == 1


def rests(first):
    """lb-signer: nobody reaches it by network, no core, no debugger of its own user; no secret in a log."""
    pid = first.processes["signer"].pid
    kinds = subprocess.run(["ss", "-Hanp"], capture_output=True, text=True).stdout
    assert not [line for line in kinds.splitlines()
                if f"pid={pid}," in line and line.split()[0] in ("tcp", "udp")], kinds
    with open(f"/proc/{pid}/limits") as limits:
        assert "Max core file size        0                    0" in limits.read()
    if os.geteuid() != 0:
        assert not os.access(f"/proc/{pid}/mem", os.R_OK)
    for name in ("data/ca/intermediate.key", "data/member/member.key", "data/coordinator/own/member.key"):
        assert os.stat(os.path.join(first.dir, name)).st_mode & 0o777 == 0o600, name
    token = first.invite()
    join(token)
    assert token[4:40] not in first.log() + first.log("signer")
    log = b"".join(open(os.path.join(first.dir, "data/coordinator/raft", name), "rb").read()
                   for name in os.listdir(os.path.join(first.dir, "data/coordinator/raft")))
    import base64
    secret = base64.urlsafe_b64decode(token[4:] + "===")[6:22]
    assert secret not in log


def full_disk(first):
    """Joins are refused by a sentence, what was decided is there, and it goes on when there is room again."""
    first.kill()
    disk = os.path.join(first.world.folder, "disk")
    data = os.path.join(first.dir, "data")
    os.mkdir(disk)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], capture_output=True)
    if mounted.returncode != 0:
        print("no tmpfs can be mounted here: the full disk was left out")
        first.start()
        return
    try:
        shutil.copytree(data, os.path.join(disk, "data"))
        shutil.rmtree(data)
        os.symlink(os.path.join(disk, "data"), data)
        first.start()
        e2e.wait_for("it leads", first.leads)
        token = first.invite(uses=3)
        before = len(first.members())
        with open(os.path.join(disk, "filler"), "wb") as filler:
            try:
                while True:
                    filler.write(bytes(65536))
                    filler.flush()
            except OSError:
                pass
        admitted, others = join(token, 1, 1, check=False)
        assert admitted == [] and others[0].startswith(f"refused {NO_SPACE} ") and "disk" in others[0], others
        try:
            first.ask(world.SET_POLICY, field_number(1, 1))
            raise AssertionError("something was decided on a full disk")
        except Refused as refused:
            assert refused.err == NO_SPACE, refused
        assert len(first.members()) == before
        first.kill("coordinator")
        first.start("coordinator")
        time.sleep(0.5)
        os.unlink(os.path.join(disk, "filler"))

        def restarted():
            if first.processes["coordinator"].poll() is not None:
                first.start("coordinator")
            return first.leads()

        e2e.wait_for("it leads again", restarted)
        assert len(first.members()) == before
        assert len(join(token, 3, 1)[0]) == 3
    finally:
        first.kill()
        subprocess.run(["umount", "-l", disk], check=True)


def main():
    with world.World("door") as net:
        births(net)
        first = net.found("approval")
        approval(first)
        clocks(first)
        folder = impostors(first)
        after_holidays(net, first, folder)
        renewing(first, folder)
        hostile(first)
        deaf(first)
        rests(first)
        full_disk(first)


if __name__ == "__main__":
    sys.exit(main())
