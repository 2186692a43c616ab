"""Fine-tuning of the backbone before an SVM: `boats-train --unfreeze 0|N|all|auto`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boats_data.dataset import Dataset, LabeledImages
from boats_runtime.preprocessing import Preprocessing
from boats_train.finetune.activations import ActivationCache
from boats_train.finetune.cross_fitting import (
    CrossFit,
    Progress,
    choose_epochs,
    count_fold_epochs,
    count_steps,
    cross_fit,
    format_duration,
    make_cross_fit_folds,
    run_epochs,
)
from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.learners import (
    ActivationSource,
    FineTuningImages,
    ImageSource,
    LearnerSource,
)
from boats_train.finetune.loop import Checkpoint, EpochMetrics, make_empty
from boats_train.finetune.network_split import SplitError, choose_blocks
from boats_train.finetune.planning import (
    MAX_MINUTES,
    ActivationPlan,
    count_all_steps,
    estimate_seconds,
    find_obstacle,
    make_settings,
    plan_activations,
)
from boats_train.finetune.sampling import keep_readable
from boats_train.finetune.trainer import FineTuningSettings, init_batchnorm_statistics
from boats_train.models.feature_network import FeatureNetwork
from boats_train.runs.config import TrainConfig

CheckReadable = Callable[[str, NDArray[np.int64]], None]
"""Function that raises an error if a split, given by name and class indices, lacks images."""


@dataclass(frozen=True)
class FineTunedBackbone:
    """Result of fine-tuning.

    Attributes:
        cross_fit: The cross-fitted networks' features; None if the backbone is frozen.
        images: The images that could be decoded; None if the backbone is frozen.
        history: Metrics of each epoch of the final training; empty if the backbone is frozen.
        details: What was decided and why, as JSON values.
    """

    cross_fit: CrossFit | None
    images: FineTuningImages | None
    history: list[EpochMetrics]
    details: dict[str, Any]


class BackboneFineTuning:
    """Fine-tune the backbone of an SVM in place if it is asked for, or if it pays.

    Args:
        config: Configuration of an SVM; `unfreeze` is not `0`.
        dataset: The images.
        preprocessing: Preprocessing of the network.
        checkpoint: Folder of the activations and checkpoints, and the log.
        distributed: The device; a single process.
        check_readable: Check of the images that could be decoded.
    """

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        preprocessing: Preprocessing,
        checkpoint: Checkpoint,
        distributed: DistributedContext,
        check_readable: CheckReadable,
    ) -> None:
        self._config, self._preprocessing = config, preprocessing
        self._checkpoint, self._log = checkpoint, checkpoint.log
        self._distributed, self._check_readable = distributed, check_readable
        train, valid = dataset.splits["train"], dataset.splits["valid"]
        self._all = FineTuningImages(
            (*train.paths, *valid.paths),
            np.concatenate([train.targets, valid.targets]),
            len(train.paths),
            dataset.classes,
        )
        self._is_auto = config.unfreeze == "auto"

    def run(self, network: FeatureNetwork) -> FineTunedBackbone:
        """Fine-tune the backbone, or leave it frozen and say why.

        Raises:
            UsageError: If the backbone has fewer blocks.
            DataError: If a class has no readable training images.
            RunError: If a loss is not finite, or a checkpoint cannot be used.
            OutputError: If the activations or a checkpoint cannot be written.
        """
        self._prepare_folder()
        if self._is_auto:
            obstacle = find_obstacle(self._config, self._all.train_count)
            if obstacle:
                return self._keep_frozen(obstacle)
        elif self._config.from_run:
            self._log(
                "the network of --from may have been trained on held-out images: the "
                "cross-fitted metrics can be optimistic"
            )
        try:
            source, settings = self._make_source(network)
        except SplitError as error:
            return self._keep_frozen(str(error))
        images = source.images
        folds = make_cross_fit_folds(images, self._config.groups or None, self._config.seed)
        fold_epochs = count_fold_epochs(settings.epochs)
        self._log(
            f"cross-fitting: {len(folds.names)} x {fold_epochs} epochs, then up to "
            f"{settings.epochs} epochs on all training images"
        )
        progress = Progress(count_all_steps(images, folds, settings))
        fitted = cross_fit(
            source,
            folds,
            replace(settings, epochs=fold_epochs),
            self._checkpoint,
            progress,
            may_stop=self._is_auto,
        )
        noun = "folds" if folds.kind != "leave-one-group-out" else "groups"
        difference = fitted.comparison.describe(noun)
        if self._is_auto and not (fitted.is_complete and fitted.comparison.pays):
            return self._keep_frozen(f"it does not pay: {difference}", fitted)
        verdict = "pays" if fitted.comparison.pays else "does not pay"
        self._log(f"fine-tuning {verdict}: {difference}")
        history = self._train_all(source, settings, fitted, progress)
        details = self._describe(fitted) | {
            "blocks": settings.unfreeze,
            "epochs": len(history),
            "reason": difference,
        }
        return FineTunedBackbone(fitted, images, history, details)

    def _prepare_folder(self) -> None:
        """Empty the folder, unless the training is resumed from its files."""
        folder = self._checkpoint.folder
        if not self._checkpoint.resume:
            make_empty(folder)
        elif not (folder.is_dir() and any(folder.iterdir())):
            self._log(f"--resume: {folder.parent} has nothing of this training: starting")

    def _keep_frozen(self, reason: str, fitted: CrossFit | None = None) -> FineTunedBackbone:
        self._log(f"frozen backbone: {reason}; --unfreeze N trains its last N blocks anyway")
        details = {"blocks": "0", "reason": reason} | (self._describe(fitted) if fitted else {})
        return FineTunedBackbone(None, None, [], details)

    def _describe(self, fitted: CrossFit) -> dict[str, Any]:
        comparison = fitted.comparison
        names = fitted.folds.names
        return {
            "cross_fitting": {
                "kind": fitted.folds.kind,
                "epochs": len(fitted.curves[0]),
                "fine_tuned": dict(zip(names, comparison.fine_tuned, strict=False)),
                "frozen": dict(zip(names, comparison.frozen, strict=False)),
                "mean_difference": comparison.mean,
                "standard_error": comparison.standard_error,
                "curves": dict(zip(names, fitted.curves, strict=False)),
            }
        }

    def _make_source(self, network: FeatureNetwork) -> tuple[LearnerSource, FineTuningSettings]:
        """Return the source of the batches and the settings of the final training.

        Raises:
            SplitError: If `auto` cannot store activations, or it would take too long.
        """
        config = self._config
        if not self._is_auto:  # which does not train random weights
            init_batchnorm_statistics(
                network, self._all.take(self._all.train), self._preprocessing, config.seed
            )
        if config.unfreeze == "all" or self._distributed.device.type == "cuda":
            return self._make_image_source(network)
        folder = self._checkpoint.folder / "activations"
        try:
            plan = plan_activations(
                network, config.unfreeze, self._preprocessing, len(self._all.paths), folder
            )
        except SplitError as error:
            if self._is_auto:
                raise
            self._log(f"training from images: {error}")
            return self._make_image_source(network)
        settings = make_settings(config, str(plan.split.blocks))
        self._estimate(network, plan, settings)
        cache = ActivationCache(folder, plan.layout)
        readable = cache.fill(network, plan.split, self._preprocessing, self._all.paths)
        images = self._select(np.flatnonzero(readable))
        return ActivationSource(plan.split, cache, images), settings

    def _estimate(
        self, network: FeatureNetwork, plan: ActivationPlan, settings: FineTuningSettings
    ) -> None:
        folds = make_cross_fit_folds(self._all, self._config.groups or None, self._config.seed)
        seconds = estimate_seconds(network, plan, self._preprocessing, self._all, folds, settings)
        duration = f"about {format_duration(seconds)}"
        if self._is_auto and seconds > 60 * MAX_MINUTES and not self._checkpoint.resume:
            raise SplitError(f"fine-tuning would take {duration}, more than {MAX_MINUTES} min")
        self._log(
            f"fine-tuning the last {plan.split.blocks} blocks on {plan.layout.describe()}: "
            f"{duration}"
        )

    def _make_image_source(
        self, network: FeatureNetwork
    ) -> tuple[LearnerSource, FineTuningSettings]:
        config, preprocessing = self._config, self._preprocessing
        blocks = config.unfreeze
        if self._is_auto:
            blocks = str(choose_blocks(network, preprocessing.height, preprocessing.width))
        readable = keep_readable(
            LabeledImages(self._all.paths, self._all.targets), preprocessing, self._distributed
        )
        known = set(readable.paths)
        kept = [index for index, path in enumerate(self._all.paths) if path in known]
        images = self._select(np.asarray(kept, dtype=np.int64))
        source = ImageSource(network, images, preprocessing, self._distributed)
        return source, make_settings(config, blocks)

    def _select(self, indices: NDArray[np.int64]) -> FineTuningImages:
        """Return the images that can be decoded, after a check that they suffice."""
        kept = self._all.take(indices)
        train_count = int((indices < self._all.train_count).sum())
        self._check_readable("train", kept.targets[:train_count])
        self._check_readable("valid", kept.targets[train_count:])
        return FineTuningImages(kept.paths, kept.targets, train_count, self._all.classes)

    def _train_all(
        self,
        source: LearnerSource,
        settings: FineTuningSettings,
        fitted: CrossFit,
        progress: Progress,
    ) -> list[EpochMetrics]:
        """Train the network on all training images and return the metrics of each epoch."""
        images, curves = source.images, fitted.average_curves()
        epochs = choose_epochs(settings.epochs, curves)
        steps = count_steps(images.train_count, settings)
        progress.skip(steps * (settings.epochs - epochs))
        if epochs < settings.epochs:
            self._log(
                f"the final training stops after {epochs} of {settings.epochs} epochs: the "
                "accuracy on held-out images decreased before the last epoch"
            )
        final = replace(settings, epochs=epochs)
        learner = source.start(images.train, images.valid, final, copy=False)
        checkpoint = replace(self._checkpoint, folder=self._checkpoint.folder / "final")
        history = run_epochs(learner, final, checkpoint, progress, steps, "training on all folds")
        learner.load_averaged()
        missing = dict.fromkeys(curves[0], float("nan"))
        padded = curves + [missing] * max(0, len(history) - len(curves))
        return [metrics | held_out for metrics, held_out in zip(history, padded, strict=False)]
