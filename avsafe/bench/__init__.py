"""Benchmarks: suite -> samples -> rows -> aggregates -> report. See docs/bench.md.

``suites`` names what can be run, ``avsafe.sharding`` runs tasks and keeps what they found (JSON
Lines, resumable), ``statistics`` turns rows into shares with intervals, ``report`` draws the
page. Each suite is a package of its own (``watermark``). Damage to marked media is made here to
measure marks, and is offered nowhere else.
"""
