"""The `boats-benchmark` command."""
