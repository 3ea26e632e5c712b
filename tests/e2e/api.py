"""Methods of the public API, asked as proto/README.md tells it; protoc alone makes and reads the messages."""

import pathlib
import subprocess

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"


def protoc(verb, kind, data, files):
    return subprocess.run(["protoc", f"-I{PROTO}", f"--{verb}=littlebird.v1.{kind}",
                           *(f"littlebird/v1/{file}.proto" for file in files)],
                          input=data, capture_output=True, check=True).stdout


def call(node, service, method, text, timeout_s=60):
    """The answer to service/method with the request given as protobuf text, as text; fails with its status."""
    import zmq

    file = service.removesuffix("Service").lower()
    name = f"littlebird.v1.{service}/{method}"
    header = protoc("encode", "Header", f'protocol: 1 request_id: "\\001" method: "{name}"'.encode(), ["header"])
    body = protoc("encode", f"{method}Request", text.encode(), [file])
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(node.api)
        socket.send_multipart([header, body])
        assert socket.poll(timeout_s * 1000), f"no answer to {name}"
        answer, reply = socket.recv_multipart()
    status = protoc("decode", "Header", answer, ["header"]).decode()
    if "code:" in status:
        raise RuntimeError(status)
    return protoc("decode", f"{method}Response", reply, [file]).decode()
