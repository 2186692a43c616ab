"""Training: from an image folder to a run folder."""
