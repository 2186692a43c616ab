"""Gradient training: linear heads, the small CNN and fine-tuning."""
