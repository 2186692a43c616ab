"""Fit the SVM of a run on the features of a frozen or fine-tuned backbone."""

from typing import Any

import numpy as np

from boats_train.features.splits import SplitFeatures
from boats_train.finetune.svm_backbone import FineTunedBackbone
from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.runs.config import TrainConfig
from boats_train.svm.cross_fitted import HeldOutFeatures, fit_cross_fitted_svm
from boats_train.svm.fit import cross_validate, fit_svm


def fit_svm_on_backbone(
    config: TrainConfig, backbone: FineTunedBackbone, train: SplitFeatures, valid: SplitFeatures
) -> tuple[CalibratedSVC, dict[str, Any]]:
    """Fit an SVM on the training images; return it and the metrics to record, JSON values.

    On a fine-tuned backbone, everything but the SVM itself comes from the cross-fitted networks.
    """
    groups, seed = config.groups or None, config.seed
    if backbone.cross_fit and backbone.images:
        images = backbone.images
        held_out = HeldOutFeatures(
            backbone.cross_fit.features,
            images.targets,
            backbone.cross_fit.folds,
            images.train_count,
        )
        svm, with_valid = fit_cross_fitted_svm(
            train.features, train.targets, held_out, tune=config.tune, seed=seed
        )
    else:
        svm = fit_svm(
            train.features, train.targets, train.paths, tune=config.tune, groups=groups, seed=seed
        )
        with_valid = cross_validate(
            np.concatenate([train.features, valid.features]),
            np.concatenate([train.targets, valid.targets]),
            [*train.paths, *valid.paths],
            svm.scores[0].candidate,
            splits=("train", "valid"),
            groups=groups,
            seed=seed,
        )
    details = svm.to_json() | {"cross_validation_with_valid": with_valid}
    if backbone.details:
        details["fine_tuning"] = backbone.details
    return svm.estimator, details
