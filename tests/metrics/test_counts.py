import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import f1_score

from boats_metrics import counts as counts_module
from boats_metrics.classification import bootstrap_intervals
from boats_metrics.counts import ACCURACY, MACRO_F1, MEMORY, count_predictions


def random_classes(images: int, classes: int, models: int) -> list[np.ndarray]:
    """Return targets and predictions of some models, about half of them correct."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, classes, images)
    guesses = (rng.integers(0, classes, images) for _ in range(models))
    return [targets, *(np.where(rng.random(images) < 0.5, targets, guess) for guess in guesses)]


def test_compute__equals_scikit_learn() -> None:
    targets, *predicted = random_classes(200, 7, 2)
    counts, cells = count_predictions(targets, *predicted)
    assert counts.counts.sum() == len(cells) == 200
    for values, labels in zip(counts.compute(), predicted, strict=True):
        assert values[ACCURACY] == pytest.approx(np.mean(labels == targets))
        assert values[MACRO_F1] == pytest.approx(f1_score(targets, labels, average="macro"))


def test_leave_one_out__equals_computing_without_the_group() -> None:
    targets, predicted = random_classes(60, 4, 1)
    groups = np.random.default_rng(1).integers(0, 5, 60)
    counts, cells = count_predictions(targets, predicted)
    for group, values in enumerate(counts.leave_one_out(cells, groups)):
        rest = groups != group
        expected = count_predictions(targets[rest], predicted[rest])[0].compute()
        assert values == pytest.approx(expected)


def test_bootstrap__does_not_depend_on_the_size_of_the_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts, cells = count_predictions(*random_classes(60, 4, 2))
    groups = np.arange(60) % 9
    expected = counts.bootstrap(50, 0), counts.leave_one_out(cells, groups)
    monkeypatch.setattr(counts_module, "MEMORY", 8 * 1000)
    assert counts.chunk < 9
    found = counts.bootstrap(50, 0), counts.leave_one_out(cells, groups)
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])


@pytest.mark.parametrize(("images", "classes"), [(100, 2), (20_000, 1000), (2000, 2000)])
def test_chunk__fits_into_the_memory(images: int, classes: int) -> None:
    targets, first, second = random_classes(images, classes, 2)
    counts, _ = count_predictions(targets, first, second)
    # Weights as integers and as floats; five sums of each class, and as many temporary values.
    bytes_of_sample = 8 * (2 * len(counts.counts) + 10 * classes)
    assert counts.chunk == 1 or counts.chunk * bytes_of_sample <= MEMORY


def test_bootstrap_intervals__memory_at_1000_classes() -> None:
    # All samples of the whole matrix would take 16 GB.
    confusion = np.diag(np.full(1000, 5))
    confusion[np.arange(1000), (np.arange(1000) + 1) % 1000] = 1
    tracemalloc.start()
    try:
        interval = bootstrap_intervals(confusion).accuracy
        assert tracemalloc.get_traced_memory()[1] < 3 * MEMORY
    finally:
        tracemalloc.stop()
    assert interval[0] < 5 / 6 < interval[1]
