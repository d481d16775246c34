"""Qualification: what a detector's scores are worth, measured on files that the user knows.

1  files of the three roles, each with its source
2  every file is scored as given, and once more as the world sends it on
3  in each condition: figures, reasons to refuse, a calibration (``judged``)
4  the record, bound to the manifest and so to the weights
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe import media
from avsafe.calibration import Calibration
from avsafe.errors import Cancelled, UnreadableMedia, Unscorable, UsageError
from avsafe.media.features import examine, withheld
from avsafe.qualify import store
from avsafe.qualify.collection import Item, Role, described, gather
from avsafe.qualify.judged import Judged, Scored, judged
from avsafe.qualify.manifest import QUALIFICATION
from avsafe.qualify.nearest import traits
from avsafe.qualify.recoding import AS_GIVEN, RECODED, condition_name, recode
from avsafe.qualify.record import Qualification
from avsafe.types import never_cancelled, no_progress

if TYPE_CHECKING:
    from avsafe.home import Home
    from avsafe.qualify.adapted import Adapted
    from avsafe.types import Cancelled as CancelledPoll
    from avsafe.types import Progress


@dataclass(frozen=True)
class Unread:
    """A file that gave no score in any condition, and why; for the person, not for the record."""

    name: str
    role: Role
    reason: str


@dataclass(frozen=True)
class Outcome:
    """The record that was written, and what is not kept: names of files without a score."""

    qualification: Qualification
    unread: tuple[Unread, ...]


def qualify(
    home: Home,
    name: str,
    real: Path,
    synthetic: Path,
    benign: Path | None = None,
    *,
    progress: Progress = no_progress,
    cancelled: CancelledPoll = never_cancelled,
    limits: media.Limits | None = None,
) -> Outcome:
    """Measure a detector that was added and write its ``qualification.json``, good or bad.

    Raises UsageError for folders or weights that are not as they should be, MissingExtra, and
    Cancelled, after which an earlier record stands as it was.
    """
    detector = store.get(home, name)
    detector.prepare()
    folders: dict[Role, Path] = {"real": real, "synthetic": synthetic}
    items = gather(folders | ({"benign": benign} if benign is not None else {}))  # 1
    rows: list[Scored] = []
    unread: list[Unread] = []
    for place, item in enumerate(items):  # 2
        if cancelled():
            raise Cancelled("The qualification was stopped; nothing was changed.")
        progress(place / len(items), item.role)
        found = list(_scored(detector, item, limits or media.Limits()))
        rows += found
        if all(one.score is None for one in found):
            unread.append(Unread(item.name, item.role, found[0].reason))
    names = sorted({one.condition for one in rows if one.condition}, key=_order)
    measured = [judged(one, [r for r in rows if r.condition == one]) for one in names]  # 3
    if not measured:
        raise UsageError(
            f"No file could be used ({unread[0].name}: {unread[0].reason}). Nothing was changed."
        )
    made = _record(detector, items, measured)
    made.save(store.folder_of(home) / name / QUALIFICATION)  # 4
    progress(1.0, "done")
    return Outcome(made, tuple(unread))


def _order(name: str) -> tuple[str, bool, str]:
    kind, _, coding = name.partition(" as ")
    return kind, coding != AS_GIVEN, coding


def _scored(detector: Adapted, item: Item, limits: media.Limits) -> Iterator[Scored]:
    """As given first; then coded again, unless the file can't be read or is of another kind."""
    first = _score(detector, item, item.path, AS_GIVEN, limits, trusted=False)
    yield first
    if first.kind is None:
        return
    with tempfile.TemporaryDirectory(prefix="avsafe-qualify-") as folder:
        coding = RECODED[first.kind]
        try:
            path = recode(item.path, first.kind, Path(folder), limits=limits)
        except (UnreadableMedia, UsageError) as error:
            yield Scored(item, condition_name(first.kind, coding), first.kind, reason=str(error))
            return
        yield _score(detector, item, path, coding, limits, trusted=True)


def _score(
    detector: Adapted, item: Item, path: Path, coding: str, limits: media.Limits, *, trusted: bool
) -> Scored:
    wanted = detector.adapter.extractors
    try:
        seen, features = examine(
            path,
            dict.fromkeys(detector.manifest.kinds, wanted),
            trusted=trusted,
            limits=limits,
            spared=tuple(wanted),
        )
    except UnreadableMedia as error:
        return Scored(item, "", None, reason=str(error))
    if seen.kind not in detector.manifest.kinds:
        kinds = ", ".join(map(str, detector.manifest.kinds))
        return Scored(item, "", None, reason=f"it is {seen.kind}; the detector looks at {kinds}")
    condition = condition_name(seen.kind, coding)
    about = traits(seen, detector.modality)
    for name in wanted:
        if (reason := withheld(features.get(name, {}))) is not None:
            return Scored(item, condition, seen.kind, about, reason=reason)
    try:
        score = detector.raw(features, seen)
    except (KeyError, ValueError, Unscorable) as error:
        return Scored(item, condition, seen.kind, about, reason=f"its features are odd ({error})")
    if isinstance(score, str):
        return Scored(item, condition, seen.kind, about, reason=score)
    return Scored(item, condition, seen.kind, about, score)


def _record(detector: Adapted, items: list[Item], measured: Sequence[Judged]) -> Qualification:
    manifest = detector.manifest
    about = described(items)
    identity = f"{manifest.digest}\n{about['sha256']}".encode()
    good = [one for one in measured if one.condition is not None and not one.refusals]
    refused: tuple[str, ...] = ()
    if not good:
        said = [f"{one.name}: {why}" for one in measured for why in one.refusals]
        refused = tuple(said) or ("no file could be scored",)
    return Qualification(
        calibration=Calibration(
            detector.name,
            manifest.modality,
            f"qualified-{hashlib.sha256(identity).hexdigest()[:16]}",
            tuple(one.condition for one in measured if one.condition is not None),
        ),
        manifest_sha256=manifest.digest,
        weights=manifest.digests(),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        collection=about,
        figures={one.name: one.figures for one in measured},
        refusals={one.name: one.refusals for one in measured},
        warnings=(*_missing(about), *dict.fromkeys(w for one in measured for w in one.warnings)),
        refused=refused,
    )


def _missing(about: Mapping[str, Any]) -> tuple[str, ...]:
    if about["benign"]["files"]:
        return ()
    return ("no benign files were given: what it makes of other kinds of real media is not known",)
