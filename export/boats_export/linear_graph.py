"""Logistic regression as standard operators."""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from boats_export.nodes import Nodes


def convert_logistic(scope: Any, operator: Any, container: Any) -> None:
    """Writes a multinomial `LogisticRegression`: the softmax of W x + b.

    Two classes have one row w, and the softmax of 0 and w x + b is 1 / (1 + exp(-(w x + b))).
    """
    model: LogisticRegression = operator.raw_operator
    nodes = Nodes(scope, container)
    label, probabilities = (variable.full_name for variable in operator.outputs)
    coefficients, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercept = np.append(0, intercept)
    logits = nodes.add(
        "Gemm",
        operator.inputs[0].full_name,
        nodes.constant("coefficients", coefficients),
        nodes.constant("intercept", intercept),
        transB=1,
    )
    nodes.add("Softmax", logits, axis=1, output=probabilities)
    nodes.add_label("ArgMax", logits, model.classes_, label)
