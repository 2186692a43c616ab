"""Notes beside the numbers: what the intervals stand for, and what was chosen on these images."""

from collections.abc import Mapping
from typing import Any

from boats_metrics.jackknife import MIN_GROUPS


def describe_intervals(unit: str, groups: int | None) -> str:
    """Return what intervals and tests take as independent, as a phrase.

    Args:
        unit: `groups` or `images`.
        groups: Number of groups; None if the images have no groups.
    """
    if unit == "groups" and groups is not None:
        few = f"; fewer than {MIN_GROUPS} say little about others" if groups < MIN_GROUPS else ""
        return f"over {groups} groups of images{few}"
    if groups == 1:
        return "over images of a single group: too narrow for other groups"
    return "over images without groups: too narrow if the images resemble each other"


def find_training_split(provenance: Mapping[str, Any], digest: str) -> str | None:
    """Return the name of the split of the training that has exactly the evaluated images.

    Args:
        provenance: Provenance of the model file.
        digest: Result of `boats_data.dataset.digest_images` for the evaluated images.
    """
    data = provenance.get("data")
    if not isinstance(data, dict):
        return None
    return next((str(name) for name, value in data.items() if value == digest), None)


def is_epoch_chosen(provenance: Mapping[str, Any]) -> bool:
    """Return whether training chose the epoch with the best macro-F1 on its validation images."""
    config = provenance.get("config")
    if not isinstance(config, dict):
        return False
    return config.get("model") in ("finetune", "cnn")


def describe_split(split: str | None, *, epoch_chosen: bool) -> str:
    """Return a phrase that says if the model was trained or chosen on these images, or ''."""
    if split == "train":
        return "the model was trained on these images"
    if split != "valid":
        return ""
    if epoch_chosen:
        return "the epoch of the model was chosen by its macro-F1 on these images: too optimistic"
    return "these are the validation images of the training"
