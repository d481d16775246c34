"""Metrics of sets of clips: distances of distributions; one a file."""
