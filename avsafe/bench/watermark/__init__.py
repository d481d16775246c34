"""The robustness suite: every clip x every attack x several keys."""
