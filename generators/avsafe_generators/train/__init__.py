"""Training of the embedded models: ``python -m avsafe_generators.train NAME``. Needs torch."""
