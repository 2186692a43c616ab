"""Metrics and statistics: arrays in, numbers out. No I/O."""
