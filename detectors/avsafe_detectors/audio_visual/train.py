"""``python -m avsafe_detectors.audio_visual.train --media DIR --folds DIR --cache DIR``: fits the
score and its calibration.

1. features of every clip with sound, as the sandbox extracts them (kept under CACHE)
2. each stretch of 3, 6 and up to 12 s with its own sound, the sound moved, and others' sounds,
   judged by lip-sync networks that have not seen the person (FOLDS: what
   ``python -m avsafe_metrics.sync.lip_sync.train --media DIR --out FOLDS`` writes)
3. the score: a logistic mean of three figures, fitted without the person; then with everybody
4. calibration by length on the scores of 3; protocol cells

Writes weights/audio_visual.safetensors, weights/calibration.json, and with ``--protocol FILE`` the
out-of-fold scores. Deterministic.

Legend: ``n`` rows (a stretch with one sound), ``y`` 1 where the sound is not the lips'.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.calibration import ALARM_RATE, CAP, Calibration, Condition, fit, platt, probability
from avsafe_detectors.audio_visual import clips, detector, pairs
from avsafe_detectors.audio_visual.clips import Source
from avsafe_detectors.audio_visual.events import voiced_share
from avsafe_detectors.audio_visual.lips import Talk
from avsafe_detectors.audio_visual.pairs import Row
from avsafe_detectors.audio_visual.protocol import write

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F64 = NDArray[np.float64]

log = logging.getLogger(__name__)
FORMS = ("as is", "crf35")
NAMES = {3.0: "a face speaking for 3 s", 6.0: "a face speaking for 6 s",
         12.0: "a face speaking for 7 s or more"}  # fmt: skip
SECONDS = {3.0: 3.0, 6.0: 6.0, 12.0: 10.0}
RIDGE = 1e-2


def talks(media: Path, cache: Path, form: str) -> list[tuple[Source, Talk]]:
    """Clips with sound: films, and crops of what is no film here."""
    out: dict[str, tuple[Source, Talk]] = {}
    for source in clips.sources(media, crops=form == "as is"):
        talk = Talk.of(clips.features(source, cache, form))
        if talk.sound.size and source.name not in out:
            out[source.name] = (source, talk)
    return [out[name] for name in sorted(out)]


def gated(media: Path, cache: Path) -> dict[str, str]:
    """Film -> why the detector does not judge it, whatever the lips do. Crops have no film here."""
    out = {}
    for source in clips.sources(media, crops=False):
        sound = Talk.of(clips.features(source, cache)).sound
        if not sound.size:
            continue
        reason = detector.gate(*clips.about(source, cache), voiced_share(sound))
        if reason is not None:
            out[source.name] = reason
    return out


def counts(row: Row) -> bool:
    """Whether a row with its own sound may stand for "in sync": by where the clip is from, never by
    its score. Inputs of dubbing demonstrations may have another's sound."""
    return row.kind != "own" or row.source.family != "real" or row.source.certain


def learned(x: F64, y: NDArray[np.bool_], people: Sequence[str]) -> F64:
    """(4,) weights of a logistic regression, every person and both classes the same in sum; signs
    are kept to what the figures mean."""
    from scipy.optimize import minimize

    of = np.asarray(people)
    weight = np.zeros(len(y))
    for label in (False, True):
        for person in np.unique(of[y == label]):
            mine = (of == person) & (y == label)
            weight[mine] = 1 / mine.sum() / len(np.unique(of[y == label]))
    mean, spread = x.mean(0), x.std(0) + 1e-9
    z, sign = (x - mean) / spread, np.where(y, 1.0, -1.0)

    def loss(w: F64) -> tuple[float, F64]:
        margin = sign * (z @ w[:3] + w[3])
        pull = -weight * sign / (1 + np.exp(np.clip(margin, -50, 50)))
        value = float((weight * np.logaddexp(0, -margin)).sum() + RIDGE * np.square(w[:3]).sum())
        return value, np.append(z.T @ pull + 2 * RIDGE * w[:3], pull.sum())

    bounds = [(None, 0.0), (0.0, None), (None, 0.0), (None, None)]  # sync lowers, p raises
    w = minimize(loss, np.zeros(4), jac=True, bounds=bounds).x
    slopes = w[:3] / spread
    return np.append(slopes, w[3] - slopes @ mean)


