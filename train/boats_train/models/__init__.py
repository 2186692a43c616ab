"""Network and classifier definitions."""
