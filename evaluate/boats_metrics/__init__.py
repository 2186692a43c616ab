"""Metrics and statistics of classifiers, computed from arrays."""