def out_of_fold(rows: Sequence[Row]) -> tuple[F64, F64]:
    """Scores (n,) by weights that were fitted without the row's person, and weights of all."""
    x = np.stack([detector.figures(r.found) for r in rows if r.found])
    y = np.array([r.kind != "own" for r in rows])
    people = np.array([r.source.fold_person for r in rows])
    used = np.array([counts(r) for r in rows])
    scores = np.zeros(len(rows))
    for person in np.unique(people):
        rest = used & (people != person)
        w = learned(x[rest], y[rest], people[rest])
        mine = people == person
        scores[mine] = x[mine] @ w[:3] + w[3]
    return scores, learned(x[used], y[used], people[used])


def calibrated(rows: Sequence[Row], scores: F64, said: Mapping[str, str]) -> tuple[Condition, ...]:
    out = []
    for length, name in NAMES.items():
        at = [i for i, r in enumerate(rows) if r.length_s == length and counts(r)]
        condition = fit(name, scores[at], [rows[i].kind != "own" for i in at],
                        [rows[i].source.person for i in at])  # fmt: skip
        films = [i for i, r in enumerate(rows) if r.source.name not in said
                 and (r.length_s, r.kind, r.source.family) == (length, "own", "real")]  # fmt: skip
        # Real films that are judged, whatever their sound: where the question is "synthetic?".
        real = {"real_films": float(len(films)),
                "real_films_above": float((scores[films] > condition.threshold).sum())}  # fmt: skip
        out.append(replace(condition, where={"seconds": SECONDS[length]} | real))
    return tuple(out)


def thresholds(rows: Sequence[Row], scores: F64) -> F64:
    """(n,) the threshold of each row's length, found without the row's person (as ``fit`` does)."""
    people = np.array([r.source.fold_person for r in rows])
    own = np.array([r.kind == "own" and counts(r) for r in rows])
    lengths = np.array([r.length_s for r in rows])
    out = np.zeros(len(rows))
    for length in np.unique(lengths):
        for person in np.unique(people):
            rest = np.sort(scores[own & (people != person) & (lengths == length)])
            allowed = max(0, int(ALARM_RATE * (len(rest) + 1)) - 1)
            out[(people == person) & (lengths == length)] = rest[len(rest) - 1 - allowed]
    return out


def probabilities(known: Sequence[Row], known_scores: F64, rows: Sequence[Row], scores: F64) -> F64:
    """(n,) of a mismatch for ``rows``, calibrated on ``known`` without the row's person."""
    of = np.array([r.source.fold_person for r in known])
    y = np.array([r.kind != "own" for r in known])
    used = np.array([counts(r) for r in known])
    lengths = np.array([r.length_s for r in known])
    fitted: dict[tuple[str, float], tuple[float, float]] = {}
    out = []
    for row, score in zip(rows, scores, strict=True):
        key = (row.source.fold_person, row.length_s)
        if key not in fitted:
            rest = used & (of != key[0]) & (lengths == key[1])
            fitted[key] = platt(known_scores[rest], y[rest], of[rest])
        a, b = fitted[key]
        out.append(probability(float(np.clip(a * score + b, -CAP, CAP))))
    return np.array(out)


