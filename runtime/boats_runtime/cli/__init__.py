"""The `boats-predict` and `boats-doctor` commands."""
