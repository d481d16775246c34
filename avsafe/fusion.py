"""What several detectors say together: capped log-likelihood ratios, conflicts, one statement.

Detectors of one modality look at the same samples or pixels: they count as one, with the mean of
their ratios. Modalities are added, the strongest in full and each further one at ``SHARE``, since a
file that is unusual in one way is often unusual in others (recorded on one phone, sent through one
platform). Passive evidence alone reaches ``synthetic-suspected`` and never more, and that only with

1. a detector above its threshold in a measured condition with at most 1 % false alarms, and
2. at least ``ENOUGH`` left after all that speaks against it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from avsafe.calibration import ALARM_RATE, CAP, PRIOR, probability
from avsafe.findings import FUSED
from avsafe.types import Evidence, EvidenceStatus

SHARE = 0.7  # of a further modality's ratio
ENOUGH = math.log(10)  # 10 to 1 left in the sum; with the cap of 20 to 1 one modality may do
CONFLICT = 1.0  # |llr| on both sides at which two detectors are said to disagree


@dataclass(frozen=True)
class Fused:
    """``llr`` of all, ``by_modality``, who was above a threshold, and who disagrees with whom."""

    llr: float
    by_modality: dict[str, float] = field(default_factory=dict)
    flagged: tuple[str, ...] = ()  # above the threshold, false alarms at most 1 %
    weak: tuple[str, ...] = ()  # above a threshold whose false alarms are not known to be so few
    conflicts: tuple[tuple[str, str], ...] = ()

    @property
    def suspects(self) -> bool:
        return bool(self.flagged) and self.llr >= ENOUGH


def usable(evidence: Evidence) -> bool:
    """Whether a detector judged, calibrated, and says where it was measured."""
    return (
        evidence.source.startswith("detector.")
        and evidence.status in (EvidenceStatus.PRESENT, EvidenceStatus.ABSENT)
        and evidence.calibration_id is not None
        and evidence.llr is not None
        and math.isfinite(evidence.llr)
        and isinstance(evidence.details.get("modality"), str)
        and _false_alarms(evidence) is not None
    )


def fuse(evidence: Iterable[Evidence]) -> Fused:
    """Put together what ``usable`` detectors say; the others have no part in it.

    >>> fuse([]).llr
    0.0
    """
    parts: dict[str, list[tuple[str, float]]] = defaultdict(list)
    flagged: list[str] = []
    weak: list[str] = []
    for item in filter(usable, evidence):
        llr = max(-CAP, min(CAP, item.llr or 0.0))
        parts[item.details["modality"]].append((item.source, llr))
        if item.status is EvidenceStatus.PRESENT:
            few = (_false_alarms(item) or 0.0) <= ALARM_RATE
            (flagged if few else weak).append(item.source)
    by_modality = {name: sum(v for _, v in said) / len(said) for name, said in parts.items()}
    ordered = sorted(by_modality.values(), key=abs, reverse=True)
    total = sum((v * (SHARE if rank else 1.0) for rank, v in enumerate(ordered)), 0.0)
    every = [one for said in parts.values() for one in said]
    conflicts = tuple(
        (a, b) for a, up in every for b, down in every if up >= CONFLICT and down <= -CONFLICT
    )
    return Fused(total, by_modality, tuple(flagged), tuple(weak), conflicts)


def statement(evidence: Iterable[Evidence]) -> Evidence | None:
    """The fused evidence in plain words, of source ``detectors``; None when no detector ran."""
    asked = [e for e in evidence if e.source.startswith("detector.")]
    if not asked:
        return None
    fused = fuse(asked)
    judged = [e.source for e in asked if usable(e)]
    silent = [e.source for e in asked if e.source not in judged]
    details: dict[str, Any] = {
        "judged": judged,
        "abstained": silent,
        "flagged": list(fused.flagged),
        "weak": list(fused.weak),
        "conflicts": [list(pair) for pair in fused.conflicts],
        "by_modality": fused.by_modality,
        "prior": PRIOR,
    }
    if not judged:
        return Evidence(
            FUSED,
            EvidenceStatus.ABSTAINED,
            "No detector could judge this media: they say nothing about its origin.",
            details=details,
        )
    return Evidence(
        FUSED,
        EvidenceStatus.PRESENT if fused.suspects else EvidenceStatus.ABSENT,
        _said(fused, len(judged), len(asked)),
        probability=probability(fused.llr),
        llr=fused.llr,
        details=details,
    )


def _said(fused: Fused, judged: int, asked: int) -> str:
    part = f"{judged} of {asked} detector{'s' if asked > 1 else ''} could judge"
    against = ""
    if fused.conflicts:
        pairs = "; ".join(f"{_name(a)} against {_name(b)}" for a, b in fused.conflicts)
        against = f" They disagree: {pairs}."
    if fused.suspects:
        return f"Signs of synthesis, by {_names(fused.flagged)} ({part}): review it.{against}"
    if fused.flagged or fused.weak:
        return (
            f"Some signs of synthesis, by {_names((*fused.flagged, *fused.weak))} ({part}), not "
            f"enough to suspect it.{against}"
        )
    return f"No signs of synthesis ({part}); that does not mean that it is not AI-made.{against}"


def _names(sources: Iterable[str]) -> str:
    return ", ".join(map(_name, sources))


def _name(source: str) -> str:
    return source.removeprefix("detector.")


def _false_alarms(evidence: Evidence) -> float | None:
    condition = evidence.details.get("condition")
    rate = condition.get("fpr") if isinstance(condition, dict) else None
    if isinstance(rate, float | int) and not isinstance(rate, bool) and 0 <= rate <= 1:
        return float(rate)
    return None
