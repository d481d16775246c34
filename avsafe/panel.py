"""The detectors that look at a file: built-in, third-party and the user's own weights, by name.

Extractors that several detectors name run once. A detector that cannot work says why; it takes
nothing else down with it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from avsafe import findings, fusion, plugins
from avsafe.calibration import abstention
from avsafe.errors import AvsafeError, MissingExtra, SandboxFailure, UsageError
from avsafe.media.features import withheld
from avsafe.types import Detector, Evidence, Features, Kind, Media

if TYPE_CHECKING:
    from avsafe.home import Home

_log = logging.getLogger(__name__)
ALL, NONE = "all", "none"
DOMAIN = "domain"


@dataclass(frozen=True)
class Panel:
    """Detectors by name, and those that could not be loaded with the reason."""

    detectors: Mapping[str, Detector]
    missing: Mapping[str, AvsafeError]

    def extractors(self, kind: Kind) -> dict[str, str]:
        """Every extractor that detectors of media of this kind need, under its own target."""
        return {
            target: target
            for one in self.detectors.values()
            if kind in one.kinds
            for target in one.extractors.values()
        }

    def judge(self, media: Media, features: Mapping[str, Features]) -> list[Evidence]:
        """Evidence of each detector for media of this kind, and last what they say together.

        ``features`` by target, as ``extractors`` names them.
        """
        found = [_judged(one, media, features) for one in self._asked(media.kind)]
        found += [findings.failed(f"detector.{name}", why) for name, why in self.missing.items()]
        together = fusion.statement(found)
        return [*found, together] if together else found

    def _asked(self, kind: Kind) -> Iterable[Detector]:
        return (one for one in self.detectors.values() if kind in one.kinds)


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
                detectors[name] = own[name] if name in own else plugins.load("detectors", name)
            except MissingExtra as error:
                missing[name] = error
    return Panel(detectors, missing)


def _own(home: Home | None) -> Mapping[str, Detector]:
    if home is None or not (home.root / "detectors").is_dir():
        return {}
    from avsafe.qualify.store import installed

    return installed(home)


def _judged(one: Detector, media: Media, features: Mapping[str, Features]) -> Evidence:
    source = DOMAIN if one.modality == DOMAIN else f"detector.{one.name}"
    given: dict[str, Features] = {}
    for name, target in one.extractors.items():
        given[name] = features.get(target, {})
        if (reason := withheld(given[name])) is not None:
            return abstention(source, one.modality, reason)
    try:
        return one.judge(given, media)
    except AvsafeError as error:
        failure = error
    except Exception as error:
        # Hostile features, or a fault in a plugin: either way it knows nothing of the file.
        _log.debug("detector %s failed", one.name, exc_info=True)
        failure = SandboxFailure(
            f"{one.name} could not use what it was given ({type(error).__name__})."
        )
    if source == DOMAIN:  # whose failure would say that the file is unreadable
        return abstention(source, one.modality, str(failure))
    return findings.failed(source, failure)
