"""Evaluation of an exported model on labeled images: metrics, report page, deployment gate."""
