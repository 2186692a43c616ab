"""A support vector machine as tensor algebra: kernel, pairwise decisions, one-vs-rest scores.

Standard operators only, so that CUDA runs all of it. skl2onnx's own conversion goes through
`ai.onnx.ml.SVMClassifier`, which has no CUDA kernel, and visits pairs of classes one by one.
"""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from sklearn.svm import SVC

from boats_export.nodes import Nodes, declare_classifier, set_classifier_shapes

KERNELS = ("linear", "poly", "rbf", "sigmoid")


def parse_svc(scope: Any, svc: SVC, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    """Declares an SVC that is itself the classifier: its label, and scores for probabilities.

    Raises:
        ValueError: Its label is not the class of the highest score.
    """
    if len(svc.classes_) > 2 and not svc.break_ties:
        raise ValueError("SVC without break_ties: its label is a vote, not the highest score")
    return declare_classifier(scope, svc, inputs, custom_parsers)


def set_svc_shapes(operator: Any) -> None:
    """Tells skl2onnx the shapes of an SVC's outputs: see `convert_svc`."""
    classes = len(operator.raw_operator.classes_)
    if len(operator.outputs) == 2:
        set_classifier_shapes(operator)
    else:
        operator.outputs[0].type.shape = [None, classes if classes > 2 else 1]


def convert_svc(scope: Any, operator: Any, container: Any, half: bool = False) -> None:
    """Writes an SVC as a graph, its support vectors in float16 if `half`.

    With one output, that is `decision_function`: `(N, K)`, but `(N, 1)` for two classes. With two
    outputs they are the label and the scores of all classes: for two classes, -d and d.

    Raises:
        ValueError: There is no graph for its kernel or its decision function.
    """
    svc = operator.raw_operator
    if svc.kernel not in KERNELS:
        raise ValueError(f"SVC with kernel {svc.kernel!r}: only {', '.join(KERNELS)} have a graph")
    if svc.decision_function_shape != "ovr":
        raise ValueError(f"SVC with decision function {svc.decision_function_shape!r}: needs 'ovr'")
    nodes = Nodes(scope, container)
    features = operator.inputs[0].full_name
    *label, scores = (variable.full_name for variable in operator.outputs)
    if len(svc.classes_) > 2:
        decisions = add_decisions(nodes, svc, features, half)
        add_scores(nodes, decisions, len(svc.classes_), scores)
        if label:
            nodes.add_label("ArgMax", scores, svc.classes_, label[0])
    elif label:
        decisions = add_decisions(nodes, svc, features, half)
        nodes.add("MatMul", decisions, nodes.constant("signs", [[-1, 1]]), output=scores)
        add_binary_label(nodes, decisions, svc.classes_, label[0])
    else:
        add_decisions(nodes, svc, features, half, output=scores)


def add_decisions(nodes: Nodes, svc: SVC, features: str, half: bool, output: str = "") -> str:
    """Adds the decision of each pair of classes: a weighted sum of kernels, and an intercept.

    Args:
        nodes: Of the graph.
        svc: Fitted, with K classes and V support vectors.
        features: `(N, D) float32`.
        half: Whether the support vectors are stored in float16.
        output: The name of the result, or empty.

    Returns:
        `(N, K(K-1)/2) float32`, in the order (0, 1), (0, 2), ..., (1, 2), ...; above zero it is for
        the first class of the pair, but if there are only two classes for the second, as
        scikit-learn has it.
    """
    order = interleave(svc.n_support_)
    vectors = np.asarray(svc.support_vectors_, dtype=np.float64)[order]
    weights = pair_weights(svc)[order]
    # An offset that all vectors share would drown their differences in float32: both sides are
    # taken from the middle of the support vectors.
    centre = vectors.mean(axis=0).astype(np.float32)
    left = nodes.add("Sub", features, nodes.constant("centre", centre))
    bias = np.asarray(svc.intercept_, dtype=np.float64)
    if svc.kernel == "linear":
        # Then the support vectors sum to one plane a pair, whatever the photo.
        weights = vectors.T @ weights
        bias = bias + centre @ weights
    elif svc.kernel == "rbf":
        left = add_rbf(nodes, svc, vectors, left, centre, half)
    else:
        left = add_dot_kernel(nodes, svc, vectors, left, centre, half)
    right = nodes.constant("weights", weights)
    return nodes.add("Gemm", left, right, nodes.constant("intercept", bias), output=output)


def add_rbf(
    nodes: Nodes,
    svc: SVC,
    vectors: NDArray[np.float64],
    centred: str,
    centre: NDArray[np.float32],
    half: bool,
) -> str:
    """Adds the kernel exp(-gamma |x - s|^2), the square multiplied out.

    With x and s taken from the centre, float32 leaves an error of about 1e-7 gamma |s|^2 in the
    exponent. It shows only where x is near s, since a distant vector has no kernel left to be
    wrong. gamma |s|^2 is about 1 with `gamma="scale"`.

    Args:
        nodes: Of the graph.
        svc: Fitted.
        vectors: Its support vectors, `(V, D)`.
        centred: Features less the centre, `(N, D) float32`.
        centre: `(D,)`.
        half: Whether the vectors are stored in float16.

    Returns:
        `(N, V) float32`, 0 to 1.
    """
    # The squares are of the rounded vectors and all three terms have the rounded gamma: so the sum
    # is the distance to a vector that is moved a little, which is never far below zero.
    gamma = float(np.float32(svc._gamma))
    name, rounded = add_vectors(nodes, vectors, centre, half)
    squares = np.sum(rounded.astype(np.float64) ** 2, axis=1)
    own = nodes.add("ReduceSumSquare", centred, nodes.constant("axes", [1], np.int64), keepdims=1)
    mixed = nodes.add(
        "Gemm",
        centred,
        name,
        own,
        alpha=2 * gamma,
        beta=-gamma,
        transB=1,
    )
    exponent = nodes.add("Add", mixed, nodes.constant("squares", -gamma * squares))
    return nodes.add("Exp", nodes.add("Min", exponent, nodes.constant("zero", 0)))


def add_vectors(
    nodes: Nodes, vectors: NDArray[np.float64], centre: NDArray[np.float32] | None, half: bool
) -> tuple[str, NDArray[np.float32]]:
    """Adds the support vectors, less the centre if there is one.

    In float16 they are stored as they are, and taken from the centre when a session opens: vectors
    that were learned in float16 lose nothing.

    Returns:
        The name of the tensor `(V, D) float32`, and its values.
    """
    if not half:
        rounded = (vectors if centre is None else vectors - centre).astype(np.float32)
        return nodes.constant("support_vectors", rounded), rounded
    stored = vectors.astype(np.float16)
    name = nodes.constant("support_vectors", stored, np.float16)
    name = nodes.add("Cast", name, to=TensorProto.FLOAT)
    if centre is None:
        return name, stored.astype(np.float32)
    name = nodes.add("Sub", name, nodes.constant("centre", centre))
    return name, stored.astype(np.float32) - centre


def add_dot_kernel(
    nodes: Nodes,
    svc: SVC,
    vectors: NDArray[np.float64],
    centred: str,
    centre: NDArray[np.float32],
    half: bool,
) -> str:
    """Adds the kernel (gamma x.s + r)^degree or tanh(gamma x.s + r).

    Unlike a distance, x.s keeps the offset that all features share. Where that is hundreds of times
    their spread, the polynomial's float32 can't tell photos apart: such features need a scaler.

    Args:
        nodes: Of the graph.
        svc: Fitted.
        vectors: Its support vectors, `(V, D)`.
        centred: Features less the centre, `(N, D) float32`.
        centre: `(D,)`.
        half: Whether the vectors are stored in float16.

    Returns:
        `(N, V) float32`.
    """
    gamma = float(np.float32(svc._gamma))
    name, rounded = add_vectors(nodes, vectors, None, half)
    argument = nodes.add(
        "Gemm",
        centred,
        name,
        nodes.constant("offset", gamma * (rounded @ centre.astype(np.float64)) + svc.coef0),
        alpha=gamma,
        transB=1,
    )
    if svc.kernel == "sigmoid":
        return nodes.add("Tanh", argument)
    return nodes.add("Pow", argument, nodes.constant("degree", svc.degree))


def add_scores(nodes: Nodes, decisions: str, classes: int, output: str) -> None:
    """Adds a score for each class: its votes, and a share below 1/3 of its summed decisions.

    The formula is `_ovr_decision_function` in sklearn/utils/multiclass.py: votes + s / (3 (|s| +
    1)). A decision of exactly zero is a vote for the first class of the pair.

    Args:
        nodes: Of the graph.
        decisions: `(N, K(K-1)/2) float32` of `add_decisions`.
        classes: K, above 2.
        output: Gets the scores, `(N, K) float32`.
    """
    pairs = list(combinations(range(classes), 2))
    sides = np.zeros((len(pairs), classes))
    for pair, (first, second) in enumerate(pairs):
        sides[pair, first], sides[pair, second] = 1, -1
    signs = nodes.constant("signs", sides)
    share = nodes.add("Softsign", nodes.add("MatMul", decisions, signs))
    won = nodes.add("GreaterOrEqual", decisions, nodes.constant("zero", 0))
    firsts = nodes.add("Cast", won, to=TensorProto.FLOAT)
    # A class is the second of as many pairs as its index says: it starts with those votes, and
    # loses one for each of them that the first class wins.
    scores = nodes.add("Gemm", firsts, signs, share, beta=1 / 3)
    nodes.add("Add", scores, nodes.constant("seconds", np.arange(classes)), output=output)


def add_binary_label(nodes: Nodes, decisions: str, classes: NDArray[np.int64], output: str) -> None:
    """Adds the label of two classes; a decision of exactly zero is the second, as in libsvm.

    Args:
        nodes: Of the graph.
        decisions: `(N, 1) float32`, above zero for the second class.
        classes: Both labels.
        output: Gets the labels, `(N,) int64`.
    """
    first, second = (nodes.constant("class", label, np.int64) for label in classes)
    below = nodes.add("Less", decisions, nodes.constant("zero", 0))
    label = nodes.add("Where", below, first, second)
    nodes.add("Squeeze", label, nodes.constant("axes", [1], np.int64), output=output)


def pair_weights(svc: SVC) -> NDArray[np.float64]:
    """Spreads libsvm's dual coefficients to one column a pair of classes.

    libsvm keeps `(K-1, V)`, the support vectors grouped by class: one of class i has its
    coefficient against class j in row j - 1 if i < j, else in row j (`svm_predict_values` in
    svm.cpp).

    Returns:
        `(V, K(K-1)/2)`, zero where a vector is of neither class of the pair.
    """
    dual = np.asarray(svc.dual_coef_, dtype=np.float64)
    ends = np.cumsum(svc.n_support_)
    groups = [slice(end - size, end) for end, size in zip(ends, svc.n_support_, strict=True)]
    pairs = list(combinations(range(len(groups)), 2))
    weights = np.zeros((dual.shape[1], len(pairs)))
    for pair, (first, second) in enumerate(pairs):
        weights[groups[first], pair] = dual[second - 1, groups[first]]
        weights[groups[second], pair] = dual[first, groups[second]]
    return weights


def interleave(sizes: NDArray[np.int32]) -> NDArray[np.int64]:
    """Returns an order in which groups of these sizes, one after the other, are evenly mixed.

    The coefficients of a pair are positive in one class and negative in the other. In libsvm's
    order float32 sums all of the one before the other takes it away; evenly mixed, the sum stays
    small, and its error is an eighth with 1,800 vectors of 16 classes.
    """
    places = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes])
    return np.argsort(places, kind="stable")
