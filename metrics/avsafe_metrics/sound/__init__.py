"""Metrics of sound; one a file."""
