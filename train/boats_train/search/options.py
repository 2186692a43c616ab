"""Options of a search: backbones, sizes, precisions and the budget; imports no PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass

from boats_data.image_sizes import MAX_AREA, MIN_SIDE, Size, choose_size
from boats_runtime.errors import UsageError
from boats_train.models.sources import BUNDLED, default_weights
from boats_train.runs.config import AUTO, TrainConfig, parse_image_size

DEFAULT_BACKBONES = ("mobilenet_v2", BUNDLED)
"""Small networks that keep their accuracy in 8 bits."""

PRECISIONS = ("fp32", "int8")

AREA_SHARES = (0.25, 0.5, 0.75, 1.0)
"""Areas of the ladder of sizes as shares of that of the images."""

MAX_LADDER_AREA = 2 * MAX_AREA
"""Largest area of the ladder: that of images of 448x448."""

SAME_AREA = 1.2
"""Sizes whose areas differ by a smaller factor than this are not both in the ladder."""


@dataclass(frozen=True)
class SearchOptions:
    """Options of `boats-train --search` as they are given.

    Attributes:
        backbones: `NAME,NAME=WEIGHTS`; empty for the default.
        sizes: `auto` or sizes between commas.
        precisions: Precisions between commas.
        budget_ms: Largest latency in milliseconds; None for no limit.
        budget_mb: Largest file in 10^6 bytes; None for no limit.
        dry_run: Whether to report without training the chosen candidate.

    Raises:
        UsageError: If a value is invalid.
    """

    backbones: str = ""
    sizes: str = AUTO
    precisions: str = ",".join(PRECISIONS)
    budget_ms: float | None = None
    budget_mb: float | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        parse_backbones(self.backbones)
        parse_precisions(self.precisions)
        parse_sizes(self.sizes, (MIN_SIDE, MIN_SIDE))
        for name, limit in (("ms", self.budget_ms), ("mb", self.budget_mb)):
            if limit is not None and not 0 < limit < float("inf"):
                raise UsageError(f"--budget-{name} {limit:g}: must be above 0")


def check_options(options: SearchOptions, others: Sequence[str], *, search: bool) -> None:
    """Check that options are used together.

    Args:
        options: Options of a search.
        others: Given options that a search does not take.
        search: Whether `--search` is given.

    Raises:
        UsageError: If not.
    """
    if search and others:
        raise UsageError(
            f"--search trains an SVM and chooses its backbone and image size: omit {others[0]}"
        )
    if not search and options != SearchOptions():
        raise UsageError(
            "--budget-ms, --budget-mb, --backbones, --sizes, --precisions and --dry-run are for "
            "--search"
        )


def parse_backbones(text: str) -> list[tuple[str, str]]:
    """Parse `NAME,NAME=WEIGHTS` into names and values of `--weights`; empty for the default.

    Raises:
        UsageError: If an item has no name, or a name occurs twice.
    """
    items = text.split(",") if text else DEFAULT_BACKBONES
    pairs = []
    for item in items:
        name, separator, weights = item.strip().partition("=")
        if not name or (separator and not weights):
            raise UsageError(f"--backbones {text}: expected NAME or NAME=WEIGHTS between commas")
        pairs.append((name, weights or default_weights(name)))
    if len({name for name, _ in pairs}) < len(pairs):
        raise UsageError(f"--backbones {text}: a backbone occurs twice")
    return pairs


def parse_sizes(text: str, median: Size) -> list[Size]:
    """Parse `auto` or `160x528,224` into sizes; `auto` is the ladder for the median image size.

    Raises:
        UsageError: If an item is not an image size.
    """
    if text == AUTO:
        return make_ladder(median)
    try:
        sizes = [parse_image_size(item.strip()) for item in text.split(",")]
    except UsageError as error:
        raise UsageError(f"--sizes {text}: {str(error).removeprefix('--image-size ')}") from error
    for height, width in sizes:
        TrainConfig("", height=height, width=width)  # checks the range
    return list(dict.fromkeys(sizes))


def parse_precisions(text: str) -> list[str]:
    """Parse `fp32,int8`.

    Raises:
        UsageError: If an item is not one of the `PRECISIONS`.
    """
    precisions = list(dict.fromkeys(item.strip() for item in text.split(",")))
    unknown = [item for item in precisions if item not in PRECISIONS]
    if unknown:
        raise UsageError(f"--precisions {text}: choose of {', '.join(PRECISIONS)}")
    return precisions


def make_ladder(median: Size) -> list[Size]:
    """Return sizes with the aspect ratio of the images, the smallest first.

    They have about 0.25 to 1 times the area of the images, at most `MAX_LADDER_AREA`, and include
    the default size. Small images are not enlarged beyond it.
    """
    area = min(median[0] * median[1], MAX_LADDER_AREA)
    default = choose_size(median)
    sizes = [default]
    for share in AREA_SHARES:
        size = choose_size(median, max(area * share, MIN_SIDE**2))
        ratios = [_compute_area(size) / _compute_area(other) for other in sizes]
        if all(max(ratio, 1 / ratio) >= SAME_AREA for ratio in ratios):
            sizes.append(size)
    return sorted(sizes, key=_compute_area)


def _compute_area(size: Size) -> int:
    return size[0] * size[1]
