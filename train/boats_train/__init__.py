"""Training of boats: a folder of photos in, a run folder out."""
