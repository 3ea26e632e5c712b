#!/usr/bin/python3
"""A front end of another's: the client of proto/examples, and what proto/README.md promises of every method."""

import os
import pathlib
import re
import subprocess

from node import Lab, wait_for

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"


def the_example(lab, node, infohash):
    def run(*words, api=node.api, check=True):
        return lab.run(str(PROTO / "examples/littlebird_client.py"), *words, check=check,
                       env={**os.environ, "LITTLEBIRD_API": api})

    lines = run("greeting", "hello").stdout.decode().splitlines()
    assert lines[0] == f"{infohash} STATE_SEEDING 300000 300000 image.iso", lines
    assert re.fullmatch(r"put greeting: on 2 of 2 nodes at [0-9a-f]{40}", lines[1]), lines
    assert lines[2:] == ["get greeting: hello"], lines
    assert node.get("greeting") == b"hello"
    assert run().stdout.decode().splitlines()[-1] == "get example: a value"
    refused = run("", "no key", check=False)
    assert refused.returncode == 1 and b"INVALID" in refused.stderr, refused


def every_method_is_documented(lab, node):
    """By hand, as proto/README.md tells it: protoc alone makes and reads the frames."""
    import zmq

    def protoc(verb, kind, data):
        return subprocess.run(["protoc", f"-I{PROTO}", f"--{verb}=littlebird.v1.{kind}",
                               "littlebird/v1/header.proto", "littlebird/v1/node.proto"],
                              input=data, capture_output=True, check=True).stdout

    readme = (PROTO / "README.md").read_text()
    drawn = readme.split("frame 1   08 01", 1)[1].split("frame 2", 1)[0]  # "Byte by byte"
    header = b"\x08\x01" + bytes(int(byte, 16) for byte in re.findall(r"(?<= )[0-9a-f]{2}(?= |$)", re.sub(
        r"  +[a-z_]+ = .*", "", drawn), re.M))
    assert header == protoc("encode", "Header", b'protocol: 1 request_id: "\\001" '
                                                b'method: "littlebird.v1.NodeService/GetServerInfo"'), header
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(node.api)
        socket.send_multipart([header, b""])
        assert socket.poll(30000), "no answer"
        answer, info = socket.recv_multipart()
    assert answer == bytes.fromhex("08 01 1a 01 01 32 00"), answer
    assert info.startswith(bytes.fromhex("0a 05 30 2e 31 2e 30 10 01")), info
    methods = re.findall(r'methods: "littlebird\.v1\.(\w+)/(\w+)"',
                         protoc("decode", "GetServerInfoResponse", info).decode())
    defined = {(service, rpc) for path in PROTO.glob("littlebird/v1/*.proto")
               for service, body in re.findall(r"service (\w+) \{(.*?)\n\}", path.read_text(), re.S)
               for rpc in re.findall(r"rpc (\w+)\(", body)}
    elsewhere = {(service, rpc) for service, rpc in defined if service == "NetworkService"}  # on private networks
    assert set(methods) == defined - elsewhere, set(methods) ^ (defined - elsewhere)
    sections = dict(re.findall(r"\*\*`(\w+)`\*\*(.*?)(?=\n\| \*\*`|\n\n)", readme, re.S))
    for service, method in defined:
        assert f"`{method}`" in sections[service], f"proto/README.md does not tell of {service}/{method}"


with Lab() as lab:
    a, b = lab.node("a"), lab.node("b")
    a.up()
    b.up(bootstrap=a)
    wait_for("the two to know each other", lambda: a.contacts() and b.contacts())
    magnet = a.share(lab.make_file("image.iso", 300_000))
    the_example(lab, a, magnet.split("btih:")[1][:40])
    every_method_is_documented(lab, a)
