"""Verification: media goes in, a Verdict with its evidence comes out; never a bluff.

1  pre-scan, before any library sees the file
2  credential, read in the sandbox
3  one decode in the sandbox feeds marks, fingerprint and detectors; keys stay outside
4  marks, correlated with the key; one counts only if the registry knows it and the
   registered fingerprint agrees with the file in hand
5  detectors, each calibrated, each free to abstain; what they say together (``fusion``)
6  one label, from the strongest evidence down (``findings.label_of``)
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from avsafe import findings, media, panel, plugins
from avsafe.errors import UnreadableMedia
from avsafe.pipeline import FINGERPRINT, MARKS_OF_KIND, marks_wanted
from avsafe.types import Evidence, Progress, Verdict, Watermarker, no_progress
from avsafe.watermark import keyring
from avsafe.workspace import Lookup


def verify(
    path: Path,
    lookup: Lookup,
    *,
    credential_only: bool = False,
    detectors: Iterable[str] = (panel.ALL,),
    limits: media.Limits | None = None,
    progress: Progress = no_progress,
) -> Verdict:
    """What can be said of a file. A bad file raises nothing: ``unreadable`` is a verdict too.

    ``credential_only`` stops after step 2. ``detectors`` are "all", "none", or names of detectors.
    Raises FileNotFoundError when there is no such file, UsageError when no detector has a name.

    >>> import tempfile
    >>> from avsafe.home import Home
    >>> empty = Path(tempfile.mkdtemp()) / "empty.mp4"
    >>> _ = empty.write_bytes(b"")
    >>> str(verify(empty, Lookup(Home(empty.parent))).label)
    'unreadable'
    """
    limits = limits or media.Limits()
    heard = panel.convene(detectors, lookup.home)
    sha256 = media.sha256_of(path)
    found: list[Evidence] = []
    try:
        media.prescan(path, limits)  # 1
        progress(0.0, "credential")
        found.append(findings.credential(path, lookup, limits))  # 2
        if not credential_only:
            found.extend(_examine(path, lookup, heard, limits, progress))
    except UnreadableMedia as error:
        found.append(findings.failed("domain", error))
    return Verdict(path, sha256, findings.label_of(found), tuple(found))


def _examine(
    path: Path, lookup: Lookup, heard: panel.Panel, limits: media.Limits, progress: Progress
) -> list[Evidence]:
    markers: dict[str, Watermarker] = {
        n: plugins.load("watermarkers", n) for n in sorted({*chain(*MARKS_OF_KIND.values())})
    }
    extractors = {
        kind: {f"watermark.{n}": markers[n].extractor for n in names} | {"fingerprint": FINGERPRINT}
        for kind, names in MARKS_OF_KIND.items()
    }
    progress(0.1, "sandbox")
    probed, features = heard.examine(path, extractors, limits)  # 3
    progress(0.8, "marks")
    names = marks_wanted(probed.kind, sound=probed.audio is not None)
    if not (keys := lookup.watermark_keys):
        found = [findings.no_key(n) for n in names]
    else:
        detections = {
            n: keyring.detect(markers[n], features[f"watermark.{n}"], keys) for n in names
        }
        algorithms = {n: markers[n].algorithm for n in names}
        progress(0.9, "fingerprint")
        with lookup.registry() as registry:
            found = findings.recovery(  # 4
                detections, algorithms, features["fingerprint"], registry
            )
    progress(0.95, "detectors")
    return [*found, *heard.judge(probed, features)]  # 5
