"""ZeroMQ over a unix socket by hand (ZMTP 3.0, NULL), so that a test can also send what no library
would; and as much of protobuf as a request needs.
"""
import os
import socket
import struct

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


def varint(number):
    out = b""
    while number > 0x7f:
        out += bytes([number & 0x7f | 0x80])
        number >>= 7
    return out + bytes([number])


def field_number(field, number):
    return varint(field << 3) + varint(number)


def field_bytes(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def field_text(field, text):
    return field_bytes(field, text.encode())


def fields(data):
    """{field: last value} of a flat message."""
    found = {}
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 2:
            size = number()
            found[key >> 3] = data[at:at + size]
            at += size
        else:
            found[key >> 3] = number()
    return found


class Dealer:
    """A DEALER socket connected to path; metadata: more properties, packed, that it claims to have."""

    def __init__(self, path, timeout=20.0, metadata=b""):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.socket.sendall(GREETING)
        self._read(64)
        kind = b"DEALER"
        metadata = metadata + b"\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
        metadata += b"\x08Identity" + struct.pack(">I", 0)
        command = b"\x05READY" + metadata
        self.socket.sendall(b"\x04" + bytes([len(command)]) + command)
        self._read_frame()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _read(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError("closed by the other side")
            data += part
        return data

    def _read_frame(self):
        flags = self._read(1)[0]
        size = struct.unpack(">Q", self._read(8))[0] if flags & 2 else self._read(1)[0]
        return flags, self._read(size)

    def send(self, *frames):
        out = b""
        for i, frame in enumerate(frames):
            more = 1 if i + 1 < len(frames) else 0
            if len(frame) > 255:
                out += bytes([more | 2]) + struct.pack(">Q", len(frame)) + frame
            else:
                out += bytes([more, len(frame)]) + frame
        self.socket.sendall(out)

    def receive(self):
        frames = []
        while True:
            flags, data = self._read_frame()
            if flags & 4:
                continue
            frames.append(data)
            if not flags & 1:
                return frames


def ask(path, body, timeout=20.0, call_id=None, timeout_ms=0):
    """One call to a service's mailbox: (call id, error, reason, reply body). timeout_ms: what it is told of it."""
    call_id = call_id or int.from_bytes(os.urandom(4), "big") + 1
    with Dealer(path, timeout) as dealer:
        dealer.send(field_number(1, call_id) + (field_number(4, timeout_ms) if timeout_ms else b""), body)
        frames = dealer.receive()
    header = fields(frames[0])
    assert header.get(1) == call_id, header
    return call_id, header.get(2, 0), header.get(3, b"").decode(), b"".join(frames[1:])
