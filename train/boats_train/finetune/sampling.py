"""Which photos an epoch of fine-tuning sees, and their pixels in batches."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from boats_data.dataset import LabeledImages
from boats_runtime.errors import DataError
from boats_runtime.preprocessing import Preprocessing
from boats_train.features.extraction import Pixels, decode_images
from boats_train.finetune.distributed import DistributedContext


def keep_readable(
    split: LabeledImages, preprocessing: Preprocessing, distributed: DistributedContext
) -> LabeledImages:
    """Decodes each photo once and returns the split without those that can't be.

    Every epoch of every process then has the same photos, and none waits for a batch that another
    could not fill. The processes share the work.
    """
    own = range(distributed.rank, len(split.paths), distributed.world_size)
    found = torch.zeros(len(split.paths), dtype=torch.int64)
    for index, _ in decode_images(preprocessing, [split.paths[place] for place in own]):
        found[own[index]] = 1
    kept = distributed.all_reduce_sum(found).nonzero().flatten().tolist()
    return LabeledImages(tuple(split.paths[index] for index in kept), split.targets[kept])


def draw_photos(targets: NDArray[np.int64], count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Draws the photos of an epoch, rare classes more often than they occur.

    A class of n photos is drawn in proportion to the square root of n: half-way, on a log scale,
    between photos drawn alike and classes drawn alike (Mahajan et al. 2018,
    https://arxiv.org/abs/1805.00932; q = 1/2 in Kang et al. 2020,
    https://arxiv.org/abs/1910.09217). Drawing classes alike would show the few photos of a rare
    class dozens of times an epoch, to be learned by heart. Every photo is drawn as often as that
    makes it on average, rounded down or up (systematic sampling, Madow 1949).

    Args:
        targets: Class indices `(N,) int64`, N at least 1.
        count: How many to draw; more than N draws some again.
        seed: Of the training.
        epoch: From 1; each has an order of its own.

    Returns:
        Indices `(count,) int64` into the targets, in random order.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, epoch)))
    weights = 1 / np.sqrt(np.bincount(targets)[targets])
    order = rng.permutation(len(targets))
    reach = np.cumsum(weights[order])
    marks = (np.arange(count) + rng.random()) / count * reach[-1]
    # Rounding may put the last mark on the end itself.
    places = np.minimum(np.searchsorted(reach, marks, side="right"), len(targets) - 1)
    drawn: NDArray[np.int64] = rng.permutation(order[places])
    return drawn


def load_batches(
    preprocessing: Preprocessing, paths: Sequence[Path], batch: int
) -> Iterator[Pixels]:
    """Yields the pixels `(B, H, W, 3) uint8` of batches of photos, decoded one batch ahead.

    Args:
        preprocessing: Makes the pixels.
        paths: The photos; one may occur more than once.
        batch: B, less only in the last.

    Raises:
        DataError: A photo can't be decoded.
    """
    photos = decode_images(preprocessing, paths)

    def load(start: int) -> Pixels:
        wanted = min(batch, len(paths) - start)
        found = dict(islice(photos, wanted))
        for index in range(start, start + wanted):
            if index not in found:
                raise DataError(f"{paths[index]}: could be read at first and can't be any more")
        return np.stack(list(found.values()))

    waiting: deque[Future[Pixels]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="batch") as pool:
        for start in range(0, len(paths), batch):
            waiting.append(pool.submit(load, start))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        if waiting:
            yield waiting.popleft().result()
