"""Execution providers: selection, verification and installed libraries."""
