"""Metric plugins: one metric a file."""
