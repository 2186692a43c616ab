from typing import Any

import numpy as np
import pytest

import peers
from boats_benchmark.timing import MIN_STARTS

NAME, PEER = peers.SHARES["of_openvino"]


def make_rows(starts: int) -> dict[str, dict[str, Any]]:
    """Return rows of two backends, with two rounds of two calls in each start."""
    values = np.full((starts, 2, 2), 1_000_000).tolist()
    row = {"p50_ms": 1.0, "p90_ms": 1.0, "times_faster": [1.0, 0.9, 1.1], "values_ns": values}
    return {NAME: row, PEER: row}


@pytest.mark.parametrize(
    ("share", "starts", "expected"),
    [
        ([0.8, 0.7, 0.9], MIN_STARTS, f"**{NAME} is faster**: 0.80 (0.70 to 0.90) of"),
        ([1.2, 1.1, 1.3], MIN_STARTS, f"**{NAME} is slower**: 1.20 (1.10 to 1.30) of"),
        ([0.9, 0.8, 1.0], MIN_STARTS, f"{NAME}: 0.90 (0.80 to 1.00) of"),
        ([0.8, 0.7, 0.9], MIN_STARTS - 1, f"{NAME}: 0.80 (0.70 to 0.90) of"),
        ([1.2, 1.1, 1.3], 1, f"{NAME}: 1.20 (1.10 to 1.30) of"),
    ],
)
def test_to_markdown__claims_a_difference_from_enough_starts(
    share: list[float], starts: int, expected: str
) -> None:
    line = peers.to_markdown(make_rows(starts), {"of_openvino": share}, []).splitlines()[-1]
    assert line.startswith(expected)
    assert ("starts" in line) is (starts < MIN_STARTS)
