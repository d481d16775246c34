"""The detectors that look at a file: built-in, third-party and the user's own weights, by name.

Extractors that several detectors name run once. A detector that cannot work says why; it takes
nothing else down with it.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from avsafe import findings, fusion, plugins
from avsafe.calibration import abstention
from avsafe.errors import AvsafeError, LimitExceeded, SandboxFailure, UsageError
from avsafe.media.features import examine, withheld, withholding
from avsafe.media.sandbox import check_target
from avsafe.types import Detector, Evidence, EvidenceStatus, Features, Kind, Media

if TYPE_CHECKING:
    from pathlib import Path

    from avsafe.home import Home
    from avsafe.media import Limits

_log = logging.getLogger(__name__)
ALL, NONE = "all", "none"
DOMAIN = "domain"
# What a plugin may raise: a program that ends itself must not end the verification either.
_ANYTHING = (Exception, SystemExit)
_JUDGED = (EvidenceStatus.PRESENT, EvidenceStatus.ABSENT)


@dataclass(frozen=True)
class Panel:
    """Detectors by name, and those that could not be loaded with the reason."""

    detectors: Mapping[str, Detector]
    missing: Mapping[str, AvsafeError]
    named: frozenset[str] = frozenset()  # asked for by name: of these a word is owed

    def extractors(self, kind: Kind) -> dict[str, str]:
        """Every extractor that detectors of media of this kind need, under its own target."""
        return {
            target: target
            for one in self.detectors.values()
            if kind in one.kinds
            for target in one.extractors.values()
        }

    def examine(
        self, path: Path, own: Mapping[Kind, Mapping[str, str]], limits: Limits
    ) -> tuple[Media, dict[str, Features]]:
        """``media.features.examine`` for the extractors ``own`` and for those of the detectors.

        Where both together take more than is allowed, the detectors do without: what else can be
        known of the file must not be lost to them.
        """
        passive = {kind: self.extractors(kind) for kind in own}
        spared = {target for targets in passive.values() for target in targets}
        both = {kind: {**targets, **passive[kind]} for kind, targets in own.items()}
        try:
            return examine(path, both, limits=limits, spared=spared)
        except LimitExceeded as error:
            if not spared:
                raise
            media, features = examine(path, own, limits=limits)
            none = withholding(f"detectors took more than is allowed for one file ({error})")
            return media, features | dict.fromkeys(spared, none)

    def judge(self, media: Media, features: Mapping[str, Features]) -> list[Evidence]:
        """Evidence of each detector for media of this kind, and last what they say together.

        ``features`` by target, as ``extractors`` names them.
        """
        found = [
            _judged(name, one, media, features)
            if media.kind in one.kinds
            else abstention(f"detector.{name}", one.modality, _other(media.kind, one.kinds))
            for name, one in self.detectors.items()
            if media.kind in one.kinds or name in self.named
        ]
        found += [findings.failed(f"detector.{name}", why) for name, why in self.missing.items()]
        together = fusion.statement(found)
        return [*found, together] if together else found


def convene(names: Iterable[str] = (ALL,), home: Home | None = None) -> Panel:
    """The detectors of these names: "all", "none", or some. The domain gate is always heard when
    there is another. ``home`` holds the user's own.

    Raises UsageError when no detector has a name.

    >>> convene(["none"]).extractors(Kind.IMAGE)
    {}
    """
    wanted = set(names)
    if wanted == {NONE}:
        return Panel({}, {})
    if NONE in wanted:
        raise UsageError('"none" leaves every detector out: name no other beside it.')
    own = _own(home)
    known = {**dict.fromkeys(plugins.catalogue("detectors")), **own}
    if unknown := sorted(wanted - {ALL, *known}):
        raise UsageError(
            f"No detector {', '.join(unknown)} (found: {', '.join(known) or 'none is installed'}). "
            'Take "all", "none", or names from: avsafe detectors list.'
        )
    detectors: dict[str, Detector] = {}
    missing: dict[str, AvsafeError] = {}
    for name in sorted(known, key=lambda n: (n != DOMAIN, n)):
        if ALL in wanted or name in wanted or name == DOMAIN:
            try:
                one = own[name] if name in own else plugins.load("detectors", name)
                _check(name, one)
            except AvsafeError as error:
                missing[name] = error
            except _ANYTHING as error:
                _log.debug("detector %s is broken", name, exc_info=True)
                missing[name] = AvsafeError(
                    f"The plugin is broken: it raised {type(error).__name__} when it was loaded. "
                    "Update it, or leave it out with --detectors NAMES."
                )
            else:
                detectors[name] = one
    return Panel(detectors, missing, frozenset(wanted - {DOMAIN}))


def _other(kind: Kind, kinds: Iterable[Kind]) -> str:
    """
    >>> _other(Kind.IMAGE, (Kind.AUDIO, Kind.VIDEO))
    'this is a file of kind image; it needs audio or video'
    """
    return f"this is a file of kind {kind}; it needs {' or '.join(kinds)}"


def _check(name: str, one: Any) -> None:
    """Raises UsageError for a plugin that does not say what ``types.Detector`` asks of it."""
    kinds, modality, extractors = one.kinds, one.modality, one.extractors
    if not isinstance(kinds, tuple | list) or not all(isinstance(kind, Kind) for kind in kinds):
        wrong = "kinds are not a tuple of types.Kind"
    elif not isinstance(modality, str) or (modality == DOMAIN) != (name == DOMAIN):
        wrong = f'modality is {modality!r}; expected a text, and "domain" of the domain gate alone'
    elif not isinstance(extractors, Mapping):
        wrong = "extractors are no mapping"
    elif not all(isinstance(t, str) and t.isprintable() for t in extractors.values()):
        wrong = 'extractors are not named "module:Class"'
    else:
        for target in extractors.values():
            check_target(target)
        return
    raise UsageError(f"The plugin is broken: its {wrong}.")


def _own(home: Home | None) -> Mapping[str, Detector]:
    if home is None or not (home.root / "detectors").is_dir():
        return {}
    from avsafe.qualify.store import installed

    return installed(home)


def _judged(name: str, one: Detector, media: Media, features: Mapping[str, Features]) -> Evidence:
    source = DOMAIN if name == DOMAIN else f"detector.{name}"
    given: dict[str, Features] = {}
    try:
        for own, target in one.extractors.items():
            given[own] = features.get(target, {})
            if (reason := withheld(given[own])) is not None:
                return abstention(source, one.modality, reason)
        found = one.judge(given, media)
        if (wrong := _unfit(found, source)) is None:
            return found
        failure: AvsafeError = SandboxFailure(f"{name} gave an answer that counts as none: {wrong}")
    except AvsafeError as error:
        failure = error
    except _ANYTHING as error:
        # Hostile features, or a fault in a plugin: either way it knows nothing of the file.
        _log.debug("detector %s failed", name, exc_info=True)
        failure = SandboxFailure(
            f"{name} could not use what it was given ({type(error).__name__})."
        )
    if source == DOMAIN:  # whose failure would say that the file is unreadable
        return abstention(source, DOMAIN, str(failure))
    return findings.failed(source, failure)


def _unfit(found: Any, source: str) -> str | None:
    """Why an answer is no evidence of ``source``: a plugin may neither speak for another, and so
    set the label, nor say a number without having judged."""
    if not isinstance(found, Evidence) or not isinstance(found.details, Mapping):
        return f"it is {type(found).__name__}, not types.Evidence."
    if found.source != source:
        return f"its source is {found.source!r}, not {source!r}."
    numbers = (found.probability, found.llr)
    if not isinstance(found.status, EvidenceStatus) or found.status is EvidenceStatus.INVALID:
        return f"its status is {found.status!r}."
    if source == DOMAIN and found.status is EvidenceStatus.FAILED:
        return found.summary
    if not isinstance(found.summary, str) or not found.summary.strip():
        return "it says nothing."
    if numbers != (None, None) and (found.status not in _JUDGED or not all(map(_number, numbers))):
        return f"its numbers do not go with its status: {numbers}, {found.status}."
    if found.probability is not None and not 0 <= found.probability <= 1:
        return f"its probability is {found.probability}."
    try:
        json.dumps(dict(found.details))
    except (TypeError, ValueError, RecursionError) as error:
        return f"its details are no plain JSON ({error})."
    return None


def _number(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value)
