"""Thousands of damaged photos and models: none crashes, hangs, or takes the good ones with it."""

import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pillow_heif
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, features

from boats_runtime.classifier import Classifier
from boats_runtime.model.digest import PLACEHOLDER, write_digest
from boats_runtime.model.file import check_content
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.preprocessing import Preprocessing

PHOTOS = 2000
MODELS = 500
MEMORY_MB = 700
"""Largest peak of a process: three photos of `MAX_PIXELS` would be more."""

HANG_S = 300
"""After this a process counts as hanging: many times what it takes."""


def make_photos(photo: Path) -> list[bytes]:
    """Makes good photos of every format, with what may go wrong in them: frames, EXIF, alpha."""
    with Image.open(photo) as opened:
        image = opened.convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = {"save_all": True, "append_images": [image.transpose(Image.Transpose.ROTATE_180)]}
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (image, "JPEG", {"exif": exif}),
        (image, "JPEG", {"progressive": True}),
        (image.convert("CMYK"), "JPEG", {}),
        (image.convert("P"), "PNG", {"transparency": 3}),
        (image.convert("RGBA"), "PNG", frames),
        (image, "WEBP", frames),
        (image, "BMP", {}),
        (image, "TIFF", {"compression": "tiff_lzw", **frames}),
        (image.convert("I;16"), "TIFF", {"compression": "tiff_adobe_deflate"}),
    ]
    if features.check("avif"):
        kinds.append((image, "AVIF", {}))
    contents = []
    for one, file_format, options in kinds:
        stream = io.BytesIO()
        one.save(stream, file_format, **options)
        contents.append(stream.getvalue())
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream)
    return [*contents, stream.getvalue()]


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Damages a file in one of the ways that disks, networks and attackers have."""
    changed = bytearray(content)
    place = rng.randrange(len(changed))
    # Headers decide how the rest is read: half of the damage goes there.
    if rng.random() < 0.5:
        place = rng.randrange(min(200, len(changed)))
    length = rng.choice((1, 2, 4, 16, 200))
    match rng.randrange(7):
        case 0:
            del changed[place:]
        case 1:
            changed[place : place + length] = bytes(len(changed[place : place + length]))
        case 2:
            changed[place : place + length] = b"\xff" * len(changed[place : place + length])
        case 3:
            changed[place : place + length] = rng.randbytes(length)
        case 4:
            changed[place:place] = changed[place : place + length] * rng.choice((1, 2, 50))
        case 5:
            del changed[place : place + length]
        case _:
            for _ in range(rng.choice((1, 3, 30))):
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


LAUNCHER = """
import os, signal, subprocess, sys
process = subprocess.Popen(sys.argv[3:])
signal.signal(signal.SIGALRM, lambda *_: process.kill())
signal.alarm(int(sys.argv[2]))
_, status, usage = os.wait4(process.pid, 0)
with open(sys.argv[1], "w") as stream:
    print(os.waitstatus_to_exitcode(status), usage.ru_maxrss / 1000, file=stream)
