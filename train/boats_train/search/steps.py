"""Steps of the evaluation of one candidate. Finished steps are read from the store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_data.dataset import Dataset
from boats_runtime.cli.app import Log
from boats_runtime.files import scratch_folder
from boats_runtime.preprocessing import Preprocessing
from boats_train.features.cache import FeatureCache, network_key
from boats_train.features.inference import InferenceBackend
from boats_train.features.splits import choose_probed_backend
from boats_train.models.backbone import make_preprocessing
from boats_train.models.feature_network import FeatureNetwork
from boats_train.runs.config import TrainConfig
from boats_train.runs.run import Run, write_run
from boats_train.search.candidates import Architecture, make_network
from boats_train.search.evaluation import (
    FINALISTS,
    GRID,
    Evaluator,
    TrainingFeatures,
    summarize_score,
)
from boats_train.search.exported import Latency, export, open_backend
from boats_train.search.results import CandidateResult, ResultStore

QUICK_SECONDS = 1.0
"""Duration of the measurement that predicts the latency of larger candidates."""

Measure = Callable[[Sequence[Path], int, float], list[Latency]]


@dataclass(frozen=True)
class StepContext:
    """What the steps of all candidates share.

    Attributes:
        dataset: Dataset.
        config: Configuration of a training with frozen features.
        evaluator: Cross-validation.
        store: Results.
        cache: Folder of the feature cache, or None.
        folder: Folder of the search.
        verification: Dataset to verify exported files on.
        provider: Provider, as in boats-predict.
        measure: Function that measures the latency of files in rounds of some seconds.
        log: Function that takes lines about the progress.
    """

    dataset: Dataset
    config: TrainConfig
    evaluator: Evaluator
    store: ResultStore
    cache: Path | None
    folder: Path
    verification: Path
    provider: str
    measure: Measure
    log: Log


class CandidateSteps:
    """Evaluation of one architecture; its network and features are made when a step needs them."""

    def __init__(self, context: StepContext, architecture: Architecture) -> None:
        self._context = context
        self._architecture = architecture
        self._network: FeatureNetwork | None = None
        self._backend: InferenceBackend | None = None
        self._cache: FeatureCache | None = None
        self._features: TrainingFeatures | None = None
        self._run: Run | None = None

    def screen(self, result: CandidateResult) -> CandidateResult:
        """Tune and cross-validate the classifier on a subset of the images."""
        if result.screening:
            return result
        context = self._context
        features = self._extract(context.evaluator.subset)
        scores = context.evaluator.search(features, GRID)
        finalists = tuple(score.candidate for score in scores[:FINALISTS])
        return self._save(
            replace(result, screening=summarize_score(scores[0]), finalists=finalists)
        )

    def cross_validate(self, result: CandidateResult) -> CandidateResult:
        """Cross-validate the best hyperparameters of the subset on all images."""
        if result.cross_validation:
            return result
        scores = self._context.evaluator.search(self._get_features(), result.finalists)
        return self._save(
            replace(
                result,
                cross_validation=summarize_score(scores[0]),
                hyperparameters=scores[0].candidate,
            )
        )

    def export(self, result: CandidateResult) -> CandidateResult:
        """Export the candidate in its precision, and measure the file."""
        if result.latency:
            return result
        context, backbone = self._context, self._architecture.backbone
        out = context.store.get_file(result)
        run = self._fit(result)
        context.log(f"exporting {result.name}")
        with scratch_folder(context.folder / "run") as scratch:
            folder = write_run(run, scratch, "candidate")
            export(folder, out, result.precision, backbone, context.verification)
        (latency,) = context.measure([out], 1, QUICK_SECONDS)
        return self._save(replace(result, file_megabytes=out.stat().st_size / 1e6, latency=latency))

    def cross_validate_exported(self, result: CandidateResult) -> CandidateResult:
        """Cross-validate on features of the exported file, which differ from those in fp32."""
        if result.cross_validation or not result.hyperparameters:
            return result
        context = self._context
        backend, digest = open_backend(context.store.get_file(result), context.provider)
        cache = FeatureCache(context.cache, digest[:32])
        features = context.evaluator.extract(backend, self._get_preprocessing(), cache)
        scores = context.evaluator.search(features, (result.hyperparameters,))
        return self._save(replace(result, cross_validation=summarize_score(scores[0])))

    def _save(self, result: CandidateResult) -> CandidateResult:
        self._context.store.save(result)
        return result

    def _get_preprocessing(self) -> Preprocessing:
        architecture = self._architecture
        return make_preprocessing(architecture.backbone, *architecture.size)

    def _get_network(self) -> FeatureNetwork:
        if self._network is None:
            self._network = make_network(self._architecture)
        return self._network

    def _extract(self, indices: NDArray[np.int64] | None) -> TrainingFeatures:
        context, preprocessing = self._context, self._get_preprocessing()
        if self._backend is None or self._cache is None:
            network = self._get_network()
            # As in the training of the chosen candidate, which finds these features in the cache.
            paths = context.dataset.splits["train"].paths
            self._backend = choose_probed_backend(network, preprocessing, paths)
            key = network_key(network, preprocessing, self._backend.name)
            self._cache = FeatureCache(context.cache, key)
        return context.evaluator.extract(self._backend, preprocessing, self._cache, indices)

    def _get_features(self) -> TrainingFeatures:
        if self._features is None:
            self._features = self._extract(None)
        return self._features

    def _fit(self, result: CandidateResult) -> Run:
        if self._run is None:
            if result.hyperparameters is None:
                raise AssertionError("the candidate was not cross-validated")
            context, config = self._context, self._architecture.configure(self._context.config)
            self._run = context.evaluator.fit_run(
                self._get_features(), result.hyperparameters, self._get_network(), config,
                self._get_preprocessing(),
            )  # fmt: skip
        return self._run
