"""Verification: media goes in, a Verdict with its evidence comes out; never a bluff.

1  pre-scan, before any library sees the file
2  credential, read in the sandbox
3  one decode in the sandbox feeds marks, fingerprint and detectors; keys stay outside
4  marks, correlated with the key; one counts only if the registry knows it and the
   registered fingerprint agrees with the file in hand
5  detectors, each calibrated, each free to abstain
6  one label, from the strongest evidence down (``findings.label_of``)
"""

from __future__ import annotations

from pathlib import Path

from avsafe import findings, media, plugins
from avsafe.errors import UnreadableMedia
from avsafe.pipeline import FINGERPRINT, marks_wanted
from avsafe.types import Detector, Evidence, Media, Verdict, Watermarker
from avsafe.workspace import Lookup


def verify(
    path: Path,
    lookup: Lookup,
    *,
    credential_only: bool = False,
    limits: media.Limits | None = None,
) -> Verdict:
    """What can be said of a file. A bad file raises nothing: ``unreadable`` is a verdict too.

    ``credential_only`` stops after step 2. Raises FileNotFoundError when there is no such file.

    >>> import tempfile
    >>> from avsafe.home import Home
    >>> empty = Path(tempfile.mkdtemp()) / "empty.mp4"
    >>> _ = empty.write_bytes(b"")
    >>> str(verify(empty, Lookup(Home(empty.parent))).label)
    'unreadable'
    """
    limits = limits or media.Limits()
    sha256 = media.sha256_of(path)
    found: list[Evidence] = []
    try:
        media.prescan(path, limits)  # 1
        found.append(findings.credential(path, lookup, limits))  # 2
        if not credential_only:
            found.extend(_examine(media.probe(path, limits=limits), lookup, limits))
    except UnreadableMedia as error:
        found.append(findings.failed("domain", error))
    return Verdict(path, sha256, findings.label_of(found), tuple(found))


def _examine(probed: Media, lookup: Lookup, limits: media.Limits) -> list[Evidence]:
    names = marks_wanted(probed.kind, sound=probed.audio is not None)
    markers: dict[str, Watermarker] = {n: plugins.load("watermarkers", n) for n in names}
    detectors: dict[str, Detector] = {
        n: detector
        for n in plugins.catalogue("detectors")
        if probed.kind in (detector := plugins.load("detectors", n)).kinds
    }
    extractors = {f"watermark.{n}": m.extractor for n, m in markers.items()}
    extractors |= {f"detector.{n}": d.extractor for n, d in detectors.items()}
    features = media.analyse(  # 3
        probed.path, extractors | {"fingerprint": FINGERPRINT}, limits=limits
    )
    if (key := lookup.watermark_key) is None:
        found = [findings.no_key(n) for n in markers]
    else:
        detections = {n: m.detect(features[f"watermark.{n}"], key) for n, m in markers.items()}
        algorithms = {n: m.algorithm for n, m in markers.items()}
        with lookup.registry() as registry:
            found = findings.recovery(  # 4
                detections, algorithms, features["fingerprint"], registry
            )
    found.extend(d.judge(features[f"detector.{n}"]) for n, d in detectors.items())  # 5
    return found
