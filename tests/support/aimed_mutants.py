"""Model files with aimed changes: each tries to show a check another model than a parser."""

import random
from collections.abc import Callable, Iterator

import onnx
from onnx import TensorProto, helper

from support.damaged_files import damage_bytes
from support.wire import (
    BYTES,
    END_GROUP,
    FIXED32,
    FIXED64,
    START_GROUP,
    VARINT,
    WireField,
    decode,
    encode,
    encode_varint,
    number,
    text,
)

Fields = list[WireField]
Mutation = Callable[[Fields, random.Random], Fields]

MESSAGES = {
    "model": {7: "graph", 8: "opset", 14: "entry"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor"},
    "value": {2: "type"},
    "type": {1: "tensor type"},
    "tensor type": {2: "shape"},
    "shape": {1: "dimension"},
}
"""Messages inside a message by the number of their field."""

_NUMBERS = (0, 1, 2, 3, 5, 7, 10, 1 << 20, 1 << 31, 1 << 40, -1, (1 << 32) + 1)

_BODY = helper.make_graph([], "body", [], []).SerializeToString()
_LOCATION = encode([text(1, "location"), text(2, "/dev/zero")])
_LOOP = encode([
    text(1, ""), text(1, ""), text(2, "z"), text(4, "Loop"),
    text(5, encode([text(1, "body"), text(6, _BODY), number(20, onnx.AttributeProto.GRAPH)])),
])  # fmt: skip
_FOREIGN = encode([text(2, "z"), text(4, "Evil"), text(7, "com.evil")])
_FUNCTION = encode([text(1, "f"), text(10, "com.evil")])
_TENSOR = helper.make_tensor("t", TensorProto.FLOAT, [1], [0]).SerializeToString()

INSERTS = (
    text(1, _LOOP), text(1, _FOREIGN), text(5, _TENSOR), text(6, _BODY), text(11, _BODY),
    text(13, _LOCATION), number(14, 1), text(7, encode([text(1, _LOOP)])), text(25, _FUNCTION),
    text(8, encode([text(1, "com.evil"), number(2, 1)])), text(7, "com.evil"), text(4, "Loop"),
    text(14, encode([text(1, "boats.threshold"), text(2, "1")])), text(15, b""), text(22, b""),
    text(21, "x"), text(20, b""), text(26, b""), number(20, 5), number(2, 8),
)  # fmt: skip
"""Fields that break a rule in one of the messages."""


def _duplicate(fields: Fields, rng: random.Random) -> Fields:
    return [*fields, rng.choice(fields)]


def _split(fields: Fields, rng: random.Random) -> Fields:
    """Write a message as two occurrences, which a parser merges."""
    index = rng.randrange(len(fields))
    payload = fields[index].payload
    try:
        inner = decode(payload)
    except IndexError:
        return _duplicate(fields, rng)
    at = rng.randrange(len(inner) + 1)
    parts = [text(fields[index].number, encode(part)) for part in (inner[:at], inner[at:])]
    return [*fields[:index], parts[0], *fields[index + 1 :], parts[1]]


def _insert(fields: Fields, rng: random.Random) -> Fields:
    at = rng.randrange(len(fields) + 1)
    return [*fields[:at], rng.choice(INSERTS), *fields[at:]]


def _insert_hidden(fields: Fields, rng: random.Random) -> Fields:
    """Add a field whose key has more than 32 bits, of which a parser may drop the upper ones."""
    field = rng.choice(INSERTS)
    number_with_bits = field.number | 1 << rng.choice((29, 30, 40))
    return [*fields, WireField(number_with_bits, field.wire_type, field.payload)]


def _insert_unknown(fields: Fields, rng: random.Random) -> Fields:
    payloads = {VARINT: b"\x01", FIXED64: bytes(8), BYTES: b"x", FIXED32: bytes(4),
                START_GROUP: b"", END_GROUP: b"", 6: b"", 7: b""}  # fmt: skip
    wire_type = rng.choice(list(payloads))
    unknown = WireField(rng.choice((0, 15, 17, 24, 99, 5000)), wire_type, payloads[wire_type])
    closing = [WireField(unknown.number, END_GROUP, b"")] if wire_type == START_GROUP else []
    return [*fields, unknown, *closing]


def _change_wire_type(fields: Fields, rng: random.Random) -> Fields:
    index = rng.randrange(len(fields))
    field = fields[index]
    changed = WireField(field.number, rng.randrange(8), field.payload)
    return [*fields[:index], changed, *fields[index + 1 :]]


def _pack(fields: Fields, rng: random.Random) -> Fields:
    """Write a number as a packed array, which is right for repeated fields only."""
    index = rng.randrange(len(fields))
    packed = text(fields[index].number, fields[index].payload)
    return [*fields[:index], packed, *fields[index + 1 :]]


def _lengthen(fields: Fields, rng: random.Random) -> Fields:
    index = rng.randrange(len(fields))
    field = fields[index]
    longer = WireField(field.number, field.wire_type, field.payload, rng.choice((1, 3, 6, 9)))
    if field.wire_type == VARINT:
        payload = encode_varint(rng.choice(_NUMBERS), rng.choice((0, 1, 4)))
        longer = WireField(field.number, VARINT, payload)
    return [*fields[:index], longer, *fields[index + 1 :]]


def _change_number(fields: Fields, rng: random.Random) -> Fields:
    index = rng.randrange(len(fields))
    field = fields[index]
    changed = WireField(rng.randrange(1, 27), field.wire_type, field.payload)
    return [*fields[:index], changed, *fields[index + 1 :]]


def _remove(fields: Fields, rng: random.Random) -> Fields:
    index = rng.randrange(len(fields))
    return fields[:index] + fields[index + 1 :]


def _swap(fields: Fields, rng: random.Random) -> Fields:
    return rng.sample(fields, len(fields))


def _change_payload(fields: Fields, rng: random.Random) -> Fields:
    index = rng.randrange(len(fields))
    field = fields[index]
    payload = damage_bytes(field.payload, rng) if field.payload else b"\x00"
    changed = WireField(field.number, field.wire_type, payload)
    return [*fields[:index], changed, *fields[index + 1 :]]


MUTATIONS: tuple[Mutation, ...] = (
    _duplicate, _split, _insert, _insert_hidden, _insert_unknown, _change_wire_type, _pack,
    _lengthen, _change_number, _remove, _swap, _change_payload,
)  # fmt: skip


def make_mutants(content: bytes, count: int) -> Iterator[bytes]:
    """Yield mutants: one or two changes in messages at any depth, headers and truncations."""
    rng = random.Random(0)  # noqa: S311
    for index in range(count):
        if index % 50 == 0:
            yield content[: rng.randrange(len(content))]
        elif index % 50 == 1:
            yield text(6, b"xxORTM" + rng.randbytes(rng.randrange(30))).encode() + content
        else:
            mutant = content
            for _ in range(rng.choice((1, 1, 2))):
                mutant = _mutate(mutant, "model", rng)
            yield mutant


def _mutate(content: bytes, message: str, rng: random.Random) -> bytes:
    try:
        fields = decode(content)
    except IndexError:
        return content
    inner = [
        index for index, field in enumerate(fields) if field.number in MESSAGES.get(message, {})
    ]
    if inner and rng.random() < 0.8:
        numbers = sorted({fields[index].number for index in inner})
        chosen = rng.choice(numbers)
        index = rng.choice([index for index in inner if fields[index].number == chosen])
        field = fields[index]
        if field.wire_type == BYTES:
            changed = _mutate(field.payload, MESSAGES[message][field.number], rng)
            fields[index] = WireField(field.number, BYTES, changed)
            return encode(fields)
    return encode(rng.choice(MUTATIONS)(fields, rng)) if fields else content
