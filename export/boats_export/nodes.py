"""What the converters of the classifier share: declaring it, adding nodes, naming the label."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from onnx import numpy_helper
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType

from boats_export.opset import OPSET
from boats_runtime.classifier import OUTPUTS

PROBABILITIES, LABEL = OUTPUTS


class Nodes:
    """Adds standard operators to the graph that skl2onnx builds.

    Args:
        scope: skl2onnx's, which makes names unique.
        container: skl2onnx's, which collects the graph.
    """

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope = scope
        self._container = container

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Adds a node.

        Args:
            operator: Its type, of the domain `ai.onnx`.
            inputs: Names of tensors.
            output: The name of what it makes; a fresh one if empty.
            attributes: As the operator defines them.

        Returns:
            The name of what it makes.
        """
        name = output or str(self._scope.get_unique_variable_name(operator.lower()))
        self._container.add_node(
            operator,
            list(inputs),
            [name],
            op_version=OPSET,
            name=self._scope.get_unique_operator_name(operator),
            **attributes,
        )
        return name

    def constant(self, name: str, values: ArrayLike, dtype: DTypeLike = np.float32) -> str:
        """Adds an initializer and returns its name, made unique."""
        name = str(self._scope.get_unique_variable_name(name))
        tensor = numpy_helper.from_array(np.ascontiguousarray(values, dtype=dtype))
        self._container.add_initializer(name, None, None, tensor)
        return name

    def add_label(self, pick: str, scores: str, classes: NDArray[np.int64], output: str) -> None:
        """Names one class of each row, the first of equal ones.

        Args:
            pick: `ArgMax` for the class of the highest score, `ArgMin` for the lowest.
            scores: `(N, K) float32`.
            classes: The labels of the columns, `(K,)`.
            output: Gets the labels, `(N,) int64`.
        """
        if np.array_equal(classes, np.arange(len(classes))):
            self.add(pick, scores, axis=1, keepdims=0, output=output)
            return
        index = self.add(pick, scores, axis=1, keepdims=0)
        self.add("Gather", self.constant("classes", classes, np.int64), index, output=output)


def declare_step(scope: Any, step: Any, inputs: list[Any]) -> list[Any]:
    """Declares to skl2onnx what makes one float tensor, and returns its variable."""
    operator = scope.declare_local_operator(type(step).__name__, step)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("variable", FloatTensorType()))
    return list(operator.outputs)


def declare_classifier(
    scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None
) -> list[Any]:
    """Declares a classifier to skl2onnx, without the list of dictionaries it makes by default.

    Args:
        scope: skl2onnx's.
        model: Fitted.
        inputs: Variables of skl2onnx.
        custom_parsers: What skl2onnx hands to every parser.

    Returns:
        The variables `label` and `probabilities`.
    """
    del custom_parsers
    operator = scope.declare_local_operator(type(model).__name__, model)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable(LABEL, Int64TensorType()))
    operator.outputs.append(scope.declare_local_variable(PROBABILITIES, FloatTensorType()))
    return list(operator.outputs)


def set_step_shape(operator: Any) -> None:
    """Tells skl2onnx that a step keeps the shape of its input."""
    operator.outputs[0].type.shape = operator.inputs[0].type.shape


def set_classifier_shapes(operator: Any) -> None:
    """Tells skl2onnx the shapes of what `declare_classifier` declared: `(N,)` and `(N, K)`."""
    label, probabilities = operator.outputs
    label.type.shape = [None]
    probabilities.type.shape = [None, len(operator.raw_operator.classes_)]
