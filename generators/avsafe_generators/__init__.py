"""Generator plugins: one system a file."""
