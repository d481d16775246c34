"""Metrics of text against pictures, and of edits; one a file."""