"""


def measured(words: list[object], folder: Path) -> tuple[int, str, str, float]:
    """Runs a process; returns its exit code, what it printed, and its peak of memory in MB.

    Linux counts the peak of whoever starts a process as its own: here that is a small launcher.
    """
    command = [sys.executable, "-S", "-c", LAUNCHER, folder / "usage", HANG_S, *words]
    env = {key: value for key, value in os.environ.items() if not key.startswith("BOATS_")}
    result = subprocess.run(list(map(str, command)), capture_output=True, env=env, check=False)
    code, peak = (folder / "usage").read_text().split()
    out, err = (text.decode(errors="replace") for text in (result.stdout, result.stderr))
    return int(code), out, err, float(peak)


def test_predict__fuzzed_photos(tiny_model: Path, image_path: Path, tmp_path: Path) -> None:
    rng = random.Random(0)  # noqa: S311
    seeds = make_photos(image_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    good = {}
    for number in range(PHOTOS):
        content = mutate(seeds[number % len(seeds)], rng)
        (folder / f"{number:05}.jpg").write_bytes(content)
        if number % 100 == 0:
            path = folder / f"{number:05}-good.jpg"
            path.write_bytes(seeds[number // 100 % len(seeds)])
            good[str(path)] = path
    program = Path(sys.executable).parent / "boats-predict"
    options = ["--model", tiny_model, "--provider", "cpu", "--jsonl"]
    code, out, err, peak = measured([program, folder, *options], tmp_path)
    results = [json.loads(line) for line in out.splitlines()]
    assert code == 1, err
    assert "Traceback" not in err
    broken = [one for one in results if one["status"] == "error"]
    # libtiff writes of its own accord.
    own = [line for line in err.splitlines() if line.startswith("boats-predict")]
    assert own == [f"boats-predict: {len(broken)} of {len(results)} photos could not be read"]
    assert [one["path"] for one in results] == sorted(str(path) for path in folder.iterdir())
    assert PHOTOS // 4 < len(broken) < PHOTOS  # or the mutations would test nothing
    assert all(one["error"] and "\n" not in one["error"] for one in broken)
    classifier = Classifier(tiny_model, "cpu")
    labels = {one["path"]: one.get("label") for one in results}
    assert {name: labels[name] for name in good} == {
        name: classifier.predict(path).label for name, path in good.items()
    }
    assert peak < MEMORY_MB


TRY_MODELS = """
import sys
from pathlib import Path
import numpy as np
from boats_runtime.classifier import Classifier
from boats_runtime.errors import BoatsError
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        with Classifier(path, "cpu") as classifier:
            pixels = np.zeros((64, 160, 3), np.uint8)
            outcome = "answers " + classifier.predict(pixels).label
    except BoatsError as error:
        outcome = f"{type(error).__name__} {error}"
    print(path.name, outcome.replace("\\n", "<newline>"), flush=True)
"""


def mutate_model(model: onnx.ModelProto, rng: random.Random) -> onnx.ModelProto:
    """Changes what a model means and leaves a file that can be parsed, as an attacker would."""
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
        lambda: [setattr(one, "i", size) for one in node.attribute],
        lambda: [one.ints.append(size) for one in node.attribute],
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


def make_small_model() -> bytes:
    """Makes a model of three classes that does what a network does, in a few kilobytes."""
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
        helper.make_node("QuantizeLinear", ["conv", "scale", "zero"], ["small"]),
        helper.make_node("DequantizeLinear", ["small", "scale", "zero"], ["large"]),
        helper.make_node("MaxPool", ["large"], ["pool"], kernel_shape=[2, 2]),
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


def make_models(content: bytes) -> Iterator[bytes]:
    """Yields damaged models: every other one sealed again, as no accident would have it."""
    rng = random.Random(0)  # noqa: S311
    digest = check_content(content)["boats.digest"].strip('"')
    blank = onnx.load_model_from_string(content.replace(digest.encode(), PLACEHOLDER.encode()))
    for number in range(MODELS):
        if number % 2:
            damaged = mutate(content, rng)
            yield damaged if damaged != content else content[1:]
        else:
            yield write_digest(mutate_model(blank, rng).SerializeToString())


def test_classifier__fuzzed_models(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for number, content in enumerate(make_models(make_small_model())):
        (folder / f"{number:03}.onnx").write_bytes(content)
    code, out, err, peak = measured([sys.executable, "-c", TRY_MODELS, folder], tmp_path)
    outcomes = [line.split(" ", 2) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert len(outcomes) == MODELS
    kinds = [kind for _, kind, _ in outcomes]
    assert set(kinds) <= {"ModelError", "answers"}
    assert kinds.count("ModelError") > MODELS // 2
    assert not any("<newline>" in text for _, _, text in outcomes)
    # Everything that was only damaged, and not sealed again, is noticed.
    assert kinds[1::2] == ["ModelError"] * (MODELS // 2)
    assert peak < MEMORY_MB


def test_measured__notices_memory(tmp_path: Path) -> None:
    allocate = f"x = bytearray({MEMORY_MB + 100} * 10**6)"
    *_, peak = measured([sys.executable, "-c", allocate], tmp_path)
    assert peak > MEMORY_MB
