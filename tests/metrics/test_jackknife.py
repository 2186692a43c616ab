import numpy as np
import pytest
from scipy.stats import ttest_1samp

from boats_metrics.jackknife import Jackknife, combine, describe_intervals


def leave_out(values: np.ndarray) -> Jackknife:
    """Return the mean of values that are each a group of its own."""
    left_out = (values.sum() - values) / (len(values) - 1)
    return Jackknife(float(values.mean()), left_out, np.ones(len(values), np.int64))


def test_difference_interval__of_a_mean_is_the_t_interval() -> None:
    values = np.array([-0.03, 0.01, 0.02, -0.01, 0.04, 0.05])
    jackknife = leave_out(values)
    test = ttest_1samp(values, 0)
    assert jackknife.degrees == pytest.approx(5)
    assert jackknife.difference_interval() == pytest.approx(test.confidence_interval())
    assert jackknife.p_above(0) == pytest.approx(test.pvalue / 2)
    assert jackknife.p_below(0) == pytest.approx(1 - test.pvalue / 2)


def test_degrees__unequal_groups_count_as_fewer() -> None:
    sizes = np.array([50, 50, 1])
    assert 1 < Jackknife(0.5, np.zeros(3), sizes).degrees < 1.05


@pytest.mark.parametrize("value", [0, 1])
def test_share_interval__all_or_no_image_correct(value: int) -> None:
    interval = Jackknife(value, np.full(5, float(value)), np.full(5, 20)).share_interval()
    assert value in interval
    assert 0.01 < interval[1] - interval[0] < 0.1


def test_share_interval__a_dominating_group_says_nothing() -> None:
    jackknife = Jackknife(0.9, np.array([0.5, 0.9]), np.array([100_000, 1]))
    assert jackknife.share_interval() == (0, 1)


def test_p_values__equal_groups() -> None:
    # Without any spread the p-values are certain; tests take the larger one with those of images.
    jackknife = leave_out(np.full(4, -0.1))
    assert (jackknife.p_below(0), jackknife.p_above(0)) == (0, 1)
    assert jackknife.difference_interval() == pytest.approx((-0.1, -0.1))


def test_combine__smallest_common_interval() -> None:
    assert combine((0.2, 0.5), (0.3, 0.6)) == (0.2, 0.6)


@pytest.mark.parametrize(
    ("unit", "groups", "text"),
    [
        ("groups", 5, "over 5 groups of images"),
        ("groups", 4, "over 4 groups of images; fewer than 5 say little about others"),
        ("images", 1, "over images of a single group: too narrow for other groups"),
        (
            "images",
            None,
            "over images without groups: too narrow if the images resemble each other",
        ),
    ],
)
def test_describe_intervals__names_the_unit(unit: str, groups: int | None, text: str) -> None:
    assert describe_intervals(unit, groups) == text
