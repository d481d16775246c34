"""A run as pandas tables, for a notebook; needs the extra ``bench``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe.bench import runfolder
from avsafe.bench.aggregate import figures_of
from avsafe.errors import MissingExtra

if TYPE_CHECKING:
    import pandas as pd


def scores(folder: Path | str) -> pd.DataFrame:
    """One row a clip, one column a score; NaN where there is no value (``reasons`` says why).

    The index is (system, item, sample); ``cluster`` stands beside the scores.

    >>> scores("out").groupby("system")["temporal_flicker"].mean()  # doctest: +SKIP
    """
    pandas, found = _pandas(), runfolder.read(Path(folder))
    rows = {
        key: {"cluster": found.cluster(key)}
        | {name: found.values[name].get(key) for name in found.scores}
        for key in sorted(found.clips)
    }
    return _indexed(pandas, rows)


def reasons(folder: Path | str) -> pd.DataFrame:
    """The same shape as ``scores``, with the reason wherever a value is missing."""
    pandas, found = _pandas(), runfolder.read(Path(folder))
    rows = {
        key: {name: _reason(found, name, key) for name in found.scores}
        for key in sorted(found.clips)
    }
    return _indexed(pandas, rows)


def _reason(found: runfolder.RunFolder, score: str, key: runfolder.Key) -> str | None:
    if key in found.values[score]:
        return None
    return found.reasons[score].get(key) or found.clips[key].get("reason") or "it was not measured"


def aggregates(folder: Path | str) -> pd.DataFrame:
    """One row a system and score: value, low, high, n_scored, n_expected, interval."""
    pandas, figures = _pandas(), figures_of(runfolder.read(Path(folder)))
    wanted = ("value", "low", "high", "n_scored", "n_expected", "interval")
    rows = [
        {"system": system, "score": score} | {name: figure.get(name) for name in wanted}
        for system, by_score in figures["systems"].items()
        for score, figure in by_score.items()
    ]
    return pandas.DataFrame(rows)


def _indexed(pandas: Any, rows: dict[runfolder.Key, dict[str, Any]]) -> pd.DataFrame:
    index = pandas.MultiIndex.from_tuples(list(rows), names=["system", "item", "sample"])
    return pandas.DataFrame(list(rows.values()), index=index)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingExtra(
            "Tables need pandas, which is not installed: pip install 'avsafe[bench]'. The same "
            "figures lie beside the run as scores.csv and aggregates.csv."
        ) from error
    return pandas
