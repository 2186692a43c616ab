"""Load ImageNet weights by timm's own download.

Prints a JSON object: for each name the origin of the weights and the sum of the first tensor, or
the message of the error.

    HF_ENDPOINT=http://127.0.0.1:PORT HF_HOME=DIR python download_timm.py NAME...
"""

import json
import sys
from typing import Any

from boats_train.models.backbone import build_backbone, load_weights
from boats_train.models.weights import DownloadError

SIZE = (64, 64)


def load(name: str) -> dict[str, Any]:
    """Load the weights of a network and return the result."""
    backbone = build_backbone(name, SIZE)
    try:
        origin = load_weights(backbone, name, "imagenet", SIZE)
    except DownloadError as error:
        return {"error": str(error)}
    total = float(next(iter(backbone.state_dict().values())).sum())
    return {"origin": origin.to_json() if origin else None, "sum": total}


if __name__ == "__main__":
    print(json.dumps({name: load(name) for name in sys.argv[1:]}))
