"""Run folders and training configuration."""
