"""Sampling and loading of images for fine-tuning."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import BatchSampler, DataLoader, Dataset, WeightedRandomSampler

from boats_data.dataset import LabeledImages
from boats_runtime.cpu import granted_cpus
from boats_runtime.errors import DataError, ImageError
from boats_runtime.preprocessing import Preprocessing
from boats_train.features.extraction import decode_images
from boats_train.finetune.augmentation import augment
from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.loop import derive_seed

SAMPLING, AUGMENTATION = 1, 2
"""Last component of the seeds, so that sampling and augmentation use different random numbers."""

Key = tuple[int, int | None]
"""Index of an image and the seed of its augmentation; None leaves the image unchanged."""

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]


def keep_readable(
    images: LabeledImages, preprocessing: Preprocessing, distributed: DistributedContext
) -> LabeledImages:
    """Return the images that can be decoded; each process decodes its share of them once.

    All epochs in all processes then have the same images, and no process waits for a batch that
    another process cannot fill.
    """
    share = range(distributed.rank, len(images.paths), distributed.world_size)
    readable = torch.zeros(len(images.paths), dtype=torch.int64)
    for index, _ in decode_images(preprocessing, [images.paths[position] for position in share]):
        readable[share[index]] = 1
    indices = distributed.all_reduce_sum(readable).nonzero().flatten().tolist()
    return LabeledImages(tuple(images.paths[index] for index in indices), images.targets[indices])


class EpochSampler:
    """Images that one process draws in an epoch, each with the seed of its augmentation.

    A class of n images is drawn in proportion to the square root of n: half-way, on a log scale,
    between sampling images and sampling classes uniformly (Mahajan et al. 2018,
    https://arxiv.org/abs/1805.00932; q = 1/2 in Kang et al. 2020,
    https://arxiv.org/abs/1910.09217). Sampling classes uniformly would show the few images of a
    rare class dozens of times an epoch, and the network would memorize them.

    The `count` images of an epoch are shared by all processes. Their order depends on the seed and
    the attribute `epoch`, not on the number of processes.
    """

    def __init__(
        self, targets: NDArray[np.int64], count: int, seed: int, distributed: DistributedContext
    ) -> None:
        self._weights = (1 / np.sqrt(np.bincount(targets)[targets])).tolist()
        self._count, self._seed = count, seed
        self._share = range(distributed.rank, count, distributed.world_size)
        self.epoch = 1

    def __iter__(self) -> Iterator[Key]:
        generator = torch.Generator().manual_seed(derive_seed(self._seed, self.epoch, 0, SAMPLING))
        order = list(WeightedRandomSampler(self._weights, self._count, generator=generator))
        for position in self._share:
            yield order[position], derive_seed(self._seed, self.epoch, position, AUGMENTATION)


class ImageLoader:
    """Batches of images, decoded and augmented in worker processes.

    The last batch can be smaller. The workers of `world_size` training processes share the CPUs.
    """

    def __init__(
        self,
        images: LabeledImages,
        preprocessing: Preprocessing,
        sampler: Iterable[Key],
        batch_size: int,
        world_size: int = 1,
    ) -> None:
        workers = granted_cpus() // world_size
        self._loader = DataLoader(
            _BatchDataset(images, preprocessing),
            batch_size=None,
            sampler=BatchSampler(sampler, batch_size, drop_last=False),  # type: ignore[arg-type]
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=_keep_arrays,
            # The default would draw from the global generator, which dropout uses.
            generator=torch.Generator(),
        )

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield pixels, (B, H, W, 3) uint8, and class indices, (B,) int64.

        Raises:
            DataError: If an image cannot be decoded.
        """
        for batch in self._loader:
            if isinstance(batch, DataError):
                raise batch
            pixels, targets = batch
            yield torch.from_numpy(pixels), torch.from_numpy(targets)


class _BatchDataset(Dataset[Batch | DataError]):
    def __init__(self, images: LabeledImages, preprocessing: Preprocessing) -> None:
        self._images, self._preprocessing = images, preprocessing

    def __getitem__(self, keys: list[Key]) -> Batch | DataError:
        batch = []
        for index, seed in keys:
            path = self._images.paths[index]
            try:
                pixels = self._preprocessing.read(path)
            except ImageError as error:
                # Returned, not raised: DataLoader would add the traceback of the worker.
                return DataError(
                    f"{path}: was readable when the training started, but now: {error}"
                )
            batch.append(pixels if seed is None else augment(pixels, seed))
        return np.stack(batch), self._images.targets[[index for index, _ in keys]]


def _keep_arrays(batch: Any) -> Any:
    return batch  # tensors would need shared memory, of which containers often have little
