"""Trained models on disk. No other package knows their files."""
