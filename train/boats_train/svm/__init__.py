"""SVM fitting, grid search and cross-validation folds."""
