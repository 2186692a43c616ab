"""Reads the wire format of Protocol Buffers, as far as it takes to look a model file over.

https://protobuf.dev/programming-guides/encoding/. The runtime has no ONNX library, and one that
parses everything is no tool for a file that is not trusted yet: here nothing is copied, and nothing
is opened that is not asked for.
"""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Field = tuple[int, int | memoryview]
"""A field's number, and its value: a number, or the bytes of a message, text or packed numbers."""


def read_fields(message: memoryview) -> Iterator[Field]:
    """Yields the fields of a message, in the order of the bytes.

    Args:
        message: One-dimensional, of bytes.

    Raises:
        ValueError: It is no message.
    """
    place, end = 0, len(message)
    while place < end:
        key, place = _read_varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = _read_varint(message, place)
            yield number, value
            continue
        if kind == BYTES:
            size, place = _read_varint(message, place)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"a field of kind {kind}")
        if number == 0 or size > end - place:
            raise ValueError("a field that goes beyond its message")
        yield number, message[place : place + size]
        place += size


def _read_varint(message: memoryview, place: int) -> tuple[int, int]:
    """Returns a number of up to 64 bits, 7 of them a byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number without an end")
