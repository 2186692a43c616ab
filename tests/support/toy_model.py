"""A model that averages the pixels, with options that break its interface."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from boats_runtime.model.digest import write_digest
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.preprocessing import Preprocessing

HEIGHT, WIDTH = 4, 6
LABELS = ("red", "green", "blue")


@dataclass(frozen=True)
class ToyModel:
    """Names, types and shapes of a model whose most probable class is the strongest channel.

    Attributes:
        outputs: Number of outputs; the third one is called `mean`.
        features: Value that the output `features` returns: mean, index or pixels; empty for none.
        keepdims: Whether the label output has a second dimension.
    """

    input: str = "image"
    input_type: int = TensorProto.UINT8
    input_shape: tuple[int | str, ...] = ("batch", HEIGHT, WIDTH, 3)
    probabilities: str = "probabilities"
    probabilities_type: int = TensorProto.FLOAT
    label: str = "label"
    label_type: int = TensorProto.INT64
    labels: tuple[str, ...] = LABELS
    outputs: int = 2
    features: str = ""
    features_type: int = TensorProto.FLOAT
    keepdims: bool = False
    metadata: bool = True
    threshold: float | None = None

    def save(self, path: Path) -> Path:
        """Write the model and return the path."""
        batch = self.input_shape[0]
        label_shape = [batch, 1] if self.keepdims else [batch]
        probabilities = (self.probabilities, self.probabilities_type, [batch, 3])
        nodes = [
            helper.make_node("Cast", [self.input], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
            helper.make_node("Softmax", ["mean"], ["softmax"], axis=1),
            # Of equal scores the last one, which a stable sort would put last.
            helper.make_node(
                "ArgMax", ["softmax"], ["index"], axis=1, keepdims=self.keepdims,
                select_last_index=1,
            ),
            helper.make_node(
                "Cast", ["softmax"], [self.probabilities], to=self.probabilities_type
            ),
            helper.make_node("Cast", ["index"], [self.label], to=self.label_type),
        ]  # fmt: skip
        outputs = [
            probabilities,
            (self.label, self.label_type, label_shape),
            ("mean", TensorProto.FLOAT, [batch, 3]),
        ][: self.outputs]
        if self.features:
            shapes = {"mean": [batch, 3], "index": label_shape, "pixels": self.input_shape}
            outputs.append(("features", self.features_type, shapes[self.features]))
            nodes.append(
                helper.make_node("Cast", [self.features], ["features"], to=self.features_type)
            )
        graph = helper.make_graph(
            nodes,
            "toy",
            [helper.make_tensor_value_info(self.input, self.input_type, self.input_shape)],
            [helper.make_tensor_value_info(*output) for output in outputs],
            [helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2])],
        )
        opset = helper.make_opsetid("", 18)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
        if self.metadata:
            metadata = ModelMetadata(
                self.labels, Preprocessing(HEIGHT, WIDTH), threshold=self.threshold
            )
            helper.set_model_props(model, metadata.to_properties())
        onnx.checker.check_model(model)
        content = model.SerializeToString()
        path.write_bytes(write_digest(content) if self.metadata else content)
        return path


def make_pixels(count: int) -> NDArray[np.uint8]:
    """Return `(count, HEIGHT, WIDTH, 3)` pixels, each image in a random color with noise."""
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 200, (count, 1, 1, 3))
    return (colors + rng.integers(0, 50, (count, HEIGHT, WIDTH, 3))).astype(np.uint8)
