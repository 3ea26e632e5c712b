#!/usr/bin/python3
"""Lists what a Littlebird node shares and fetches, puts a value and reads it back.

usage: littlebird_client.py [KEY VALUE]         the node: $LITTLEBIRD_API, else the system's
Needs python3-zmq, python3-protobuf, protobuf-compiler; generates its modules as it runs.
"""
import os, pathlib, subprocess, sys, tempfile, uuid, zmq

protos = pathlib.Path(__file__).resolve().parent.parent
generated = tempfile.TemporaryDirectory()
subprocess.run(["protoc", f"--proto_path={protos}", f"--python_out={generated.name}",
                *protos.glob("littlebird/v1/*.proto")], check=True)
sys.path.insert(0, generated.name)
from littlebird.v1 import header_pb2, storage_pb2, swarm_pb2

socket = zmq.Context().socket(zmq.DEALER)
socket.linger = 0
socket.connect(os.environ.get("LITTLEBIRD_API", "ipc:///run/littlebird/api.sock"))

def call(method, request, response):
    header = header_pb2.Header(protocol=1, method=method, request_id=uuid.uuid4().bytes,
                               timeout_ms=30000, idempotency_key=uuid.uuid4().hex)
    socket.send_multipart([header.SerializeToString(), request.SerializeToString()])
    if not socket.poll(31000):
        sys.exit("no answer from " + socket.last_endpoint.decode())
    frames = socket.recv_multipart()
    status = header_pb2.Header.FromString(frames[0]).status
    if status.code != 0:
        sys.exit(f"{method}: {status.reason}: {status.message}")
    return response.FromString(frames[1])

listed = call("littlebird.v1.SwarmService/ListTransfers", swarm_pb2.ListTransfersRequest(),
              swarm_pb2.ListTransfersResponse)
print(len(listed.transfers), "transfers")
for t in listed.transfers:
    print(t.infohash.hex(), swarm_pb2.Transfer.State.Name(t.state), t.have_bytes, t.size_bytes, t.name)

key, value = sys.argv[1:3] if len(sys.argv) == 3 else ("example", "a value")
put = call("littlebird.v1.StorageService/Put",
           storage_pb2.PutRequest(key=key, value=value.encode()), storage_pb2.PutResponse)
print(f"put {key}: on {put.acknowledged} of {put.asked} nodes at {put.target.hex()}")
got = call("littlebird.v1.StorageService/Get", storage_pb2.GetRequest(key=key),
           storage_pb2.GetResponse)
print(f"get {key}: {got.value.decode()}")
