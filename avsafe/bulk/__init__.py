"""Verification of many files: a folder, a corpus, a disk. See docs/bulk.md.

``run`` lists files into ``index`` (``listing``), looks at each that lacks an answer (``looking``),
by an executor of ``avsafe.sharding``, and writes verdicts, summary and tables (``written``).
"""
