"""How well lip_sync tells sound in sync from sound that is not, on people it has not seen.

    python -m avsafe_metrics.sync.lip_sync.train --media DIR --out TRAINED
    python benchmarks/lip_sync.py --media DIR --trained TRAINED [--out reports/lip_sync]

Every clip is judged by the networks of its fold, which have not seen the person. Windows are files
of their own: 3 s of lips, 3 s of sound, one a second; a shift moves the sound within the clip, and
the window keeps its edges. Intervals: 95 %, bootstrap over people (the six of GRID are six).

Legend: evidence is (n, 31), offsets of -15 to 15 frames of 40 ms.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avsafe import media
from avsafe_metrics.sync.lip_sync import clips as data
from avsafe_metrics.sync.lip_sync import features, judgement, model, train

SHIFTS = (-10, -5, -3, -1, 0, 1, 3, 5, 10)
AWAY = (-5, 5)  # 200 ms
ROUNDS = 500
SPOILT = ("crf35", "aac64", "noise20db")
Row = dict[str, Any]


def auc(good: Sequence[float], bad: Sequence[float]) -> float:
    """Chance that a good one scores above a bad one; ties count half (Mann and Whitney 1947)."""
    from scipy.stats import rankdata

    n, m = len(good), len(bad)
    if not n or not m:
        return float("nan")
    ranks = rankdata(np.concatenate([good, bad]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def interval(rows: Sequence[Row], figure: Callable[[Sequence[Row]], float]) -> Row:
    """A figure of rows with its interval over people."""
    people: dict[str, list[Row]] = {}
    for row in rows:
        people.setdefault(row["cluster"], []).append(row)
    names, rng = sorted(people), np.random.default_rng(0)
    drawn = []
    for _ in range(ROUNDS):
        chosen = rng.choice(names, len(names))
        drawn.append(figure([row for name in chosen for row in people[name]]))
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return {"value": round(figure(rows), 3), "low": round(float(low), 3),
            "high": round(float(high), 3), "people": len(names), "n": len(rows)}  # fmt: skip


def cluster(clip: data.Clip) -> str:
    return clip.name if clip.name.startswith("grid_") else clip.person


def window_at(
    mouths: Any, energy: Any, first: int, end: int, shift: int, begins: int | None = None
) -> model.Window | None:
    """A window as a file of its own, its sound ``shift`` frames late; or beginning elsewhere."""
    start = (first if begins is None else begins) - shift
    frames, heard = end - first, energy.shape[1] // features.PER_FRAME
    low, high = max(0, start), min(heard, start + frames)
    if high - low < features.LEAST - 15:
        return None
    whole = np.zeros((features.MELS, frames * features.PER_FRAME), np.float32)
    at = (low - start) * features.PER_FRAME
    part = energy[:, low * features.PER_FRAME : high * features.PER_FRAME]
    whole[:, at : at + part.shape[1]] = part
    return model.window(mouths[first:end], whole, 0, frames)


def rows_of(clip: data.Clip, others: Sequence[data.Clip], weights: Any) -> list[Row]:
    """A row for each window of a clip: scores in sync, shifted, and with another person's sound."""
    track, energy = train.lips_and_sound(clip)
    members, rows = model.members_of(weights), []
    strange = [features.power(o.sound) for o in others if o.person != clip.person]
    rng = np.random.default_rng(len(clip.name))
    for number, (first, end) in enumerate(model.starts(track.runs)):
        frames = end - first
        row: Row = {"clip": clip.name, "cluster": cluster(clip), "frames": frames}
        for shift in SHIFTS if number % 3 == 0 else (0, *AWAY):
            shown = window_at(track.mouths, energy, first, end, shift)
            if shown is not None:
                row[shift] = model.evidence([shown], weights, members)[0]
        if 0 not in row:
            continue
        if strange:
            other = strange[rng.integers(len(strange))]
            begins = int(rng.integers(max(1, other.shape[1] // features.PER_FRAME - frames)))
            shown = window_at(track.mouths, other, first, end, 0, begins)
            if shown is not None:
                row["swapped"] = model.evidence([shown], weights, members)[0]
        rows.append(row)
    return rows


def by_clip(rows: Sequence[Row]) -> list[Row]:
    """Rows of windows -> one row a clip, evidence averaged."""
    named: dict[str, list[Row]] = {}
    for row in rows:
        named.setdefault(row["clip"], []).append(row)
    out = []
    for name, own in sorted(named.items()):
        whole: Row = {"clip": name, "cluster": own[0]["cluster"],
                      "frames": min(25 * len(own) + 50, sum(r["frames"] for r in own))}  # fmt: skip
        for key in (*SHIFTS, "swapped"):
            found = [row[key] for row in own if key in row]
            if found:
                whole[key] = np.mean(found, axis=0)
        out.append(whole)
    return out


def figures(rows: Sequence[Row], known: Any) -> Row:
    """What the report says of a set of windows or clips."""

    def score(row: Row, key: Any) -> float:
        return judgement.in_sync(row[key][None], row["frames"], known)

    def sure(row: Row, key: Any) -> float:
        return judgement.confidence(row[key][None])

    for row in rows:
        row["scores"] = {key: score(row, key) for key in (0, *AWAY) if key in row}
        row["sure"] = {key: sure(row, key) for key in (0, "swapped") if key in row}

    def shifted(some: Sequence[Row]) -> float:
        good = [r["scores"][0] for r in some]
        return auc(good, [r["scores"][k] for r in some for k in AWAY if k in r["scores"]])

    def swapped(some: Sequence[Row]) -> float:
        bad = [r["sure"]["swapped"] for r in some if "swapped" in r["sure"]]
        return auc([r["sure"][0] for r in some], bad)

    def near(some: Sequence[Row]) -> float:
        offsets = [abs(judgement.offset_frames(r[0][None])) for r in some]
        return float(np.mean(np.array(offsets) <= judgement.NEAR))

    moved = {}
    for key in SHIFTS:
        some = [row for row in rows if key in row]
        moved[str(key * 40)] = {
            "in_sync_score": round(float(np.mean([score(r, key) for r in some])), 3),
            "offset_found": round(float(np.mean([
                abs(judgement.offset_frames(r[key][None]) - key) <= judgement.NEAR for r in some
            ])), 3),
        }  # fmt: skip
    return {
        "auc_200_ms": interval(rows, shifted),
        "offset_within_80_ms": interval(rows, near),
        "auc_swapped": interval(rows, swapped),
        "shifts_ms": moved,
    }


# ---------------------------------------------------------------- damage


def spoilt(film: Path, how: str, folder: Path) -> Path:
    """A film coded again at CRF 35."""
    path = folder / f"{film.stem}.{how}.mp4"
    media.encode(media.decode(film, trusted=True), path, media.EncodeSpec(crf=35))
    return path


def damaged(sound: Any, how: str) -> Any:
    """Sound (n,) through AAC at 64 kbit/s, or with white noise 20 dB below it."""
    if how == "aac64":
        return data.coded(sound, "aac", 64)
    level = float(np.sqrt(np.mean(np.square(sound))))
    noise = np.random.default_rng(0).standard_normal(sound.size) * level / 10
    return np.clip(sound + noise, -1, 1).astype(np.float32)


def damage(films: Sequence[tuple[data.Clip, Path]], weights_of: Any, known: Any) -> Row:
    """The same figures from films that were coded again, and how far offsets moved."""
    kept: dict[str, list[Row]] = {how: [] for how in ("as is", *SPOILT)}
    whole: dict[str, dict[str, Any]] = {}
    first: tuple[Any, Any] = (None, None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for clip, film in films:
            for how in kept:
                if how in ("as is", "crf35"):
                    source = film if how == "as is" else spoilt(film, how, folder)
                    track, sound = data.followed(source, folder / f"{film.stem}.{how}.npz")
                    first = (track, sound) if how == "as is" else first
                else:  # the pictures are the same
                    track, sound = first[0], damaged(first[1], how)
                again = data.Clip(clip.name, sound, [track])
                weights = weights_of(clip)
                kept[how] += rows_of(again, [c for c, _ in films], weights)
                at = model.starts(track.runs)
                seen = [model.window(track.mouths, features.power(sound), *s) for s in at]
                evidence = model.evidence(seen, weights, model.members_of(weights))
                whole.setdefault(clip.name, {})[how] = (
                    judgement.offset_frames(evidence) * 40,
                    judgement.confidence(evidence),
                )
    out: Row = {}
    for how, rows in kept.items():
        found = figures(rows, known)
        out[how] = {k: found[k] for k in ("auc_200_ms", "offset_within_80_ms", "auc_swapped")}
        out[how]["clips_whose_offset_moved_over_40_ms"] = sum(
            abs(w[how][0] - w["as is"][0]) > 40 for w in whole.values()
        )
        out[how]["confidence_of_as_is"] = round(
            float(np.mean([w[how][1] / w["as is"][1] for w in whole.values()])), 3
        )
    out["clips"] = len(films)
    return out


def chance(null: Sequence[dict[int, list[float]]], found: Any) -> Row:
    """Whether p is uniform on unrelated sound of a fold that the calibration has not seen."""
    from scipy.stats import kstest

    values: list[float] = []
    for left in range(len(null)):
        rest: dict[int, list[float]] = {frames: [] for frames in train.LENGTHS}
        for number, own in enumerate(null):
            for frames in train.LENGTHS:
                rest[frames] += own[frames] if number != left else []
        known = train.calibrated(found, rest)
        for frames in known.frames:
            values += [judgement.p_value(v, frames, known) for v in null[left][frames]]
    p = np.array(values)
    return {
        "n": len(p),
        "share_below_0.01": round(float((p < 0.01).mean()), 4),
        "share_below_0.05": round(float((p < 0.05).mean()), 4),
        "share_below_0.1": round(float((p < 0.1).mean()), 4),
        "share_below_0.5": round(float((p < 0.5).mean()), 4),
        "largest_gap_to_uniform": round(float(kstest(p, "uniform").statistic), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--media", type=Path, required=True)
    parser.add_argument("--trained", type=Path, required=True, help="--out of the training")
    parser.add_argument("--out", type=Path, default=Path("reports/lip_sync"))
    given = parser.parse_args()
    from safetensors.numpy import load_file

    clips = data.read(given.media, given.trained / "tracks")
    fold = json.loads((given.trained / "folds.json").read_text())
    known = judgement.calibration(given.trained / "calibration.json")
    weights = [
        {k: v.astype(np.float32)
         for k, v in load_file(given.trained / f"fold_{n}.safetensors").items()}
        for n in range(train.FOLDS)
    ]  # fmt: skip
    rows, found = [], {}
    null = [
        {int(k): v for k, v in own.items()}
        for own in json.loads((given.trained / "null.json").read_text())
    ]
    for number in range(train.FOLDS):
        held = [clip for clip in clips if fold[clip.person] == number]
        for clip in held:
            rows += rows_of(clip, held, weights[number])
        found |= train.judged(held, weights[number])
    named = {clip.name: clip for clip in clips}
    sets = {
        "generated people": [r for r in rows if named[r["clip"]].generated],
        "real people, sync certain": [r for r in rows if named[r["clip"]].certain
                                      and "@" not in r["clip"]],
        "real people, all": [r for r in rows if not named[r["clip"]].generated
                             and "@" not in r["clip"]],
        "real people, GRID": [r for r in rows if r["clip"].startswith("grid_")],
    }  # fmt: skip
    result: Row = {
        name: {"windows of 3 s": figures(some, known), "whole clips": figures(by_clip(some), known)}
        for name, some in sets.items()
    }
    trusted = {n: v for n, v in found.items()
               if n.split("@")[0] not in data.DOUBTFUL and n not in data.LATE}  # fmt: skip
    result["p of unrelated sound"] = chance(null, trusted)
    for name in ("generated people", "real people, sync certain", "real people, all"):
        own = [found[n] for n in sorted({r["clip"] for r in sets[name]}) if n in found]
        p = [judgement.p_value(judgement.confidence(e), frames, known) for frames, e in own]
        result[name]["whole clips"]["p_below_0.05"] = {
            "value": round(float(np.mean(np.array(p) < 0.05)), 3), "n": len(p)
        }  # fmt: skip
    films = []
    for folder in data.FOLDERS:
        for film in sorted((given.media / folder).glob("*")):
            clip = named.get(film.stem)
            if clip is not None and (clip.certain or folder == "synthetic_loopy"):
                films.append((clip, film))
    result["films coded again"] = damage(films, lambda c: weights[fold[c.person]], known)
    result["each clip"] = json.loads((given.trained / "sync.json").read_text())
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "figures.json").write_text(json.dumps(result, indent=1) + "\n")
    (given.out / "report.md").write_text(report(result))


def report(result: Row) -> str:
    """The figures as a page."""
    lines = [
        "# Lip-sync: figures on people that the networks have not seen",
        "",
        "Five folds over people (`benchmarks/lip_sync.py`); value [95 % interval over people].",
        "",
        "| set | unit | people | n | AUC, in sync against 200 ms off | offset within 80 ms |"
        " AUC, own against another's sound |",
        "|---|---|---|---|---|---|---|",
    ]

    def cell(figure: Row) -> str:
        return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"

    for name, of in result.items():
        if "windows of 3 s" not in of:
            continue
        for unit in ("windows of 3 s", "whole clips"):
            row = of[unit]
            lines.append(
                f"| {name} | {unit} | {row['auc_200_ms']['people']} | {row['auc_200_ms']['n']} | "
                f"{cell(row['auc_200_ms'])} | {cell(row['offset_within_80_ms'])} | "
                f"{cell(row['auc_swapped'])} |"
            )
    lines += ["", "## Sound moved", "",
              "Mean in_sync_score of 3 s, and share of windows whose offset is found within 80 ms.",
              "", "| sound late, ms | generated | found | real, certain | found |",
              "|---|---|---|---|---|"]  # fmt: skip
    generated = result["generated people"]["windows of 3 s"]["shifts_ms"]
    certain = result["real people, sync certain"]["windows of 3 s"]["shifts_ms"]
    for key, row in generated.items():
        lines.append(
            f"| {key} | {row['in_sync_score']:.3f} | {row['offset_found']:.3f} | "
            f"{certain[key]['in_sync_score']:.3f} | {certain[key]['offset_found']:.3f} |"
        )
    again = result["films coded again"]
    lines += ["", "## Films coded again", "",
              f"{again['clips']} films (real people of certain sync, Loopy), from the file on.", "",
              "| film | AUC 200 ms | within 80 ms | AUC swapped | clips whose offset moved by more"
              " than 40 ms | confidence, of as is |", "|---|---|---|---|---|---|"]  # fmt: skip
    for how, row in again.items():
        if isinstance(row, dict):
            lines.append(
                f"| {how} | {cell(row['auc_200_ms'])} | {cell(row['offset_within_80_ms'])} | "
                f"{cell(row['auc_swapped'])} | {row['clips_whose_offset_moved_over_40_ms']} | "
                f"{row['confidence_of_as_is']:.2f} |"
            )
    lines += ["", "## p on unrelated sound, calibrated without that fold", ""]
    lines += [f"- {k.replace('_', ' ')}: {v}" for k, v in result["p of unrelated sound"].items()]
    for name in ("generated people", "real people, sync certain", "real people, all"):
        figure = result[name]["whole clips"]["p_below_0.05"]
        lines.append(f"- {name}: p < 0.05 in {figure['value']:.3f} of {figure['n']} whole clips")
    lines += ["", "## Each clip, judged without its person", "",
              "| clip | frames | offset ms | windows within 80 ms | confidence | p |",
              "|---|---|---|---|---|---|"]  # fmt: skip
    for name, row in result["each clip"].items():
        lines.append(
            f"| {name} | {row['frames']} | {row['offset_ms']:.0f} | "
            f"{row['windows_within_80_ms']:.2f} | {row['confidence']:.2f} | {row['p']:.3f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
