"""The file of out-of-fold scores that a report of a detector is made from.

Legend: one row for a unit in a cell and condition of the protocol; ``reports/detectors`` reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write(path: Path, table: Sequence[dict[str, Any]]) -> None:
    """Parquet: text as dictionaries, numbers as float32."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("detector", "cell", "condition", "unit", "source", "group", "abstained")
    columns: dict[str, Any] = {n: pa.array([r[n] for r in table]).dictionary_encode()
                               for n in names}  # fmt: skip
    for name in ("score", "probability"):
        columns[name] = pa.array([r[name] for r in table], pa.float32())
    for name in ("synthetic", "flagged"):
        columns[name] = pa.array([r[name] for r in table], pa.bool_())
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, compression="zstd")
