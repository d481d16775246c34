"""Safety beside quality: what the gate left in a clip, what is found of it again, what it cost.

The columns have the form of a metric's (``info``), so that they stand in one table with quality.
They are not measured in the metrics' pass: a credential is in the file and not in its frames, and
keys stay out of the process that decodes (``avsafe.verify``).

1. the clip as it is: credential, marks, detectors
2. the same after H.264 CRF 28 and AAC 96 kbit/s, without its credential: the marks again
3. what the gate noted when it made the clip: quality of the marks, CPU-seconds
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Literal

from avsafe import media, plugins
from avsafe.bench.work import ROLE, Made, Work
from avsafe.errors import AvsafeError
from avsafe.findings import VALID
from avsafe.media import EncodeSpec
from avsafe.metering import Measured
from avsafe.pipeline import MARKS_OF_KIND
from avsafe.types import Column, Evidence, EvidenceStatus, Kind, Label, MetricInfo, Value, Verdict
from avsafe.verify import verify
from avsafe.workspace import Lookup

NAME = "safety"
RECODED = EncodeSpec(crf=28, preset="medium", audio_kbps=96)  # what a platform makes of an upload
_NOT_OURS = "the clip carries no mark of this installation"
_NOT_MADE = "the gate did not make this clip"


def _yes_no(name: str, summary: str, better: Literal["higher", "none"] = "higher") -> Column:
    return Column(name, "", better, summary, 0, 1, yes_no=True)


_COLUMNS = (
    Column("mark_psnr_db", "dB", "higher",
           "pictures with their mark against those without, before coding, mean over frames"),
    Column("mark_snr_db", "dB", "higher", "sound against what its mark adds, before coding"),
    _yes_no("recovered",
            "1 when the picture's mark (for sound alone: the sound's) leads to its release"),
    _yes_no("recovered_sound", "1 when the sound's mark leads to its release"),
    _yes_no("recovered_crf28", "as recovered, after H.264 CRF 28 and without credential"),
    _yes_no("recovered_sound_aac96",
            "as recovered_sound, after AAC 96 kbit/s and without credential"),
    _yes_no("credential", "1 when its C2PA credential is valid"),
    _yes_no("declared", "1 when a valid credential says that it is AI-made"),
    _yes_no("visible_label", "1 when the policy had a label burnt into the picture", "none"),
    Column("gate_cpu_s", "s", "lower",
           "CPU-seconds of the gate beside the generator: decision, coding with marks, signing", 0),
    Column("gate_share", "", "lower", "the gate's part of all CPU-seconds of the clip", 0, 1),
)  # fmt: skip


def info() -> MetricInfo:
    """The columns, with one for each detector that is installed.

    >>> info().score_name(info().columns[0])
    'safety.mark_psnr_db'
    """
    detectors = tuple(
        Column(f"detector_{name}", "", "none", f"what {name} takes as the probability of AI", 0, 1)
        for name in plugins.catalogue("detectors")
    )
    return MetricInfo(
        name=NAME,
        version="1",
        title="Marks, credential and detectors",
        columns=(*_COLUMNS, *detectors),
        wants=(),
        family="safety",
        source="avsafe.verify; docs/watermark.md, docs/provenance.md",
    )


def measure(work: Work, lookup: Lookup, *, recode: bool = True) -> Measured:
    """A number or a reason for every column of ``info``; nothing is raised for a bad clip.

    ``recode`` makes step 2, which costs an encoding and a second verification. A clip in which step
    1 finds no mark of ours is not coded again, unless the gate made it.
    """
    began = _cpu_s()
    described = info()
    found: dict[str, Value] = {}
    path, made = work.sample.media.get(ROLE), _vouched(work.made, lookup)
    if work.problem is not None or path is None:
        found = dict.fromkeys((c.name for c in described.columns), work.problem or "no clip")
    else:
        try:
            found = _of_file(path, made, lookup, recode=recode) | _noted(made)
        except (AvsafeError, OSError) as error:
            found = dict.fromkeys((c.name for c in described.columns), str(error))
            found |= _noted(made)
    values = {
        described.score_name(c): found.get(c.name, "not looked for") for c in described.columns
    }
    return Measured(values, cpu_s=_cpu_s() - began)


def _vouched(made: Made | None, lookup: Lookup) -> Made | None:
    """The note beside a clip, where our registry knows the release: anybody can write a note."""
    if made is None:
        return None
    with lookup.registry() as registry:
        known = registry is not None and registry.get(made.release_id) is not None
    return made if known else None


# ---------------------------------------------------------------- 1 and 2 the file


def _of_file(path: Path, made: Made | None, lookup: Lookup, *, recode: bool) -> dict[str, Value]:
    kind = media.probe(path).kind
    verdict = verify(path, lookup)
    by_source = {evidence.source: evidence for evidence in verdict.evidence}
    broken = by_source.get("domain")
    if broken is not None and broken.status is EvidenceStatus.FAILED:
        return dict.fromkeys((c.name for c in info().columns), broken.summary)
    main = MARKS_OF_KIND[kind][0]
    found: dict[str, Value] = {
        "credential": _credential(by_source["credential"]),
        "declared": float(verdict.label is Label.SYNTHETIC_DECLARED),
        "recovered": _recovered(verdict, main, made),
        "recovered_sound": _recovered(verdict, "audio", made),
    }
    found |= {
        f"detector_{name}": _judged(by_source.get(f"detector.{name}"))
        for name in plugins.catalogue("detectors")
    }
    coded = "recovered_crf28", "recovered_sound_aac96"
    if kind is Kind.IMAGE:
        return found | dict.fromkeys(coded, "it is a still picture")
    if not recode:
        return found | dict.fromkeys(coded, "it was not asked for")
    if made is None and not any(found[name] == 1.0 for name in ("recovered", "recovered_sound")):
        return found | dict.fromkeys(coded, _NOT_OURS)
    again = recoded(path, lookup)
    picture = _recovered(again, main, made) if kind is Kind.VIDEO else "the clip has no pictures"
    return found | {
        "recovered_crf28": picture,
        "recovered_sound_aac96": _recovered(again, "audio", made),
    }


def recoded(path: Path, lookup: Lookup) -> Verdict:
    """The verdict on a copy that is coded again (``RECODED``) and has lost its credential."""
    with tempfile.TemporaryDirectory(prefix="avsafe-bench-") as folder:
        copy = Path(folder) / "copy.mp4"
        media.encode(media.decode(path), copy, RECODED)
        return verify(copy, lookup, detectors=("none",))


def _credential(evidence: Evidence) -> Value:
    if evidence.status in (EvidenceStatus.FAILED, EvidenceStatus.ABSTAINED):
        return evidence.summary
    return float(evidence.details.get("status") in VALID)


def _recovered(verdict: Verdict, mark: str, made: Made | None) -> Value:
    """1 when the mark leads to a release of ours (to its own, when we made the clip)."""
    evidence = next((e for e in verdict.evidence if e.source == f"watermark.{mark}"), None)
    if evidence is None:
        return f"the clip has no {'sound' if mark == 'audio' else 'pictures'}"
    if evidence.status in (EvidenceStatus.FAILED, EvidenceStatus.ABSTAINED):
        return evidence.summary
    if made is not None and mark not in {_place(entry) for entry in made.marks}:
        return f"the gate put no {mark} mark into it"
    if evidence.details.get("recovered"):
        return float(made is None or evidence.details.get("release_id") == made.release_id)
    return 0.0 if made is not None else _NOT_OURS


def _place(mark: Mapping[str, object]) -> str:
    return str(mark.get("modality"))


def _judged(evidence: Evidence | None) -> Value:
    if evidence is None:
        return "the detector is for other kinds of media"
    if evidence.status in (EvidenceStatus.FAILED, EvidenceStatus.ABSTAINED):
        return f"abstained: {evidence.summary}"
    if evidence.probability is None:
        return "the detector gives no probability"
    return float(evidence.probability)


# ---------------------------------------------------------------- 3 what the gate noted


def _noted(made: Made | None) -> dict[str, Value]:
    if made is None:
        names = ("mark_psnr_db", "mark_snr_db", "visible_label", "gate_cpu_s", "gate_share")
        return dict.fromkeys(names, _NOT_MADE)
    found: dict[str, Value] = {}
    for name, key, what in (
        ("mark_psnr_db", "psnr_db", "pictures"),
        ("mark_snr_db", "snr_db", "sound"),
    ):
        values = [mark.get(key) for mark in made.marks if mark.get(key) is not None]
        found[name] = float(str(values[0])) if values else f"the gate marked no {what}"
    found["visible_label"] = float("visible_label" in made.details)
    steps = {step: cost for step, cost in made.cost.items() if step != "total_cpu_s"}
    total, gate = sum(steps.values()), sum(c for step, c in steps.items() if step != "generate")
    found["gate_cpu_s"] = gate
    found["gate_share"] = gate / total if total > 0 else "the gate noted no cost"
    return found


def _cpu_s() -> float:
    children = getrusage(RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
