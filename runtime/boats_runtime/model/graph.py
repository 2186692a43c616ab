"""Checks of a graph: closed lists of operators and types, each name defined once, known values.

ONNX Runtime is given nothing that `boats-export` does not write, so that a check sees every tensor.
"""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from boats_runtime.model.protobuf import Message, count_varints, read_varints, to_signed
from boats_runtime.model.schema import EXTERNAL

BATCH = (1 << 89) - 1
"""Stands for a dynamic batch size. It is a prime that no number of 64 bits is a multiple of, so an
exact division by it shows that a size is proportional to the batch size."""

SIZES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""Bytes of an element by the accepted data types of ONNX: numbers of whole bytes, and bool."""

FLOAT, UINT8, INT32, INT64, BOOL, FLOAT16, DOUBLE = 1, 2, 6, 7, 9, 10, 11

MAX_RANK = 16
MAX_KNOWN = 64
"""Largest tensor whose numbers are known to the checks, such as a shape."""

_DATA = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")
_ATTRIBUTES = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}


class GraphError(ValueError):
    """The graph is refused; the message says why."""


class Value(NamedTuple):
    """A tensor of the graph.

    Attributes:
        dtype: Data type of ONNX.
        shape: Sizes; those that depend on a dynamic batch size are multiples of `BATCH`.
        numbers: Numbers of a small int64 tensor in the order of its elements; None if unknown.
        constant: Whether it does not depend on the input.
    """

    dtype: int
    shape: tuple[int, ...]
    numbers: tuple[int, ...] | None = None
    constant: bool = False


class Node(NamedTuple):
    """A node with the values of its inputs.

    Attributes:
        operator: Operator of the default domain.
        inputs: Values; None for an input that is left out.
        attributes: Values of the attributes by name.
        outputs: Number of outputs.
    """

    operator: str
    inputs: list[Value | None]
    attributes: dict[str, Any]
    outputs: int

    def value(self, index: int = 0) -> Value:
        """Return an input.

        Raises:
            GraphError: If it is left out.
        """
        value = self.optional(index)
        if value is None:
            raise GraphError(f"input {index} is missing")
        return value

    def optional(self, index: int) -> Value | None:
        """Return an input; None if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def numbers(self, index: int) -> tuple[int, ...]:
        """Return the numbers of an input.

        Raises:
            GraphError: If they are known only when the model runs.
        """
        numbers = self.value(index).numbers
        if numbers is None:
            raise GraphError("its shape depends on the content of the image")
        return numbers

    def integer(self, name: str, default: int) -> int:
        """Return an attribute that is an integer."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise GraphError(f"attribute {name} is not an integer")
        return value

    def integers(self, name: str) -> list[int] | None:
        """Return an attribute that is a list of integers; None if it is missing."""
        value = self.attributes.get(name)
        valid = isinstance(value, list) and all(isinstance(item, int) for item in value)
        if value is not None and not valid:
            raise GraphError(f"attribute {name} is not a list of integers")
        return value

    def axis(self, default: int, rank: int) -> int:
        """Return the attribute `axis`, counted from the first dimension."""
        return resolve_axis(self.integer("axis", default), rank)


def resolve_axis(axis: int, rank: int) -> int:
    """Return an axis counted from the first dimension."""
    if not -rank <= axis < rank:
        raise GraphError(f"axis {axis} of a tensor with {rank} dimensions")
    return axis % rank


def read_attributes(node: Message) -> dict[str, Any]:
    """Return the attributes of a node by name.

    Raises:
        GraphError: If a name is repeated, or a value does not have the declared type.
    """
    attributes: dict[str, Any] = {}
    for attribute in node.get("attribute", ()):
        name, field = attribute.get("name", ""), _ATTRIBUTES.get(attribute.get("type", 0), "")
        given = set(attribute) - {"name", "type", "doc_string"}
        empty_list = not given and field in ("floats", "ints", "strings")
        if name in attributes or not field or not (given == {field} or empty_list):
            raise GraphError(f"attribute {name!r} is repeated or does not have its declared type")
        value = attribute.get(field, [])
        attributes[name] = read_tensor(value) if field == "t" else value
    return attributes


def read_tensor(tensor: Message) -> Value:
    """Return an initializer or constant.

    Raises:
        GraphError: If it is in another file, of another type, or its data do not have its size.
    """
    if tensor.get("data_location", 0):
        raise GraphError(EXTERNAL)
    dtype, shape = tensor.get("data_type", 0), tuple(tensor.get("dims", ()))
    count = count_elements(shape)
    if dtype not in SIZES or len(shape) > MAX_RANK or any(size < 0 for size in shape):
        raise GraphError(f"a tensor of type {dtype} with the shape {list(shape)}")
    given = [name for name in _DATA if name in tensor]
    stored = sum(_count_stored(tensor[name], name, dtype) for name in given)
    # Quantization adds empty fields beside the data.
    if stored != count or sum(bool(_count_stored(tensor[name], name, dtype)) for name in given) > 1:
        raise GraphError(f"a tensor with the shape {list(shape)} has {stored} elements")
    numbers = None
    if dtype == INT64 and count <= MAX_KNOWN:
        numbers = tuple(_read_numbers(tensor))
    return Value(dtype, shape, numbers, constant=True)


def count_elements(shape: tuple[int, ...]) -> int:
    """Return the number of elements of a tensor."""
    count = 1
    for size in shape:
        count *= size
    return count


def _count_stored(data: Any, name: str, dtype: int) -> int:
    """Return the number of elements in a field; -1 for a part of an element."""
    if name == "raw_data":
        return len(data) // SIZES[dtype] if len(data) % SIZES[dtype] == 0 else -1
    if name in ("float_data", "double_data"):
        return sum(len(part) for part in data) // (4 if name == "float_data" else 8)
    return sum(1 if isinstance(part, int) else count_varints(part) for part in data)


def _read_numbers(tensor: Message) -> Iterator[int]:
    if raw := tensor.get("raw_data"):
        yield from struct.unpack(f"<{len(raw) // 8}q", raw)
    for part in tensor.get("int64_data", ()):
        for number in (part,) if isinstance(part, int) else read_varints(part):
            yield to_signed(number)
