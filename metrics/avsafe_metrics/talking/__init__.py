"""Metrics of talking heads; one a file."""
