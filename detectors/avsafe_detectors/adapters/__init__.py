"""Adapters to networks of others, for weights that the user names (docs/detectors-plugins.md).

Each is one class, made from a manifest and its folder, that gives a raw score; the core checks
digests, applies the polarity, calibrates and abstains. No weights come with them, none are fetched,
and nothing heavy is imported before ``prepare``.
"""
