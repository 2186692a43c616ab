"""`boats-predict --timeout` runs a model that is not trusted in a process with limits."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import helper

from boats_runtime.cli.limits import MEMORY_BYTES
from boats_runtime.model.digest import PLACEHOLDER, write_digest
from boats_runtime.model.file import check_content
from support.models import save_color_model
from support.process import CommandResult, run_module

Predict = Callable[..., CommandResult]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs the limits of POSIX")


@pytest.fixture
def endless_model(tmp_path: Path) -> Path:
    """A model that passes every check, and multiplies large matrices for a minute."""
    path = save_color_model(tmp_path / "endless.onnx")
    content = path.read_bytes()
    digest = check_content(content)["boats.digest"].strip('"')
    model = onnx.load_model_from_string(content.replace(digest.encode(), PLACEHOLDER.encode()))
    graph = model.graph
    graph.initializer.append(helper.make_tensor("side", onnx.TensorProto.INT64, [2], [4096, 4096]))
    nodes = [helper.make_node("ConstantOfShape", ["side"], ["m0"])]
    nodes += [
        helper.make_node("MatMul", [f"m{index}", f"m{index}"], [f"m{index + 1}"])
        for index in range(60)
    ]
    nodes += [
        helper.make_node("ReduceSum", ["m60"], ["total"], keepdims=0),
        helper.make_node("Add", ["scores", "total"], ["shifted"]),
    ]
    softmax = next(index for index, node in enumerate(graph.node) if node.op_type == "Softmax")
    graph.node[softmax].input[0] = "shifted"
    rest = [*graph.node[:softmax], *nodes, *graph.node[softmax:]]
    del graph.node[:]
    graph.node.extend(rest)
    path.write_bytes(write_digest(model.SerializeToString()))
    return path


def test_predict__timeout_gives_the_same_result(predict: Predict, image_path: Path) -> None:
    limited, unlimited = (
        predict(image_path, "--jsonl", *options) for options in (("--timeout", 100), ())
    )
    assert (limited.returncode, limited.stderr) == (0, "")
    first, second = (json.loads(result.stdout) for result in (limited, unlimited))
    assert first["top"] == second["top"]


def test_predict__timeout_keeps_the_exit_code(predict: Predict, broken_path: Path) -> None:
    assert predict(broken_path, "--timeout", 100).returncode == 1


def test_predict__timeout_stops_an_endless_model(
    predict: Predict, image_path: Path, endless_model: Path
) -> None:
    result = predict(image_path, "--timeout", 3, model=endless_model)
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == "boats-predict: stopped after 3 seconds (--timeout)\n"


def test_predict__timeout_excludes_watch(predict: Predict, tmp_path: Path) -> None:
    result = predict("--watch", tmp_path, "--timeout", 5)
    assert result.returncode == 2
    assert "--timeout and --watch exclude each other" in result.stderr


@pytest.mark.parametrize(
    ("provider", "memory"), [("cpu", MEMORY_BYTES), ("auto", MEMORY_BYTES), ("cuda", -1)]
)
def test_continue_in_child__limits(provider: str, memory: int) -> None:
    result = run_module("support.print_limits", provider, check=True)
    name, cpu_seconds, bytes_of_memory = result.stdout.split()
    assert name == ("cpu" if provider == "auto" else provider)
    assert int(cpu_seconds) > 0
    assert int(bytes_of_memory) == memory


def test_continue_in_child__crash_is_reported() -> None:
    result = run_module("support.print_limits", "cpu", str(int(signal.SIGSEGV)))
    assert result.stdout == "ModelError: the process that ran the model was ended by SIGSEGV\n"
