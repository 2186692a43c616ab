"""Accepted operators, and the shapes of their results.

The list has the operators that `boats-export` writes for the networks of torchvision and its
classifiers, and a few similar ones. None repeats a part of the graph or has a result whose size
depends on the content of an image. https://onnx.ai/onnx/operators/ describes them.
"""

from collections.abc import Callable, Sequence

from boats_runtime.model.graph import (
    BATCH,
    BOOL,
    FLOAT,
    INT64,
    SIZES,
    UINT8,
    GraphError,
    Node,
    Value,
    count_elements,
    resolve_axis,
)

_END = (1 << 31) - 1
"""Smallest end of a slice that stands for the end of the dimension."""

Rule = Callable[[Node], list[Value]]


def infer_results(node: Node) -> list[Value]:
    """Return the results of a node, without knowing whether they are constant.

    Raises:
        GraphError: If the operator is not accepted, its inputs do not fit, or the shape of a result
            cannot be known.
    """
    rule = RULES.get(node.operator)
    if rule is None:
        raise GraphError(
            f"operators of type {node.operator[:80]!r}, which boats-export never writes"
        )
    results = rule(node)
    if node.outputs > len(results):
        raise GraphError(f"{node.outputs} outputs")
    return results


def _same(node: Node) -> list[Value]:
    value = node.value()
    return [Value(value.dtype, value.shape)]


def _keep_numbers(node: Node) -> list[Value]:
    value = node.value()
    return [Value(value.dtype, value.shape, value.numbers)]


def _normalize(node: Node) -> list[Value]:
    """Layer normalization; its further outputs are smaller than the first one."""
    return _same(node) * 3


