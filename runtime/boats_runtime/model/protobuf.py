"""A strict reader of the Protocol Buffers wire format for the checks of a model file.

https://protobuf.dev/programming-guides/encoding/. A parser merges repeated occurrences of a
message, keeps the last of repeated numbers, skips unknown fields and shortens numbers, so a check
can see another model than ONNX Runtime. This reader refuses all of that: each field must be in the
schema of its message, occur once unless it is repeated, and be encoded in the shortest way.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

MAX_VALUES = 1_000_000
"""Number of fields and numbers that are read at most; ResNet50 in int8 has 10,000."""

_PACKED_VARINTS = re.compile(rb"(?:[\x00-\x7f]|[\x80-\xff]{1,8}[\x01-\x7f]|[\x80-\xff]{9}\x01)*+")
_PACKED_INT32S = re.compile(
    rb"(?:[\x00-\x7f]|[\x80-\xff]{1,3}[\x01-\x7f]|[\x80-\xff]{4}[\x01-\x07]"
    rb"|[\x80-\xff]{4}[\xf8-\xff]\xff{4}\x01)*+"
)
_CONTINUED = bytes(range(0x80, 0x100))


class Field(NamedTuple):
    """A field of a message.

    Attributes:
        name: Name in the schema of ONNX.
        wire_type: Wire type of one value.
        kind: `number` (64 bits), `int32`, `text`, `bytes`, `message`, `float` (kept as bytes),
            `array` or `int32 array` (packed or single numbers that are not decoded).
        repeated: Whether it can occur more than once.
        schema: Schema of a message.
        refusal: Why the field is refused; empty if it is accepted.
    """

    name: str
    wire_type: int
    kind: str
    repeated: bool = False
    schema: "Schema | None" = None
    refusal: str = ""


Message = dict[str, Any]
"""Values of a message by the names of its fields; lists of values for repeated fields."""


class RefusedError(ValueError):
    """The message has a field that is refused."""


@dataclass(frozen=True)
class Schema:
    """The fields of a message.

    Attributes:
        name: Name of the message in the schema of ONNX.
        fields: Fields by number.
    """

    name: str
    fields: Mapping[int, Field]


class Reader:
    """Reads messages with a limit of the number of values in all of them."""

    def __init__(self) -> None:
        self._values = 0

    def read(self, message: memoryview, schema: Schema) -> Message:
        """Read a message and those inside it.

        Raises:
            RefusedError: If a field is refused, or there are too many values.
            ValueError: If the bytes are not such a message in its shortest encoding.
        """
        values: Message = {}
        fields = schema.fields
        for number, wire_type, value in read_fields(message):
            self._count(1)
            field = fields.get(number)
            if field is None:
                raise RefusedError(f"it has the unknown field {number} in {schema.name}")
            if field.refusal:
                raise RefusedError(field.refusal)
            name = field.name
            if wire_type != field.wire_type:
                packed = field.repeated and field.wire_type != BYTES
                if not packed or isinstance(value, int) or wire_type != BYTES:
                    raise ValueError(f"{schema.name}.{name}: field of wire type {wire_type}")
                values.setdefault(name, []).extend(self._read_packed(value, field))
                continue
            parsed = self._read_value(value, field)
            if field.repeated:
                values.setdefault(name, []).append(parsed)
            elif name in values:
                raise RefusedError(f"it has the field {schema.name}.{name} twice")
            else:
                values[name] = parsed
        return values

    def _read_value(self, value: Any, field: Field) -> Any:
        kind = field.kind
        if kind == "text":
            return str(value, "utf-8")
        if kind == "message":
            assert field.schema is not None  # noqa: S101
            return self.read(value, field.schema)
        if kind == "number":
            return to_signed(value)
        if kind in ("int32", "int32 array"):
            number = to_signed(value)
            if not -(1 << 31) <= number < 1 << 31:
                raise ValueError(f"{field.name}: number of more than 32 bits")
            return number
        return value

    def _read_packed(self, value: memoryview, field: Field) -> list[Any]:
        """Return the numbers of a packed field; one part of bytes for an array."""
        if field.wire_type != VARINT:
            if len(value) % (4 if field.wire_type == FIXED32 else 8):
                raise ValueError(f"{field.name}: field of incomplete numbers")
            return [value]
        pattern = _PACKED_INT32S if field.kind.startswith("int32") else _PACKED_VARINTS
        if not pattern.fullmatch(value):
            raise ValueError(f"{field.name}: number that is not in its shortest form")
        if field.kind.endswith("array"):
            return [value]
        self._count(count_varints(value))
        return [self._read_value(number, field) for number in read_varints(value)]

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise RefusedError(f"it has more than {MAX_VALUES:,} values")


def read_fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield the number, wire type and value of the fields of a message, in the order of its bytes.

    The value is an integer, or the bytes of a message, text or packed array.

    Args:
        message: One-dimensional view of bytes.

    Raises:
        ValueError: If the bytes are not a message in its shortest encoding.
    """
    position, end = 0, len(message)
    while position < end:
        key = message[position]
        position += 1
        if key >= 0x80:
            key, position = _read_varint(message, position - 1)
        number, wire_type = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise ValueError(f"field of invalid number {number}")
        if wire_type in (VARINT, BYTES):
            if position < end and (value := message[position]) < 0x80:
                position += 1
            else:
                value, position = _read_varint(message, position)
            if wire_type == VARINT:
                yield number, wire_type, value
                continue
            size = value
        elif wire_type in (FIXED32, FIXED64):
            size = 4 if wire_type == FIXED32 else 8
        else:
            raise ValueError(f"field of unknown wire type {wire_type}")
        if size > end - position:
            raise ValueError("field extends beyond its message")
        yield number, wire_type, message[position : position + size]
        position += size


def read_varints(packed: memoryview) -> Iterator[int]:
    """Yield the integers of a packed field.

    Raises:
        ValueError: If one is not in its shortest form.
    """
    position = 0
    while position < len(packed):
        value, position = _read_varint(packed, position)
        yield value


def count_varints(packed: memoryview) -> int:
    """Return the number of integers in a packed field."""
    return len(bytes(packed).translate(None, _CONTINUED))


def to_signed(value: int) -> int:
    """Return an integer of 64 bits in two's complement."""
    return value - (1 << 64) if value >> 63 else value


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
            if (shift and not byte) or value >> 64:
                raise ValueError("number that is not in its shortest form")
            return value, position
    raise ValueError("unterminated number")
