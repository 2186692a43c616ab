"""Old name of the calibrated SVM: run folders written before version 0.2.0 store it."""

from boats_train.models.calibrated_svc import CalibratedSVC as CalibratedSvm

__all__ = ["CalibratedSvm"]
