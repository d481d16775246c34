"""Metrics of sound and picture together: lips, events; one a file."""
