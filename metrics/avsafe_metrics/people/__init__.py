"""Whose face, whose voice: networks behind the entry points ``avsafe.embedders``. The package that
looks into a file of others names them as extractors, so they run in the limited process."""
