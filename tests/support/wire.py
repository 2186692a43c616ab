"""Messages of Protocol Buffers as lists of fields, to write models that no library writes."""

from dataclasses import dataclass

VARINT, FIXED64, BYTES, START_GROUP, END_GROUP, FIXED32 = range(6)


def encode_varint(value: int, extra: int = 0) -> bytes:
    """Return a number in its shortest form, or with `extra` bytes more."""
    value &= (1 << 64) - 1
    groups = []
    while value or not groups:
        groups.append(value & 0x7F)
        value >>= 7
    groups += [0] * extra
    return bytes(group | 0x80 for group in groups[:-1]) + bytes(groups[-1:])


@dataclass(frozen=True)
class WireField:
    """A field of a message.

    Attributes:
        number: Number of the field.
        wire_type: Wire type.
        payload: Bytes after the key, without the size.
        extra: Bytes by which the key is longer than needed.
    """

    number: int
    wire_type: int
    payload: bytes
    extra: int = 0

    def encode(self) -> bytes:
        """Return the bytes of the field."""
        size = encode_varint(len(self.payload)) if self.wire_type == BYTES else b""
        return encode_varint(self.number << 3 | self.wire_type, self.extra) + size + self.payload


def text(number: int, value: str | bytes) -> WireField:
    """Return a field that is a text, bytes or a message."""
    return WireField(number, BYTES, value.encode() if isinstance(value, str) else value)


def number(field: int, value: int) -> WireField:
    """Return a field that is a number."""
    return WireField(field, VARINT, encode_varint(value))


def encode(fields: list[WireField]) -> bytes:
    """Return the bytes of a message."""
    return b"".join(field.encode() for field in fields)


def decode(message: bytes) -> list[WireField]:
    """Return the fields of a valid message."""
    fields = []
    position = 0

    def read() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(message):
        key = read()
        start = position
        if key & 7 == VARINT:
            read()
            payload = message[start:position]
        else:
            size = {FIXED32: 4, FIXED64: 8}.get(key & 7) or read()
            payload = message[position : position + size]
            position += size
        fields.append(WireField(key >> 3, key & 7, payload))
    return fields
