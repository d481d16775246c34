"""A user's weights as a detector of the panel."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from avsafe.calibration import abstention, evidence
from avsafe.errors import AvsafeError, MissingExtra, UsageError
from avsafe.qualify import record
from avsafe.qualify.adapter import DetectorAdapter, Model, adapter_of
from avsafe.qualify.manifest import QUALIFICATION, Manifest
from avsafe.qualify.nearest import nearest, traits
from avsafe.qualify.record import Qualification
from avsafe.types import Evidence, Features, Kind, Media

_FOUND = {
    "speech": ("The voice has signs of synthesis", "The voice has no sign of synthesis"),
    "image": ("The picture has signs of synthesis", "The picture has no sign of synthesis"),
    "video": ("The pictures have signs of synthesis", "The pictures have no sign of synthesis"),
    "audio-visual": (
        "Sound and picture have signs of synthesis",
        "Sound and picture have no sign of synthesis",
    ),
}


class Adapted:
    """A ``types.Detector`` from a folder with a manifest.

    Nothing raises until ``judge``: a broken folder takes no other detector down. One that is not
    qualified names no extractors, so that it costs nothing while the file is decoded.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder
        self._prepared = False

    @cached_property
    def model(self) -> Model:
        """Raises UsageError."""
        found = Model.load(self._folder)
        if found.manifest.name != self.name:
            raise UsageError(
                f"The manifest in the folder {self.name!r} is of {found.manifest.name!r}. Remove "
                "the folder and add the detector again."
            )
        return found

    @cached_property
    def adapter(self) -> DetectorAdapter:
        """Raises UsageError or MissingExtra."""
        return adapter_of(self.model)

    @cached_property
    def qualification(self) -> Qualification | None:
        """None when it was never qualified. Raises UsageError when the record is damaged."""
        return record.load(self._folder / QUALIFICATION)

    @property
    def manifest(self) -> Manifest:
        return self.model.manifest

    @cached_property
    def problem(self) -> AvsafeError | None:
        """Why it can't work at all: its manifest, its record, or its adapter."""
        try:
            if self.qualification is not None and self.reason is None:
                _ = self.adapter
            _ = self.manifest
        except AvsafeError as error:
            return error
        return None

    @cached_property
    def reason(self) -> str | None:
        """Why it may not speak yet, or at all; None when some condition is good."""
        found = self.qualification
        command = f"run: avsafe detectors qualify {self.name} --real FOLDER --synthetic FOLDER"
        if found is None:
            return f"these weights were not qualified on this machine; {command}"
        if not found.fits(self.manifest):
            return f"its manifest was changed after it was qualified; {command}"
        if not found.usable:
            why = "; ".join(found.refused) or "no condition was good enough"
            return f"it was refused when it was qualified: {why}"
        return None

    @property
    def status(self) -> str:
        """qualified | refused | not qualified | broken."""
        if self.problem is not None:
            return "broken"
        if self.reason is None:
            return "qualified"
        known = self.qualification is not None and self.qualification.fits(self.manifest)
        return "refused" if known else "not qualified"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return tuple(Kind) if self.problem is not None else self.manifest.kinds

    @property
    def modality(self) -> str:
        try:
            return self.manifest.modality
        except AvsafeError:
            return "unknown"

    @property
    def extractors(self) -> Mapping[str, str]:
        if self.problem is not None or self.reason is not None:
            return {}
        return self.adapter.extractors

    def prepare(self) -> None:
        """Read the weights, digest checked. Raises UsageError or MissingExtra."""
        if not self._prepared:
            self.adapter.prepare()
            self._prepared = True

    def raw(self, features: Mapping[str, Features], media: Media) -> float | str:
        """The score, higher for synthetic, or the reason why there is none.

        Raises what hostile features may raise (KeyError, ValueError), UsageError, MissingExtra.
        """
        self.prepare()
        found = self.adapter.score(features, media)
        if isinstance(found, str):
            return found
        value = float(found) * self.manifest.sign
        return value if abs(value) < 1e12 else "the network gave no usable number for it"

    def judge(self, features: Mapping[str, Features], media: Media) -> Evidence:
        """Calibrated evidence by the nearest condition, or an abstention.

        Raises UsageError for a broken manifest, record or weights (another digest), MissingExtra.
        """
        if self.problem is not None and not isinstance(self.problem, MissingExtra):
            raise self.problem
        source = f"detector.{self.name}"
        missing = None if self.problem is None else str(self.problem)
        if (reason := self.reason or missing) is not None:
            return abstention(source, self.modality, reason)
        known = self.qualification
        assert known is not None  # noqa: S101  (reason is None)
        condition, far, why = nearest(traits(media, self.modality), known.calibration.conditions)
        if condition is None:
            return abstention(source, self.modality, why, self._details())
        if said := known.refusals.get(condition.name):
            why = f"on {condition.name} it was refused when it was qualified: {'; '.join(said)}"
            return abstention(source, self.modality, why, self._details())
        score = self.raw(features, media)
        if isinstance(score, str):
            return abstention(source, self.modality, score, self._details())
        present, absent = _FOUND[self.modality]
        return evidence(
            known.calibration,
            condition,
            score,
            present=f"{present} (by {self.manifest.title or self.name})",
            absent=f"{absent} (by {self.manifest.title or self.name})",
            distance=far,
            details=self._details(),
        )

    def _details(self) -> dict[str, Any]:
        return {
            "weights": self.manifest.digests(),
            "adapter": self.manifest.adapter,
            "licence": self.manifest.licence,
            "commercial_ok": self.manifest.commercial_ok,
        }
