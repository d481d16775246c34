"""Work that is cut into many tasks and can go on after any interruption.

``executors`` runs tasks in processes of this machine (``pool``) or on a Ray cluster (``on_ray``),
``rows`` is the manifest: what is finished, one JSON object a line, with ``code`` for what it was
finished with. ``nodes`` asks every machine whether it can work, ``pace`` says how long it takes.
Benchmarks and the verification of many files stand on it.
"""
