#!/usr/bin/python3
"""Lists what a Littlebird node shares and fetches, puts a value and reads it back.

usage: littlebird_client.py [KEY VALUE]         the node: $LITTLEBIRD_API, else the system's
Needs python3-zmq, python3-protobuf and protobuf-compiler; generates its modules as it runs.
"""
import os, pathlib, subprocess, sys, tempfile, zmq

protos, out = pathlib.Path(__file__).resolve().parents[1], tempfile.TemporaryDirectory()
subprocess.run(["protoc", f"-I{protos}", f"--python_out={out.name}", *protos.glob("littlebird/v1/*.proto")], check=True)
sys.path.insert(0, out.name)
from littlebird.v1 import header_pb2, storage_pb2, swarm_pb2

api = zmq.Context().socket(zmq.DEALER)
api.linger = 0
api.connect(os.environ.get("LITTLEBIRD_API", "ipc:///run/littlebird/api.sock"))

def call(module, method, **fields):
    """call(storage_pb2, "StorageService/Get", key="x"): the response."""
    name = method.split("/")[1]
    header = header_pb2.Header(protocol=1, method="littlebird.v1." + method, request_id=os.urandom(8), timeout_ms=30000)
    request = getattr(module, name + "Request")(**fields)
    api.send_multipart([header.SerializeToString(), request.SerializeToString()])
    head, body = api.recv_multipart() if api.poll(31000) else sys.exit("no answer: does the node run?")
    status = header_pb2.Header.FromString(head).status
    if status.code != 0:
        sys.exit(f"{method}: {status.reason}: {status.message}")
    return getattr(module, name + "Response").FromString(body)

for t in call(swarm_pb2, "SwarmService/ListTransfers").transfers:
    print(t.infohash.hex(), t.State.Name(t.state), t.have_bytes, t.size_bytes, t.name)
key, value = sys.argv[1:3] if len(sys.argv) == 3 else ("example", "a value")
put = call(storage_pb2, "StorageService/Put", key=key, value=value.encode())
print(f"put {key}: on {put.acknowledged} of {put.asked} nodes at {put.target.hex()}")
print(f"get {key}:", call(storage_pb2, "StorageService/Get", key=key).value.decode())
