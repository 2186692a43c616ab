"""Limits of the memory that a graph needs, from the shapes of all its results."""

from boats_runtime.model.graph import (
    BATCH,
    FLOAT16,
    MAX_KNOWN,
    MAX_RANK,
    SIZES,
    GraphError,
    Node,
    Value,
    count_elements,
    read_attributes,
    read_tensor,
)
from boats_runtime.model.protobuf import Message
from boats_runtime.model.shapes import infer_results

MAX_TENSOR_BYTES = 1 << 30
"""Largest result of a node, for one image if the batch size is dynamic. ResNet50 at 240x800 needs a
hundredth of it for an image."""

MAX_TOTAL_BYTES = 4 << 30
"""Memory of all results that are needed at the same time, in the order of the file."""

_GIB = 1 << 30
_SHOWN = 80
"""Length of a name in a message."""


def check_memory(graph: Message) -> None:
    """Infer the shapes of all results of a graph, and check the memory that they need.

    Results that do not depend on the input are counted to the end: ONNX Runtime computes them when
    it opens the file, and keeps them.

    Raises:
        GraphError: If the graph needs more memory, a name is not defined exactly once before its
            use, an operator is not accepted, or the shape of a result cannot be known.
    """
    values: dict[str, Value] = {}
    for value in graph.get("input", ()):
        _define(values, value.get("name", ""), _read_input(value))
    for tensor in graph.get("initializer", ()):
        _define(values, tensor.get("name", ""), read_tensor(tensor))
    nodes, outputs = graph.get("node", ()), graph.get("output", ())
    last_uses = {
        name: index for index, node in enumerate(nodes) for name in node.get("input", ())
    } | {output.get("name", ""): len(nodes) for output in outputs}
    released: dict[int, int] = {}
    memory = 0
    for index, message in enumerate(nodes):
        try:
            results = _infer_node(message, values)
        except GraphError as error:
            name, operator = message.get("name", "")[:_SHOWN], message.get("op_type", "")[:_SHOWN]
            raise GraphError(f"{error} (node {name!r}, {operator!r})") from error
        for name, result in results:
            size = _measure(result)
            memory += size
            if not result.constant:
                end = last_uses.get(name, index)
                released[end] = released.get(end, 0) + size
        if memory > MAX_TOTAL_BYTES:
            raise GraphError(f"its results need more than {MAX_TOTAL_BYTES // _GIB} GiB of memory")
        memory -= released.pop(index, 0)
    for value in (*outputs, *graph.get("value_info", ())):
        _read_sizes(value.get("type", {}).get("tensor_type", {}).get("shape", {}))
    for output in outputs:
        if output.get("name", "") not in values:
            raise GraphError("an output is not defined")


def _infer_node(message: Message, values: dict[str, Value]) -> list[tuple[str, Value]]:
    """Define the results of a node, and return them with their names."""
    inputs: list[Value | None] = []
    for name in message.get("input", ()):
        if name and name not in values:
            raise GraphError(f"its input {name[:_SHOWN]!r} is not defined before it")
        inputs.append(values[name] if name else None)
    names = message.get("output", ())
    node = Node(message.get("op_type", ""), inputs, read_attributes(message), len(names))
    constant = all(value is None or value.constant for value in inputs)
    results = infer_results(node)
    for result in results:
        _measure(result)
    if node.operator == "Conv":
        _check_columns(node, results[0])
    named = []
    for name, result in zip(names, results, strict=False):
        known = result.numbers if count_elements(result.shape) <= MAX_KNOWN else None
        value = Value(result.dtype, result.shape, known, constant)
        named.append((name, value))
        if name:
            _define(values, name, value)
    return named


def _define(values: dict[str, Value], name: str, value: Value) -> None:
    if not name or name in values:
        raise GraphError(f"the name {name[:_SHOWN]!r} is not defined exactly once")
    values[name] = value


def _read_input(value: Message) -> Value:
    tensor = value.get("type", {}).get("tensor_type", {})
    dtype, shape = tensor.get("elem_type", 0), tensor.get("shape")
    if dtype not in SIZES or shape is None:
        raise GraphError("an input has no type or shape")
    result = Value(dtype, _read_sizes(shape))
    _measure(result)
    return result


def _read_sizes(shape: Message) -> tuple[int, ...]:
    sizes = []
    for axis, dimension in enumerate(shape.get("dim", ())):
        # Only the first dimension of an image can be dynamic, as the classifier checks later.
        size = dimension.get("dim_value", BATCH if axis == 0 else 1)
        if size < 0 or len(dimension.keys() & {"dim_value", "dim_param"}) > 1:
            raise GraphError("an input or output has a malformed shape")
        sizes.append(size)
    return tuple(sizes)


def _measure(value: Value) -> int:
    """Return the bytes of a value, for one image if the batch size is dynamic."""
    if len(value.shape) > MAX_RANK or min(value.shape, default=0) < 0:
        raise GraphError(f"a result with the shape {list(value.shape)}")
    count = count_elements(value.shape)
    sizes = [size if size % BATCH else size // BATCH for size in value.shape]
    if count % BATCH == 0:
        count //= BATCH
    # A product of two batch sizes, or their sum with a number, remains far above this limit.
    # CPUs compute in float32 with the values of float16.
    size = count * (4 if value.dtype == FLOAT16 else SIZES[value.dtype])
    if max(size, *sizes, 0) > MAX_TENSOR_BYTES:
        shown = [size if size % BATCH or not size else "batch" for size in value.shape]
        raise GraphError(
            f"a result with the shape {shown} needs more than {MAX_TENSOR_BYTES // _GIB} GiB"
        )
    return size


def _check_columns(node: Node, result: Value) -> None:
    """Check the copy of the input that an 8-bit convolution multiplies by its weights."""
    patch = count_elements(node.value(1).shape[1:])
    if patch * count_elements(result.shape[2:]) > MAX_TENSOR_BYTES:
        raise GraphError(f"its windows need more than {MAX_TENSOR_BYTES // _GIB} GiB")
