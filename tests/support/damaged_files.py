"""Image and model files, valid and damaged in the ways of disks, networks and attackers."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, features

from boats_runtime.model.digest import PLACEHOLDER, write_digest
from boats_runtime.model.file import check_content
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.preprocessing import Preprocessing
from support.encoded_images import encode_heic, encode_image, make_exif


def make_image_files(path: Path) -> list[bytes]:
    """Return an image in every format, with frames, EXIF, palettes and transparency."""
    with Image.open(path) as source:
        image = source.convert("RGB")
    exif = make_exif(6)
    frames = {"save_all": True, "append_images": [image.transpose(Image.Transpose.ROTATE_180)]}
    variants: list[tuple[Image.Image, str, dict[str, object]]] = [
        (image, "JPEG", {"exif": exif}),
        (image, "JPEG", {"progressive": True}),
        (image.convert("CMYK"), "JPEG", {}),
        (image.convert("P"), "PNG", {"transparency": 3}),
        (image.convert("RGBA"), "PNG", frames),
        (image, "WEBP", frames),
        (image.convert("P"), "BMP", {}),
        (image, "TIFF", {"compression": "tiff_lzw", **frames}),
        (image, "TIFF", {"compression": "jpeg"}),
        (image.convert("I;16"), "TIFF", {"compression": "tiff_adobe_deflate"}),
    ]
    if features.check("avif"):
        variants.append((image, "AVIF", {}))
    encoded = [
        encode_image(variant, file_format, **options) for variant, file_format, options in variants
    ]
    return [*encoded, encode_heic(image)]


def damage_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return a file with a few changed, added or missing bytes."""
    damaged = bytearray(content)
    # Headers determine how the rest is read: half of the damage is there.
    start = rng.randrange(len(damaged))
    if rng.random() < 0.5:
        start = rng.randrange(min(200, len(damaged)))
    length = rng.choice((1, 2, 4, 16, 200))
    part = slice(start, start + length)
    size = len(damaged[part])
    match rng.randrange(7):
        case 0:
            del damaged[start:]
        case 1:
            damaged[part] = bytes(size)
        case 2:
            damaged[part] = b"\xff" * size
        case 3:
            damaged[part] = rng.randbytes(length)
        case 4:
            damaged[start:start] = damaged[part] * rng.choice((1, 2, 50))
        case 5:
            del damaged[part]
        case _:
            for _ in range(rng.choice((1, 3, 30))):
                damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def make_model_file() -> bytes:
    """Return a model of three classes with the operators of a network, in a few kilobytes."""
    rng = np.random.default_rng(0)
    weights = {
        "kernel": rng.normal(0, 0.1, (4, 3, 3, 3)).astype(np.float32),
        "scale": np.array([0.02], np.float32),
        "zero": np.array([3], np.uint8),
        "matrix": rng.normal(0, 1, (4, 3)).astype(np.float32),
        "shape": np.array([0, -1], np.int64),
        "axes": np.array([2, 3], np.int64),
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("DequantizeLinear", ["planes", "scale", "zero"], ["pixels"]),
        helper.make_node("Conv", ["pixels", "kernel"], ["conv"], strides=[4, 4], pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["conv", "scale", "zero"], ["quantized"]),
        helper.make_node("DequantizeLinear", ["quantized", "scale", "zero"], ["dequantized"]),
        helper.make_node("MaxPool", ["dequantized"], ["pool"], kernel_shape=[2, 2]),
        helper.make_node("ReduceMean", ["pool", "axes"], ["mean"], keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["features"]),
        helper.make_node("Gemm", ["features", "matrix"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 64, 160, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    metadata = ModelMetadata(("a", "b", "c"), Preprocessing(64, 160))
    helper.set_model_props(model, metadata.to_properties())
    onnx.checker.check_model(model, full_check=True)
    return write_digest(model.SerializeToString())


def make_damaged_models(content: bytes, count: int) -> Iterator[bytes]:
    """Yield changed models with a valid digest and damaged models, alternately."""
    rng = random.Random(0)  # noqa: S311
    digest = check_content(content)["boats.digest"].strip('"')
    template = onnx.load_model_from_string(content.replace(digest.encode(), PLACEHOLDER.encode()))
    for number in range(count):
        if number % 2:
            damaged = damage_bytes(content, rng)
            yield damaged if damaged != content else content[1:]
        else:
            yield write_digest(_change_model(template, rng).SerializeToString())


def _change_model(model: onnx.ModelProto, rng: random.Random) -> onnx.ModelProto:
    """Return a model with another meaning that can still be parsed."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    node = rng.choice(graph.node)
    tensor = rng.choice(graph.initializer)
    size = rng.choice((0, 1, 2, 7, 1 << 20, 1 << 40, -1))
    changes: list[Callable[[], object]] = [
        lambda: setattr(node, "op_type", rng.choice(("Conv", "MatMul", "Loop", "TopK", "Evil"))),
        lambda: setattr(node, "domain", rng.choice(("com.microsoft", "evil", "ai.onnx.ml"))),
        lambda: node.input.append(rng.choice(graph.node).output[0]),
        lambda: node.ClearField("input"),
        lambda: node.ClearField("attribute"),
        lambda: [setattr(attribute, "i", size) for attribute in node.attribute],
        lambda: [attribute.ints.append(size) for attribute in node.attribute],
        lambda: tensor.dims.append(size),
        lambda: tensor.ClearField("dims"),
        lambda: setattr(tensor, "data_type", rng.randrange(25)),
        lambda: setattr(tensor, "raw_data", tensor.raw_data[: rng.randrange(9)]),
        lambda: setattr(tensor, "raw_data", rng.randbytes(len(tensor.raw_data))),
        lambda: tensor.external_data.add(key="location", value="/dev/zero"),
        lambda: graph.node.remove(node),
        lambda: graph.node.append(node),
        lambda: setattr(graph.output[0], "name", graph.node[0].output[0]),
        lambda: setattr(graph.input[0].type.tensor_type.shape.dim[1], "dim_value", size),
        lambda: changed.opset_import.add(domain="evil", version=size & 0xFF),
        lambda: setattr(changed.opset_import[0], "version", size & 0xFF),
        lambda: setattr(changed, "ir_version", size & 0xFF),
    ]
    rng.choice(changes)()
    return changed
