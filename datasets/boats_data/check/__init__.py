"""The checks of `boats-data check`."""
