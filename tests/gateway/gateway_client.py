"""A gateway of its own in a temporary folder, and a client for it. For the tests beside this file:
sys.argv is LB_GATEWAY PROTO_FOLDER.
"""
import pathlib
import subprocess
import sys
import tempfile

import zmq

program, protos = sys.argv[1], pathlib.Path(sys.argv[2])
folder = tempfile.TemporaryDirectory(prefix="lb-gateway-")
generated = tempfile.TemporaryDirectory()
subprocess.run(["protoc", f"--proto_path={protos}", f"--python_out={generated.name}",
                *sorted(protos.glob("*.proto")), *sorted(protos.glob("littlebird/v1/*.proto"))],
               check=True, stderr=subprocess.DEVNULL)
sys.path.insert(0, generated.name)
from littlebird.v1 import header_pb2

V1 = "littlebird.v1."
context = zmq.Context()
run_folder = pathlib.Path(folder.name, "run")


def connect(kind=zmq.DEALER, name="api"):
    socket = context.socket(kind)
    socket.linger = 0
    socket.connect(f"ipc://{run_folder}/{name}.sock")
    return socket


def header(method, request_id=b"1", protocol=1, **rest):
    return header_pb2.Header(protocol=protocol, method=method, request_id=request_id,
                             **rest).SerializeToString()


def receive(socket, timeout_ms=10000):
    assert socket.poll(timeout_ms), "no answer"
    frames = socket.recv_multipart()
    assert len(frames) == 2, frames
    return header_pb2.Header.FromString(frames[0]), frames[1]


def ask(socket, *frames, code=0, reason="", timeout_ms=10000):
    socket.send_multipart(frames)
    answer, payload = receive(socket, timeout_ms)
    assert answer.status.code == code, answer
    assert answer.status.reason == reason, answer
    assert code == 0 or payload == b""
    return answer, payload


def with_gateway(test):
    """Run test() beside a gateway, which must outlive it and end well; what test() returns."""
    gateway = subprocess.Popen([program, "--dir", folder.name], stdin=subprocess.DEVNULL)
    try:
        result = test()
        assert gateway.poll() is None, "lb-gateway ended"
        gateway.terminate()
        assert gateway.wait(10) == 0, gateway.returncode
        return result
    finally:
        gateway.kill()
        gateway.wait()
        folder.cleanup()
        generated.cleanup()
