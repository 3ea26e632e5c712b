"""Bencode for tests that speak KRPC themselves: integers, byte strings, lists, dictionaries with text keys."""


class Raw(bytes):
    """Bencoded already, well or not."""


def encode(value):
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    return b"d" + b"".join(encode(k.encode()) + encode(v) for k, v in sorted(value.items())) + b"e"


def decode(data):
    def one(at):
        if data[at:at + 1] == b"i":
            end = data.index(b"e", at)
            return int(data[at + 1:end]), end + 1
        if data[at:at + 1] in (b"l", b"d"):
            items, here = [], at + 1
            while data[here:here + 1] != b"e":
                item, here = one(here)
                items.append(item)
            if data[at:at + 1] == b"l":
                return items, here + 1
            assert items[::2] == sorted(items[::2]), f"keys out of order: {items[::2]}"
            return {k.decode(): v for k, v in zip(items[::2], items[1::2])}, here + 1
        colon = data.index(b":", at)
        end = colon + 1 + int(data[at:colon])
        return data[colon + 1:end], end

    value, end = one(0)
    assert end == len(data)
    return value
