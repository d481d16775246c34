"""Metrics of moving pictures; one a file."""
