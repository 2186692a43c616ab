"""Interface to skl2onnx: declare the steps of a classifier, add nodes and constants."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from onnx import numpy_helper
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType

from boats_export.opset import OPSET
from boats_runtime.model_session import OUTPUTS

PROBABILITIES, LABEL = OUTPUTS


class GraphBuilder:
    """Builder that adds standard operators to a graph of skl2onnx.

    Args:
        scope: skl2onnx scope, which makes names unique.
        container: skl2onnx container, which collects the nodes and initializers.
    """

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope = scope
        self._container = container

    def add_node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output.

        Args:
            operator: Operator of the domain `ai.onnx`.
            inputs: Names of the input tensors.
            output: Name of the output; a new name if empty.
            attributes: Attributes of the operator.
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

    def add_constant(self, name: str, values: ArrayLike, dtype: DTypeLike = np.float32) -> str:
        """Add an initializer and return its name, made unique."""
        name = str(self._scope.get_unique_variable_name(name))
        tensor = numpy_helper.from_array(np.ascontiguousarray(values, dtype=dtype))
        self._container.add_initializer(name, None, None, tensor)
        return name


def declare_step(scope: Any, step: Any, inputs: list[Any]) -> list[Any]:
    """Declare a step with one float output to skl2onnx, and return the output variable."""
    operator = scope.declare_local_operator(type(step).__name__, step)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("variable", FloatTensorType()))
    return list(operator.outputs)


def declare_classifier(
    scope: Any,
    model: Any,
    inputs: list[Any],
    custom_parsers: Any = None,  # noqa: ARG001
) -> list[Any]:
    """Declare a classifier to skl2onnx, without its default output of a list of dictionaries.

    Args:
        scope: skl2onnx scope.
        model: Fitted classifier.
        inputs: skl2onnx variables.
        custom_parsers: Argument that skl2onnx passes to every parser; not used.

    Returns:
        The variables `label` and `probabilities`.
    """
    operator = scope.declare_local_operator(type(model).__name__, model)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable(LABEL, Int64TensorType()))
    operator.outputs.append(scope.declare_local_variable(PROBABILITIES, FloatTensorType()))
    return list(operator.outputs)


def set_step_shape(operator: Any) -> None:
    """Set the output shape of a step that keeps the shape of its input."""
    operator.outputs[0].type.shape = operator.inputs[0].type.shape


def set_classifier_shapes(operator: Any) -> None:
    """Set the shapes of the outputs of `declare_classifier`, (N,) and (N, K)."""
    label, probabilities = operator.outputs
    label.type.shape = [None]
    probabilities.type.shape = [None, len(operator.raw_operator.classes_)]
