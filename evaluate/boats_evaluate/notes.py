"""Notes beside the numbers: what was chosen on these images."""

from collections.abc import Mapping
from typing import Any


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
    return config.get("model") == "finetune" and config.get("unfreeze") not in (None, "0")


def describe_split(split: str | None, *, epoch_chosen: bool) -> str:
    """Return a phrase that says if the model was trained or chosen on these images, or ''."""
    if split == "train":
        return "the model was trained on these images"
    if split != "valid":
        return ""
    if epoch_chosen:
        return "the epoch of the model was chosen by its macro-F1 on these images: too optimistic"
    return "these are the validation images of the training"