def cells(rows: Sequence[Row]) -> dict[str, list[tuple[int, bool]]]:
    """Protocol cell -> (index of a row, whether it counts as positive)."""
    out: dict[str, list[tuple[int, bool]]] = {}

    def put(cell: str, index: int, positive: bool) -> None:
        out.setdefault(cell, []).append((index, positive))

    for i, row in enumerate(rows):
        real, own = row.source.family == "real", row.kind == "own"
        if own and counts(row):
            put("another's sound", i, False)
            put("sound moved", i, False)
        elif not own:
            put("another's sound" if row.kind == "other" else "sound moved", i, True)
        if real and (row.source.certain or not own):
            put("real people: another's sound or moved", i, not own)
        if own and real and not counts(row):
            put("control: demonstration films whose sound may be replaced", i, False)
        if own and not real:  # its lips follow the sound: nothing is claimed
            put("control: generated, in sync", i, False)
    return out


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m avsafe_detectors.audio_visual.train",
                                     description=(__doc__ or "").split("\n\n")[0])  # fmt: skip
    parser.add_argument("--media", type=Path, required=True, help="folder of media")
    parser.add_argument("--folds", type=Path, required=True, help="folds of the lip-sync model")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--protocol", type=Path, help="parquet file of out-of-fold scores")
    parser.add_argument("--forms", default=",".join(FORMS))
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    judge = pairs.Judge(given.folds)
    forms = given.forms.split(",")
    every = {form: pairs.rows(judge, talks(given.media, given.cache, form)) for form in forms}
    as_is = [r for r in every[forms[0]] if r.found]
    scores, weights = out_of_fold(as_is)
    said = gated(given.media, given.cache)
    conditions = calibrated(as_is, scores, said)
    from safetensors.numpy import save_file

    detector.WEIGHTS.mkdir(exist_ok=True)
    path = detector.WEIGHTS / "audio_visual.safetensors"
    save_file({"score": weights.astype(np.float32)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    known = Calibration("audio-visual", detector.MODALITY, f"audio-visual-1-{digest}", conditions)
    known.save(detector.WEIGHTS / "calibration.json")
    for c in conditions:
        log.info("%s: %s", c.name, c.as_details())
    if given.protocol:
        bars = {(r.source.fold_person, r.length_s): bar
                for r, bar in zip(as_is, thresholds(as_is, scores), strict=True)}  # fmt: skip
        table: list[dict[str, Any]] = []
        for form, found in every.items():
            judged = [r for r in found if r.found]
            # A recoded film is judged by weights without its person, too.
            own = scores if form == forms[0] else _others(as_is, judged)
            chance = probabilities(as_is, scores, judged, own)
            table += written(found, judged, own, chance, bars, form, said)
        write(given.protocol, table)
        log.info("%d rows in %s", len(table), given.protocol)
    return 0


def _others(as_is: Sequence[Row], judged: Sequence[Row]) -> F64:
    x = np.stack([detector.figures(r.found) for r in as_is if r.found])
    y = np.array([r.kind != "own" for r in as_is])
    people = np.array([r.source.fold_person for r in as_is])
    used = np.array([counts(r) for r in as_is])
    out = []
    kept: dict[str, F64] = {}
    for row in judged:
        person = row.source.fold_person
        if person not in kept:
            rest = used & (people != person)
            kept[person] = learned(x[rest], y[rest], people[rest])
        if row.found is not None:
            out.append(detector.scored(row.found, kept[person]))
    return np.array(out)


def written(
    found: Sequence[Row],
    judged: Sequence[Row],
    scores: F64,
    chance: F64,
    bars: Mapping[tuple[str, float], float],
    form: str,
    said: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Rows of the protocol: ``chance`` (n,) of a mismatch; ``bars`` are the thresholds of (person,
    length) without the person, ``said`` why the domain gate lets a film not be judged."""
    out: list[dict[str, Any]] = []
    of: list[Row] = []
    for cell, members in cells(judged).items():
        for i, positive in members:
            row, score = judged[i], float(scores[i])
            above = score > bars.get((row.source.fold_person, row.length_s), np.inf)
            of.append(row)
            out.append(_entry(cell, f"{row.length_s:g} s, {form}", row, positive, score,
                              float(chance[i]), bool(above)))  # fmt: skip
    for entry, row in zip(out, of, strict=True):
        if row.kind == "own" and (reason := said.get(row.source.name, "")):
            entry |= {"abstained": reason, "flagged": False}
    for row in found:
        if row.found is None and row.kind == "own":
            made = row.source.family != "real"
            cell = "control: generated, in sync" if made else "another's sound"
            entry = _entry(cell, f"{row.length_s:g} s, {form}", row, False, float("nan"),
                           float("nan"), False)  # fmt: skip
            out.append(entry | {"abstained": row.reason})
    return out


def _entry(cell: str, condition: str, row: Row, positive: bool, score: float, chance: float,
           flagged: bool) -> dict[str, Any]:  # fmt: skip
    return {"detector": "audio-visual", "cell": cell, "condition": condition,
            "unit": f"{row.unit}:{row.kind}:{row.of}", "source": row.source.person,
            "group": row.source.family if row.kind == "own" else row.kind, "synthetic": positive,
            "score": score, "probability": chance, "abstained": "", "flagged": flagged}  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
