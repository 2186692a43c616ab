"""Support vector machine as tensor algebra: RBF kernel, pairwise decisions, one-vs-rest scores.

The graph uses standard operators only, so that CUDA runs all of it. The conversion of skl2onnx
itself uses `ai.onnx.ml.SVMClassifier`, which has no CUDA kernel and visits pairs of classes one by
one.
"""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from sklearn.svm import SVC

from boats_export.graph_builder import GraphBuilder


def set_svc_shape(operator: Any) -> None:
    """Set the shape of the scores: (N, K), or (N, 1) for two classes."""
    classes = len(operator.raw_operator.classes_)
    operator.outputs[0].type.shape = [None, classes if classes > 2 else 1]


def convert_svc(scope: Any, operator: Any, container: Any, *, fp16: bool = False) -> None:
    """Write the scores of an SVC, its `decision_function`: (N, K), or (N, 1) for two classes.

    Args:
        scope: skl2onnx scope.
        operator: skl2onnx operator of the fitted SVC.
        container: skl2onnx container.
        fp16: Whether the support vectors are stored in float16.

    Raises:
        ValueError: If the kernel is not RBF, or the decision function is not one-vs-rest.
    """
    svc: SVC = operator.raw_operator
    if svc.kernel != "rbf" or svc.decision_function_shape != "ovr":
        raise ValueError(f"{svc}: only kernel='rbf' and decision_function_shape='ovr'")
    builder = GraphBuilder(scope, container)
    features, scores = operator.inputs[0].full_name, operator.outputs[0].full_name
    # Float32 sums the interleaved vectors more precisely than libsvm's order.
    order = interleave(svc.n_support_)
    vectors = np.asarray(svc.support_vectors_, dtype=np.float64)[order]
    kernel = add_rbf_kernel(builder, features, vectors, svc._gamma, fp16=fp16)
    decisions = builder.add_node(
        "Gemm",
        kernel,
        builder.add_constant("weights", compute_pair_weights(svc)[order]),
        builder.add_constant("intercept", svc.intercept_),
        output="" if len(svc.classes_) > 2 else scores,
    )
    if len(svc.classes_) > 2:
        add_scores(builder, decisions, len(svc.classes_), scores)


def add_rbf_kernel(
    builder: GraphBuilder, features: str, vectors: NDArray[np.float64], gamma: float, *, fp16: bool
) -> str:
    """Add the kernel exp(-gamma |x - s|^2), with the square multiplied out.

    Features and support vectors are taken relative to the center of the support vectors, because an
    offset that all of them share would drown their differences in float32. The remaining error of
    the exponent is about 1e-7 gamma |s|^2, and gamma |s|^2 is about 1 with `gamma="scale"`. The
    error matters only where x is near s: the kernel of a distant vector is 0.

    Args:
        builder: Builder of the graph.
        features: Name of the features, (N, D) float32.
        vectors: (V, D), support vectors.
        gamma: Kernel coefficient.
        fp16: Whether the vectors are stored in float16. The center is then subtracted when a
            session opens, so that vectors fitted on float16 features lose nothing.

    Returns:
        Name of the kernel values, (N, V) float32, 0 to 1.
    """
    center = vectors.mean(axis=0).astype(np.float32)
    center_name = builder.add_constant("center", center)
    centered = builder.add_node("Sub", features, center_name)
    if fp16:
        stored = vectors.astype(np.float16)
        rounded = stored.astype(np.float32) - center
        vectors_name = builder.add_constant("support_vectors", stored, np.float16)
        vectors_name = builder.add_node("Cast", vectors_name, to=TensorProto.FLOAT)
        vectors_name = builder.add_node("Sub", vectors_name, center_name)
    else:
        rounded = (vectors - center).astype(np.float32)
        vectors_name = builder.add_constant("support_vectors", rounded)
    # All three terms use the rounded vectors and the rounded gamma: their sum is the distance to a
    # slightly moved vector, which is never far below zero.
    gamma = float(np.float32(gamma))
    vector_squares = np.sum(rounded.astype(np.float64) ** 2, axis=1)
    axes = builder.add_constant("axes", [1], np.int64)
    feature_squares = builder.add_node("ReduceSumSquare", centered, axes, keepdims=1)
    product = builder.add_node(
        "Gemm", centered, vectors_name, feature_squares, alpha=2 * gamma, beta=-gamma, transB=1
    )
    squares = builder.add_constant("squares", -gamma * vector_squares)
    exponent = builder.add_node("Add", product, squares)
    zero = builder.add_constant("zero", 0)
    return builder.add_node("Exp", builder.add_node("Min", exponent, zero))


def add_scores(builder: GraphBuilder, decisions: str, classes: int, output: str) -> None:
    """Add the score of each class: its votes, and a share below 1/3 of its summed decisions.

    The formula is `_ovr_decision_function` in sklearn/utils/multiclass.py: votes + s / (3 (|s| +
    1)). A decision of exactly zero is a vote for the first class of the pair.

    Args:
        builder: Builder of the graph.
        decisions: Name of the decisions of the pairs (0, 1), (0, 2), ..., (1, 2), ..., as
            (N, K(K-1)/2) float32; positive for the first class of the pair.
        classes: Number of classes K, above 2.
        output: Name of the scores, (N, K) float32.
    """
    pairs = list(combinations(range(classes), 2))
    sides = np.zeros((len(pairs), classes))
    for pair, (first, second) in enumerate(pairs):
        sides[pair, first], sides[pair, second] = 1, -1
    signs = builder.add_constant("signs", sides)
    share = builder.add_node("Softsign", builder.add_node("MatMul", decisions, signs))
    zero = builder.add_constant("zero", 0)
    first_wins = builder.add_node("GreaterOrEqual", decisions, zero)
    first_votes = builder.add_node("Cast", first_wins, to=TensorProto.FLOAT)
    # A class is the second of as many pairs as its index says. It starts with the votes of those
    # pairs, and loses one for each of them that the first class wins.
    scores = builder.add_node("Gemm", first_votes, signs, share, beta=1 / 3)
    second_votes = builder.add_constant("second_votes", np.arange(classes))
    builder.add_node("Add", scores, second_votes, output=output)


def compute_pair_weights(svc: SVC) -> NDArray[np.float64]:
    """Spread the dual coefficients of libsvm to one column for each pair of classes.

    libsvm stores them as (K-1, V), with the support vectors grouped by class: a vector of class i
    has its coefficient against class j in row j - 1 if i < j, else in row j (`svm_predict_values`
    in svm.cpp).

    Returns:
        (V, K(K-1)/2), zero where a vector belongs to neither class of the pair.
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
    """Return an order that mixes consecutive groups evenly.

    The coefficients of a pair are positive for one class and negative for the other. In the order
    of libsvm, a float32 sum grows over the first class before the second reduces it. Evenly mixed,
    the sum stays small, and its error is an eighth for 1,800 vectors of 16 classes.

    Args:
        sizes: Sizes of the groups.
    """
    positions = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes])
    return np.argsort(positions, kind="stable")
