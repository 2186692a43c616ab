"""A reader of the Protocol Buffers wire format for the checks of a model file.

https://protobuf.dev/programming-guides/encoding/. The runtime has no ONNX library, and a complete
parser is not suitable for an untrusted file: this reader copies nothing, and descends only into the
messages that a check needs.
"""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Field = tuple[int, int | memoryview]
"""Number of a field and its value: an integer, or the bytes of a message, text or packed array."""


def read_fields(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a message in the order of its bytes.

    Args:
        message: One-dimensional view of bytes.

    Raises:
        ValueError: If the bytes are not a message.
    """
    position, end = 0, len(message)
    while position < end:
        key, position = _read_varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == VARINT:
            value, position = _read_varint(message, position)
            yield number, value
            continue
        if wire_type == BYTES:
            size, position = _read_varint(message, position)
        elif wire_type in (FIXED32, FIXED64):
            size = 4 if wire_type == FIXED32 else 8
        else:
            raise ValueError(f"field of unknown wire type {wire_type}")
        if number == 0 or size > end - position:
            raise ValueError("field extends beyond its message")
        yield number, message[position : position + size]
        position += size


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return an integer of up to 64 bits, 7 in each byte, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("unterminated number")
