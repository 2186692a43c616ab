"""Judging an exported file on labelled photos: what it gets right, and what it gets wrong."""
