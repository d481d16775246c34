"""Detector plugins: one detector a file."""
