"""The model that a recorded search recommends: `results/search.json`.

It is the `search.json` of `boats-train --search --dry-run` on the boats of Venice.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from boats_runtime.preprocessing import Preprocessing

RECORD = Path(__file__).parents[1] / "results" / "search.json"


@dataclass(frozen=True)
class SearchedModel:
    """Backbone, input size and precision that a search has chosen.

    Attributes:
        backbone: Name of the backbone.
        preprocessing: Preprocessing with the size of the network input.
        precision: `fp32` or `int8`.
        description: Where the choice comes from, in one sentence.
    """

    backbone: str
    preprocessing: Preprocessing
    precision: str
    description: str


DEFAULT = SearchedModel(
    "timm:tf_efficientnet_lite0",
    Preprocessing(160, 544),
    "int8",
    "No search is recorded: EfficientNet-Lite0 at 160x544 in int8 stands for its choice.",
)


def read_searched_model(record: Path = RECORD) -> SearchedModel:
    """Return the choice of the recorded search, or `DEFAULT` without a record."""
    if not record.is_file():
        return DEFAULT
    search = json.loads(record.read_text(encoding="utf-8"))
    chosen = next(item for item in search["candidates"] if item["name"] == search["chosen"])
    folds = chosen["cross_validation"]["folds"]
    environment = search["circumstances"]
    description = (
        f"The searched model is {chosen['name']}, the choice of `boats-train --search` on "
        f"{environment['when']}, commit {environment['commit']}: accuracy "
        f"{sum(folds) / len(folds):.3f} on held-out groups, which also chose it."
    )
    preprocessing = Preprocessing(chosen["height"], chosen["width"])
    return SearchedModel(chosen["backbone"], preprocessing, chosen["precision"], description)