def _broadcast(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    result = []
    for sizes in zip(*padded, strict=True):
        different = {size for size in sizes if size != 1}
        if len(different) > 1:
            raise GraphError("the shapes of its inputs do not fit")
        result.append(different.pop() if different else 1)
    return tuple(result)


def _elementwise(node: Node) -> list[Value]:
    values = [node.value(index) for index in range(len(node.inputs))]
    return [Value(node.value().dtype, _broadcast([value.shape for value in values]))]


def _multiply(node: Node) -> list[Value]:
    (result,) = _elementwise(node)
    first, second = node.value().numbers, node.value(1).numbers
    if not first or not second or len(result.shape) > 1:
        return [result]
    count = count_elements(result.shape)
    pairs = zip(first * (count // len(first)), second * (count // len(second)), strict=True)
    numbers = tuple(left * right for left, right in pairs)
    # Larger products could overflow, and a product of two batch sizes is not used.
    known = all(0 <= (number if number % BATCH else number // BATCH) < _END for number in numbers)
    return [Value(result.dtype, result.shape, numbers if known else None)]


def _compare(node: Node) -> list[Value]:
    return [Value(BOOL, _elementwise(node)[0].shape)]


def _where(node: Node) -> list[Value]:
    return [Value(node.value(1).dtype, _elementwise(node)[0].shape)]


def _cast(node: Node) -> list[Value]:
    value, dtype = node.value(), node.integer("to", 0)
    if dtype not in SIZES:
        raise GraphError(f"a cast to type {dtype}")
    return [Value(dtype, value.shape, value.numbers if dtype == INT64 else None)]


def _quantize(node: Node) -> list[Value]:
    zero_point = node.optional(2)
    return [Value(zero_point.dtype if zero_point else UINT8, node.value().shape)]


def _dequantize(node: Node) -> list[Value]:
    return [Value(node.value(1).dtype, node.value().shape)]


def _reduce(node: Node) -> list[Value]:
    value = node.value()
    axes = node.integers("axes") if node.optional(1) is None else list(node.numbers(1))
    if not axes and node.integer("noop_with_empty_axes", 0):
        return _same(node)
    rank = len(value.shape)
    reduced = {resolve_axis(axis, rank) for axis in axes} if axes else set(range(rank))
    return [Value(value.dtype, _reduce_shape(node, reduced))]


def _find_extreme(node: Node) -> list[Value]:
    return [Value(INT64, _reduce_shape(node, {node.axis(0, len(node.value().shape))}))]


def _reduce_shape(node: Node, reduced: set[int]) -> tuple[int, ...]:
    keep = node.integer("keepdims", 1)
    shape = enumerate(node.value().shape)
    return tuple(
        1 if axis in reduced else size for axis, size in shape if keep or axis not in reduced
    )


def _slide(node: Node, spatial: tuple[int, ...], kernel: Sequence[int]) -> tuple[int, ...]:
    """Return the number of positions of a window in each spatial dimension."""
    rank = len(spatial)
    strides = node.integers("strides") or [1] * rank
    dilations = node.integers("dilations") or [1] * rank
    pads = node.integers("pads") or [0] * 2 * rank
    if not len(kernel) == len(strides) == len(dilations) == len(pads) / 2 == rank:
        raise GraphError("its window does not fit its input")
    if min(*kernel, *strides, *dilations) < 1 or min(pads) < 0:
        raise GraphError("its window has a size below 1")
    auto_pad = node.attributes.get("auto_pad", b"NOTSET")
    ceil = node.integer("ceil_mode", 0)
    result = []
    for axis, size in enumerate(spatial):
        stride, before = strides[axis], pads[axis]
        if auto_pad in (b"SAME_UPPER", b"SAME_LOWER"):
            result.append(-(-size // stride))
            continue
        padding = 0 if auto_pad == b"VALID" else before + pads[axis + rank]
        room = size + padding - dilations[axis] * (kernel[axis] - 1) - 1
        if room < 0:
            raise GraphError("its window is larger than its input")
        count = (-(-room // stride) if ceil else room // stride) + 1
        # A window that begins in the padding after the input is left out.
        if ceil and (count - 1) * stride >= size + before:
            count -= 1
        result.append(count)
    return tuple(result)


def _convolve(node: Node) -> list[Value]:
    value, weights = node.value(), node.value(1)
    group = node.integer("group", 1)
    if not len(value.shape) == len(weights.shape) > 2 or group < 1:
        raise GraphError("the shapes of its inputs do not fit")
    if value.shape[1] != weights.shape[1] * group or weights.shape[0] % group:
        raise GraphError("the shapes of its inputs do not fit")
    spatial = _slide(node, value.shape[2:], weights.shape[2:])
    return [Value(value.dtype, (value.shape[0], weights.shape[0], *spatial))]


def _pool(node: Node) -> list[Value]:
    value = node.value()
    if len(value.shape) < 3:
        raise GraphError("its input has no spatial dimensions")
    spatial = _slide(node, value.shape[2:], node.integers("kernel_shape") or ())
    shape = (*value.shape[:2], *spatial)
    results = [Value(value.dtype, shape)]
    return [*results, Value(INT64, shape)] if node.operator == "MaxPool" else results


def _pool_all(node: Node) -> list[Value]:
    value = node.value()
    return [
        Value(value.dtype, tuple(size if axis < 2 else 1 for axis, size in enumerate(value.shape)))
    ]


def _multiply_matrices(node: Node) -> list[Value]:
    first, second = node.value(), node.value(1)
    left = first.shape if len(first.shape) > 1 else (1, *first.shape)
    right = second.shape if len(second.shape) > 1 else (*second.shape, 1)
    if len(left) < 2 or len(right) < 2 or left[-1] != right[-2]:
        raise GraphError("the shapes of its inputs do not fit")
    shape = list(_broadcast([left[:-2], right[:-2]]))
    shape += [left[-2]] * (len(first.shape) > 1) + [right[-1]] * (len(second.shape) > 1)
    return [Value(first.dtype, tuple(shape))]


def _multiply_add(node: Node) -> list[Value]:
    first, second = node.value().shape, node.value(1).shape
    if len(first) != 2 or len(second) != 2:
        raise GraphError("its inputs are not matrices")
    first = first[::-1] if node.integer("transA", 0) else first
    second = second[::-1] if node.integer("transB", 0) else second
    if first[1] != second[0]:
        raise GraphError("the shapes of its inputs do not fit")
    return [Value(node.value().dtype, (first[0], second[1]))]


def _sum_products(node: Node) -> list[Value]:
    """Einsum of two tensors whose axes have a letter each, none of them twice in a term."""
    equation = node.attributes.get("equation", b"")
    terms, _, output = str(equation, "ascii", "replace").replace(" ", "").partition("->")
    inputs = terms.split(",")
    sizes: dict[str, int] = {}
    for index, term in enumerate(inputs):
        shape = node.value(index).shape
        if not term.isalpha() or len(set(term)) != len(term) or len(term) != len(shape):
            raise GraphError(f"the equation {equation!r}")
        for letter, size in zip(term, shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise GraphError("the shapes of its inputs do not fit")
    if len(inputs) != 2 or not set(output) <= set(sizes) or len(set(output)) != len(output):
        raise GraphError(f"the equation {equation!r}")
    return [Value(node.value().dtype, tuple(sizes[letter] for letter in output))]


def _concatenate(node: Node) -> list[Value]:
    values = [node.value(index) for index in range(len(node.inputs))]
    shape = list(node.value().shape)
    axis = node.axis(0, len(shape))
    for value in values:
        other = value.shape
        if (*other[:axis], *other[axis + 1 :]) != (*shape[:axis], *shape[axis + 1 :]):
            raise GraphError("the shapes of its inputs do not fit")
    shape[axis] = sum(value.shape[axis] for value in values)
    numbers: tuple[int, ...] | None = ()
    for value in values:
        known = numbers is not None and value.numbers is not None and len(shape) == 1
        numbers = (*numbers, *value.numbers) if known else None  # type: ignore[misc]
    return [Value(node.value().dtype, tuple(shape), numbers)]


def _split(node: Node) -> list[Value]:
    value = node.value()
    axis = node.axis(0, len(value.shape))
    size = value.shape[axis]
    if node.optional(1) is not None:
        parts = list(node.numbers(1))
    else:
        count = node.integer("num_outputs", node.outputs)
        if count != node.outputs or count < 1 or size >= BATCH:
            raise GraphError("its parts cannot be known")
        part = -(-size // count)
        parts = [max(0, min(part, size - part * index)) for index in range(count)]
    if sum(parts) != size or min(parts, default=0) < 0:
        raise GraphError("its parts do not add up to its input")
    return [
        Value(value.dtype, (*value.shape[:axis], part, *value.shape[axis + 1 :])) for part in parts
    ]


def _slice(node: Node) -> list[Value]:
    value, starts, ends = node.value(), node.numbers(1), node.numbers(2)
    shape, rank = list(value.shape), len(value.shape)
    axes = range(len(starts)) if node.optional(3) is None else node.numbers(3)
    steps = (1,) * len(starts) if node.optional(4) is None else node.numbers(4)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise GraphError("its ranges are malformed")
    numbers = value.numbers
    for start, end, given, step in zip(starts, ends, axes, steps, strict=True):
        axis = resolve_axis(given, rank)
        if shape[axis] < BATCH:
            positions = range(*slice(start, end, step).indices(shape[axis]))
            shape[axis] = len(positions)
            if numbers is not None:
                numbers = tuple(numbers[position] for position in positions) if rank == 1 else None
        elif not (start == 0 and end >= _END and step == 1):
            raise GraphError("it takes some of the images of a batch")
    return [Value(value.dtype, tuple(shape), numbers)]


def _gather(node: Node) -> list[Value]:
    value, indices = node.value(), node.value(1)
    axis = node.axis(0, len(value.shape))
    shape = (*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :])
    numbers = None
    if value.numbers is not None and indices.numbers is not None and len(value.shape) == 1:
        count = len(value.numbers)
        numbers = tuple(value.numbers[resolve_axis(i, count)] for i in indices.numbers)
    return [Value(value.dtype, shape, numbers)]


def _gather_slices(node: Node) -> list[Value]:
    value, indices = node.value(), node.value(1)
    depth = indices.shape[-1] if indices.shape else len(value.shape) + 1
    used = node.integer("batch_dims", 0) + depth
    if not 0 < used <= len(value.shape):
        raise GraphError("the shapes of its inputs do not fit")
    return [Value(value.dtype, (*indices.shape[:-1], *value.shape[used:]))]


def _squeeze(node: Node) -> list[Value]:
    value, rank = node.value(), len(node.value().shape)
    if node.optional(1) is not None:
        axes = {resolve_axis(axis, rank) for axis in node.numbers(1)}
    elif all(size < BATCH for size in value.shape):
        axes = {axis for axis, size in enumerate(value.shape) if size == 1}
    else:
        raise GraphError("it can remove the dimension of the batch")
    if any(value.shape[axis] != 1 for axis in axes):
        raise GraphError("it removes a dimension that is not 1")
    shape = tuple(size for axis, size in enumerate(value.shape) if axis not in axes)
    return [Value(value.dtype, shape, value.numbers)]


def _unsqueeze(node: Node) -> list[Value]:
    value, axes = node.value(), node.numbers(1)
    rank = len(value.shape) + len(axes)
    added = {resolve_axis(axis, rank) for axis in axes}
    if len(added) != len(axes):
        raise GraphError("an axis is repeated")
    sizes = iter(value.shape)
    shape = tuple(1 if axis in added else next(sizes) for axis in range(rank))
    return [Value(value.dtype, shape, value.numbers)]


def _reshape(node: Node) -> list[Value]:
    value, shape = node.value(), list(node.numbers(1))
    if not node.integer("allowzero", 0):
        for axis, size in enumerate(shape):
            if size == 0 and axis < len(value.shape):
                shape[axis] = value.shape[axis]
    total = count_elements(value.shape)
    known = count_elements(tuple(size for size in shape if size != -1))
    if -1 in shape and known > 0 and total % known == 0:
        shape[shape.index(-1)] = total // known
    if min(shape, default=0) < 0 or count_elements(tuple(shape)) != total:
        raise GraphError("its shape does not fit its input")
    return [Value(value.dtype, tuple(shape), value.numbers)]


def _flatten(node: Node) -> list[Value]:
    value = node.value()
    axis = node.integer("axis", 1)
    axis = axis if axis == len(value.shape) else resolve_axis(axis, len(value.shape))
    sizes = count_elements(value.shape[:axis]), count_elements(value.shape[axis:])
    return [Value(value.dtype, sizes)]


def _transpose(node: Node) -> list[Value]:
    value = node.value()
    order = node.integers("perm") or list(range(len(value.shape)))[::-1]
    if sorted(order) != list(range(len(value.shape))):
        raise GraphError("its order of the dimensions is malformed")
    return [Value(value.dtype, tuple(value.shape[axis] for axis in order))]


def _expand(node: Node) -> list[Value]:
    value, shape = node.value(), node.numbers(1)
    if min(shape, default=0) < 0:
        raise GraphError("its shape is negative")
    return [Value(value.dtype, _broadcast([value.shape, shape]))]


def _tile(node: Node) -> list[Value]:
    value, repeats = node.value(), node.numbers(1)
    if len(repeats) != len(value.shape) or min(repeats, default=0) < 0:
        raise GraphError("its repetitions do not fit its input")
    sizes = zip(value.shape, repeats, strict=True)
    return [Value(value.dtype, tuple(size * repeat for size, repeat in sizes))]


def _pad(node: Node) -> list[Value]:
    value, pads = node.value(), node.numbers(1)
    shape, rank = list(value.shape), len(value.shape)
    axes = range(rank) if node.optional(3) is None else node.numbers(3)
    if len(pads) != 2 * len(axes):
        raise GraphError("its padding does not fit its input")
    for index, axis in enumerate(axes):
        shape[resolve_axis(axis, rank)] += pads[index] + pads[index + len(axes)]
    return [Value(value.dtype, tuple(shape))]


def _shape(node: Node) -> list[Value]:
    shape = node.value().shape
    numbers = shape[node.integer("start", 0) : node.integer("end", len(shape))]
    return [Value(INT64, (len(numbers),), numbers)]


def _fill(node: Node) -> list[Value]:
    shape, value = node.numbers(0), node.attributes.get("value")
    if min(shape, default=0) < 0:
        raise GraphError("its shape is negative")
    if value is not None and not (isinstance(value, Value) and count_elements(value.shape) == 1):
        raise GraphError("its value is not one number")
    return [Value(value.dtype if value else FLOAT, shape)]


def _constant(node: Node) -> list[Value]:
    if len(node.attributes) == 1:
        ((name, value),) = node.attributes.items()
        if name == "value" and isinstance(value, Value):
            return [value]
        if name == "value_int" and isinstance(value, int):
            return [Value(INT64, (), (value,))]
        if name == "value_ints" and (numbers := node.integers(name)) is not None:
            return [Value(INT64, (len(numbers),), tuple(numbers))]
        if name == "value_float":
            return [Value(FLOAT, ())]
    raise GraphError("its value is not one tensor of numbers")


_GROUPS: dict[Rule, str] = {
    _same: "Abs BatchNormalization Ceil Clip Elu Erf Exp Floor Gelu HardSigmoid HardSwish "
    "LeakyRelu Log LogSoftmax Neg Not Reciprocal Relu Round ScatterND Sigmoid Softmax Softplus "
    "Softsign Sqrt Tanh",
    _keep_numbers: "Identity",
    _normalize: "LayerNormalization",
    _elementwise: "Add And Div Max Min Or PRelu Pow Sub Sum",
    _multiply: "Mul",
    _compare: "Equal Greater GreaterOrEqual Less LessOrEqual",
    _where: "Where",
    _cast: "Cast",
    _quantize: "QuantizeLinear",
    _dequantize: "DequantizeLinear",
    _reduce: "ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare",
    _find_extreme: "ArgMax ArgMin",
    _convolve: "Conv",
    _pool: "AveragePool MaxPool",
    _pool_all: "GlobalAveragePool GlobalMaxPool",
    _multiply_matrices: "MatMul",
    _multiply_add: "Gemm",
    _sum_products: "Einsum",
    _concatenate: "Concat",
    _split: "Split",
    _slice: "Slice",
    _gather: "Gather",
    _gather_slices: "GatherND",
    _squeeze: "Squeeze",
    _unsqueeze: "Unsqueeze",
    _reshape: "Reshape",
    _flatten: "Flatten",
    _transpose: "Transpose",
    _expand: "Expand",
    _tile: "Tile",
    _pad: "Pad",
    _shape: "Shape",
    _fill: "ConstantOfShape",
    _constant: "Constant",
}

RULES: dict[str, Rule] = {name: rule for rule, names in _GROUPS.items() for name in names.split()}
"""Rules for the shapes of the results by accepted operator."""
