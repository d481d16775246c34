"""``qualification.json``: what a detector was measured to be, bound to its manifest and weights.

It is a ``calibration.Calibration`` with more fields beside: a condition that was refused keeps its
figures and the reasons.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from avsafe.calibration import Calibration, Condition
from avsafe.errors import UsageError
from avsafe.home import write_private
from avsafe.qualify.manifest import Manifest

SCHEMA = 1
MAX_BYTES = 4 << 20


@dataclass(frozen=True)
class Qualification:
    """``refused``: why the detector as a whole may not speak; () when some condition is good.

    ``figures`` and ``refusals`` go by the condition's name; a condition with too few files to fit
    anything stands there and not in ``calibration``.
    """

    calibration: Calibration
    manifest_sha256: str
    weights: Mapping[str, str]
    made_at: str  # ISO 8601, UTC
    collection: Mapping[str, Any]  # digest, files and sources of each class, unreadable files
    figures: Mapping[str, Mapping[str, Any]]
    refusals: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...] = ()
    refused: tuple[str, ...] = field(default=())

    @property
    def usable(self) -> tuple[str, ...]:
        """Names of conditions in which the detector may speak."""
        if self.refused:
            return ()
        names = [one.name for one in self.calibration.conditions]
        return tuple(name for name in names if not self.refusals.get(name))

    def fits(self, manifest: Manifest) -> bool:
        """Whether it was made of this very manifest, and so of these weights."""
        return self.manifest_sha256 == manifest.digest and dict(self.weights) == manifest.digests()

    def as_json(self) -> dict[str, Any]:
        """As it is written, without the many fits behind the intervals."""
        body = self._body()
        for condition in body["conditions"]:
            del condition["resampled"]
        return body

    def _body(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            **asdict(self.calibration),
            "manifest_sha256": self.manifest_sha256,
            "weights": dict(self.weights),
            "made_at": self.made_at,
            "set": dict(self.collection),
            "figures": {name: dict(found) for name, found in self.figures.items()},
            "refusals": {name: list(said) for name, said in self.refusals.items()},
            "warnings": list(self.warnings),
            "refused": list(self.refused),
        }

    def save(self, path: Path) -> None:
        """Whole or not at all; only this user can read it."""
        text = json.dumps(self._body(), indent=1, allow_nan=False)
        write_private(path, text.encode() + b"\n")


def load(path: Path) -> Qualification | None:
    """None when there is no such file. Raises UsageError for one that does not make sense."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    if size > MAX_BYTES:
        raise UsageError(f"{path.name} has {size} bytes; at most {MAX_BYTES} were expected.")
    calibration = Calibration.load(path)
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        if read["schema"] != SCHEMA:
            raise ValueError(f"schema {read['schema']}; {SCHEMA} was expected")
        for one in calibration.conditions:
            _check(one)
        return Qualification(
            calibration,
            str(read["manifest_sha256"]),
            {str(k): str(v) for k, v in read["weights"].items()},
            str(read["made_at"]),
            dict(read["set"]),
            {str(k): dict(v) for k, v in read["figures"].items()},
            {str(k): tuple(map(str, v)) for k, v in read["refusals"].items()},
            tuple(map(str, read["warnings"])),
            tuple(map(str, read["refused"])),
        )
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path.name} is no record of a qualification ({error}). Qualify the detector again."
        ) from error


def _check(one: Condition) -> None:
    numbers = [one.slope, one.intercept, one.threshold, one.false_positive_rate]
    numbers += [one.false_positive_upper, one.true_positive_rate, one.ece]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in numbers):
        raise ValueError("a condition's figure is no number")
    if not isinstance(one.name, str) or not isinstance(one.where, dict):
        raise ValueError("a condition without a name")
