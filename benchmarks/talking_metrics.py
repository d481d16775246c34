"""What the metrics of talking heads say of real people, of generated ones, and of themselves.

    python benchmarks/talking_metrics.py --media DIR [--seconds 8] [--keep DIR]
                                         [--out reports/talking_metrics]

- groups: the mean of every column over the clips of a group, with an interval by bootstrap;
- retest: how far the two halves of a clip agree (clips of 6 s and more);
- crf35: how far the first 4 s of a clip and their copy at x264 CRF 35 agree;
- swap: does face_geometry_drift tell a clip whose second half is another person from a clip;
- reference: blinks, mouth and pose against MediaPipe Face Mesh on people that the landmark model
  has not seen (the landmark tracks of ``talking_crops``);
- floor: what a face that stands still gives: one frame of six real clips under grain, CRF 23.

Every clip is cut to its first ``--seconds``. Tracks are kept in ``--keep`` where it is named, so
that a run goes on where it stopped. Figures and file names are written, nothing of the clips.

Legend: ``t`` frames; a track holds (t, 152, 2) points in pixels.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from avsafe import media
from avsafe.bench.statistics import bootstrap_mean
from avsafe.errors import Unscorable
from avsafe.faces import MESH_INDEX, FaceTrack, Tracker, mouth_opening
from avsafe.faces.tracking import smoothed
from avsafe.media.replay import Replay
from avsafe.media.spec import EncodeSpec
from avsafe.metering import MONO_HZ, Mono
from avsafe.testing import babble
from avsafe.types import Gathered, GenerationRequest, InputMedia, Kind, Principal, RawMedia, Task
from avsafe_metrics.talking.blink import MIN_S as BLINK_S
from avsafe_metrics.talking.blink import blink_statistics, blinks
from avsafe_metrics.talking.face_coverage import face_coverage
from avsafe_metrics.talking.face_geometry import geometry_drift
from avsafe_metrics.talking.head_pose import head_motion
from avsafe_metrics.talking.mouth_motion import mouth_motion
from avsafe_metrics.talking.speech_motion import speech_motion
from avsafe_metrics.talking.tracks import track_of

GROUPS = ("real_talking", "synthetic_loopy", "synthetic_talking", "synthetic_faces")
OWN = "avsafe talking-head"
HELD_OUT = (  # avsafe/faces/weights/card.md
    "grid_lwbsza", "dfrf_french", "latentsync_1", "sadtalker_aoc", "retalking_3",
    "liveportrait_d12", "loopy_realistic_1", "omnihuman_video_hands3",
)  # fmt: skip
STILL = {  # whose frame is frozen
    "grid_bbaf2n.mpg", "grid_lwbsza.mpg", "ffpp_original_519.mp4", "latentsync_1.mp4",
    "retalking_2.mp4", "sadtalker_aoc.mp4",
}  # fmt: skip
COPY_S = 4.0
PORTRAITS = ("a woman with brown hair", "an old man with a beard", "a young man with black hair",
             "a woman with red hair and glasses")  # fmt: skip
Values = dict[str, float]


# ---------------------------------------------------------------- tracks


def tracked(path: Path, seconds: float) -> tuple[FaceTrack, np.ndarray]:
    """The face of the first ``seconds`` of a file, and its sound at 16 kHz."""
    clip = media.play(path, pictures=("rgb",))
    rate = clip.shape.frame_rate or Fraction(25)
    tracker, count = Tracker(rate), 0
    mono = Mono(clip.shape.rate_hz) if clip.shape.rate_hz else None
    for piece in clip:
        if piece.rgb is not None and count < seconds * rate:
            tracker.take(piece.rgb)
            count += 1
        elif piece.block is not None and mono is not None:
            mono.take(piece.block)
        if piece.time_s > seconds + 0.5:
            break
    heard = mono.whole()[: round(seconds * MONO_HZ)] if mono is not None else np.zeros(0, "f4")
    return tracker.finish(), heard


def kept(file: Path, make: Callable[[], tuple[FaceTrack, np.ndarray]]) -> tuple[FaceTrack, Any]:
    """A track from its file, made and stored first where there is none."""
    if not file.is_file():
        track, mono = make()
        np.savez_compressed(
            file, points=track.points, raw=track.raw, doubt=track.doubt, faces=track.faces,
            searched=track.searched, cuts=np.array(track.cuts, int), rate=str(track.frame_rate),
            mono=mono,
        )  # fmt: skip
    with np.load(file, allow_pickle=False) as held:
        cuts = tuple(int(cut) for cut in held["cuts"])
        track = FaceTrack(
            held["points"], held["raw"], held["doubt"], held["faces"], held["searched"], cuts,
            Fraction(str(held["rate"])),
        )  # fmt: skip
        return track, held["mono"]


def copied(path: Path, folder: Path, seconds: float, crf: int) -> Path:
    """The first ``seconds`` of a clip's pictures, again at ``crf``."""
    clip = media.play(path, pictures=("rgb",), samples=False)
    rate = clip.shape.frame_rate or Fraction(25)

    def frames() -> Iterator[Any]:
        pieces = (piece.rgb for piece in clip if piece.rgb is not None)
        return itertools.islice(pieces, round(seconds * rate))

    out = folder / "copy.mp4"
    raw = RawMedia(Kind.VIDEO, Replay(frames), rate, None, clip.shape.width, clip.shape.height)
    media.encode(raw, out, EncodeSpec(crf=crf))
    return out


def frozen(path: Path, folder: Path) -> Path:
    """2 s of the frame at 1 s, with grain of two grey levels, at CRF 23."""
    clip = media.play(path, pictures=("rgb",), samples=False)
    frame = next(p.rgb for p in clip if p.rgb is not None and p.time_s >= 1.0)

    def frames() -> Iterator[Any]:
        rng = np.random.default_rng(0)
        for _ in range(50):
            noisy = frame + rng.normal(0, 2, frame.shape).round()
            yield np.clip(noisy, 0, 255).astype(np.uint8)

    out = folder / "frozen.mp4"
    raw = RawMedia(
        Kind.VIDEO, Replay(frames), Fraction(25), 50, clip.shape.width, clip.shape.height
    )
    media.encode(raw, out, EncodeSpec(crf=23))
    return out


def own_heads(folder: Path, seconds: float) -> list[Path]:
    """Talking heads by our own generator on our own portraits, with babble for a voice."""
    from avsafe_generators.portrait import Portrait
    from avsafe_generators.talking_head import TalkingHead

    me, made = Principal("benchmark"), []
    for seed, words in enumerate(PORTRAITS):
        face, voice, out = (folder / f"own-{seed}{end}" for end in (".png", ".wav", ".mp4"))
        made.append(out)
        if out.is_file():
            continue
        asked = GenerationRequest(
            me, Task.TEXT_TO_IMAGE, "portrait", words, seed=seed, width=384, height=384
        )
        media.encode(Portrait().generate(asked), face)
        blocks = babble(seconds, 48000, seed)
        media.encode(RawMedia(Kind.AUDIO, samples=blocks, rate_hz=48000, channels=1), voice)
        inputs = (
            InputMedia(media.probe(face), "portrait"),
            InputMedia(media.probe(voice), "voice"),
        )
        request = GenerationRequest(me, Task.TALKING_HEAD, "talking-head", inputs=inputs, seed=seed)
        media.encode(TalkingHead().generate(request), out)
    return made


def gather(media_dir: Path, keep: Path, seconds: float) -> dict[str, Any]:
    """group -> clip -> {"plain", "crf35", "frozen": (track, sound)}."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sources = {
            group: sorted(p for p in (media_dir / group).iterdir() if p.suffix in (".mp4", ".mpg"))
            for group in GROUPS
        }
        sources[OWN] = own_heads(keep, seconds)
        for group, paths in sources.items():
            for path in paths:
                row = found.setdefault(group, {}).setdefault(path.stem, {})
                stem = f"{group}+{path.stem}"
                row["plain"] = kept(keep / f"{stem}+plain.npz", lambda p=path: tracked(p, seconds))
                row["crf35"] = kept(
                    keep / f"{stem}+crf35.npz",
                    lambda p=path: tracked(copied(p, folder, COPY_S, 35), COPY_S),
                )
                if group == "real_talking" and path.name in STILL:
                    row["frozen"] = kept(
                        keep / f"{stem}+frozen.npz", lambda p=path: tracked(frozen(p, folder), 2)
                    )
                print(stem, flush=True)
    return found


def crops(media_dir: Path, keep: Path) -> dict[str, tuple[FaceTrack, FaceTrack]]:
    """Held-out crop -> our track and MediaPipe's, smoothed alike."""
    found = {}
    for name in HELD_OUT:
        file = media_dir / "talking_crops" / f"{name}.mp4"
        track, _ = kept(keep / f"crops+{name}.npz", lambda f=file: tracked(f, 25.0))
        with np.load(file.with_suffix(".npz"), allow_pickle=False) as stored:
            if tuple(stored["mesh_index"].tolist()) != MESH_INDEX:
                raise SystemExit(f"{name}.npz holds other points than avsafe.faces.MESH_INDEX")
            points = np.cumsum(stored["landmarks_delta"].astype(np.int64), 0) / 16
        count = min(len(track), len(points))
        points = smoothed(points[:count].astype(np.float32), 25.0)
        theirs = FaceTrack(
            points, points, np.zeros(count, "f4"), np.ones(count, int), np.ones(count, bool), (),
            Fraction(25),
        )  # fmt: skip
        found[name] = (piece_of(track, 0, count), theirs)
    return found


def piece_of(track: FaceTrack, first: int, end: int) -> FaceTrack:
    cuts = tuple(cut - first for cut in track.cuts if first < cut < end)
    rows = slice(first, end)
    return FaceTrack(
        track.points[rows], track.raw[rows], track.doubt[rows], track.faces[rows],
        track.searched[rows], cuts, track.frame_rate,
    )  # fmt: skip


# ---------------------------------------------------------------- figures


def numbers(track: FaceTrack, mono: np.ndarray) -> tuple[Values, str]:
    """Every column of one clip as the metrics give them, and the reason where they give none."""
    values = {f"face_coverage.{name or 'one'}": v for name, v in face_coverage(track).items()}
    try:
        track = track_of(Gathered(len(track), track), 1.0)
    except Unscorable as reason:
        return values, str(reason)
    values |= {f"head_pose.{name}": v for name, v in head_motion(track).items()}
    values |= {f"mouth_motion.{name}": v for name, v in mouth_motion(track).items()}
    if mono.size and np.abs(mono).max() > 1e-3:
        values |= {f"speech_motion.{name}": v for name, v in speech_motion(track, mono).items()}
    seen = track.seen.sum() / float(track.frame_rate)
    if seen >= 2:
        values["face_geometry_drift"] = geometry_drift(track.points[track.seen])
    if seen >= BLINK_S:
        values |= {f"blink.{name}": v for name, v in blink_statistics(track).items()}
    return {name: value for name, value in values.items() if np.isfinite(value)}, ""


def group_figures(found: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for group, clips in found.items():
        rows, reasons = [], {}
        for name, row in clips.items():
            values, reason = numbers(*row["plain"])
            rows.append(values)
            if reason:
                reasons[name] = reason
        columns = sorted({name for row in rows for name in row})
        out[group] = {"clips": len(clips), "reasons": reasons, "columns": {}}
        for column in columns:
            data = [row[column] for row in rows if column in row]
            low, high = bootstrap_mean(data)
            out[group]["columns"][column] = {
                "mean": float(np.mean(data)), "low": low, "high": high, "n": len(data),
            }  # fmt: skip
    return out


def agreement(pairs: list[tuple[Values, Values]]) -> dict[str, Any]:
    """Column -> correlation of two measurements, their median difference and its share of the
    spread between clips."""
    out = {}
    for column in sorted({name for one, _ in pairs for name in one}):
        data = np.array([(a[column], b[column]) for a, b in pairs if column in a and column in b])
        if len(data) < 8:
            continue
        apart, spread = np.abs(data[:, 0] - data[:, 1]), float(data.std())
        r = float(np.corrcoef(data.T)[0, 1]) if min(data.std(0)) > 1e-9 else None
        out[column] = {
            "n": len(data), "r": r, "median_difference": float(np.median(apart)),
            "mean_shift": float(np.mean(data[:, 1] - data[:, 0])), "sd_between_clips": spread,
        }  # fmt: skip
    return out


def retest(found: dict[str, Any]) -> dict[str, Any]:
    pairs = []
    for row in (row for clips in found.values() for row in clips.values()):
        track, mono = row["plain"]
        if len(track) < 6 * track.frame_rate:
            continue
        half = len(track) // 2
        cut = round(half / float(track.frame_rate) * MONO_HZ)
        halves = (
            numbers(piece_of(track, 0, half), mono[:cut]),
            numbers(piece_of(track, half, len(track)), mono[cut:]),
        )
        if not any(reason for _, reason in halves):
            pairs.append((halves[0][0], halves[1][0]))
    return agreement(pairs)


def compressed(found: dict[str, Any]) -> dict[str, Any]:
    pairs = []
    for row in (row for clips in found.values() for row in clips.values()):
        track, mono = row["plain"]
        copy = row["crf35"][0]
        mono = mono[: round(COPY_S * MONO_HZ)]
        track = piece_of(track, 0, min(len(track), len(copy)))
        (one, reason), (other, second) = numbers(track, mono), numbers(copy, mono)
        if not reason and not second:
            one["blink.count"] = blink_statistics(track)["count"]
            other["blink.count"] = blink_statistics(copy)["count"]
            pairs.append((one, other))
    return agreement(pairs)


def swapped(found: dict[str, Any]) -> dict[str, Any]:
    """Each clip against each pair's join, both halves equally long."""
    points = {}
    for group, clips in found.items():
        for name, row in clips.items():
            try:
                track = track_of(Gathered(1, row["plain"][0]), 2.0)
            except Unscorable:
                continue
            points[f"{group}/{name}"] = track.points[track.seen]
    own = {name: geometry_drift(rows) for name, rows in points.items()}
    joined = []
    for one, other in itertools.permutations(points.values(), 2):
        half = min(len(one), len(other)) // 2
        joined.append(geometry_drift(np.concatenate([one[:half], other[-half:]])))
    mine, theirs = np.array(list(own.values())), np.array(joined)
    turns = {
        name: head_motion(whole)["yaw_sd"]
        for name, whole in ((n, found[n.split("/")[0]][n.split("/")[1]]["plain"][0]) for n in own)
    }
    calm = np.array([turns[name] < 10 for name in own])
    auc = float((mine[:, None] < theirs).mean() + 0.5 * (mine[:, None] == theirs).mean())
    return {
        "clips": len(own), "joins": len(joined), "auc": auc,
        "auc_clips_that_turn_little": float((mine[calm][:, None] < theirs).mean()),
        "clips_that_turn_little": int(calm.sum()),
        "own": dict(zip(("q50", "q90", "q95"), np.percentile(mine, (50, 90, 95)).tolist(),
                        strict=True)),
        "joined": dict(zip(("q05", "q10", "q50"), np.percentile(theirs, (5, 10, 50)).tolist(),
                           strict=True)),
        "r_with_yaw_sd": float(np.corrcoef(mine, [turns[name] for name in own])[0, 1]),
    }  # fmt: skip


def against_mediapipe(pairs: dict[str, tuple[FaceTrack, FaceTrack]]) -> dict[str, Any]:
    """Blinks matched where they overlap (a frame of grace); mouth and pose by clip."""
    rows = {}
    for name, (ours, theirs) in pairs.items():
        spans = []
        for track in (ours, theirs):
            value = blink_track(track)
            spans.append([
                (first + a, first + b)
                for first, end in track.runs(3) for a, b in blinks(value[first:end], 25.0)
            ])  # fmt: skip
        hits = sum(any(a - 1 < d and c - 1 < b for c, d in spans[1]) for a, b in spans[0])
        caught = sum(any(a - 1 < d and c - 1 < b for a, b in spans[0]) for c, d in spans[1])
        mouths = [mouth_opening(track.points) for track in (ours, theirs)]
        both = np.isfinite(mouths[0]) & np.isfinite(mouths[1])
        poses = [head_motion(track) for track in (ours, theirs)]
        rows[name] = {
            "seconds": len(ours) / 25, "ours": len(spans[0]), "mediapipe": len(spans[1]),
            "ours_confirmed": hits, "mediapipe_found": caught,
            "mouth_r": float(np.corrcoef(mouths[0][both], mouths[1][both])[0, 1]),
            "mouth_range": [mouth_motion(track)["range"] for track in (ours, theirs)],
            "yaw_sd": [pose["yaw_sd"] for pose in poses],
            "pitch_sd": [pose["pitch_sd"] for pose in poses],
            "roll_sd": [pose["roll_sd"] for pose in poses],
            "speed_deg_s": [pose["speed_deg_s"] for pose in poses],
        }  # fmt: skip
    ours = sum(row["ours"] for row in rows.values())
    theirs = sum(row["mediapipe"] for row in rows.values())
    return {
        "clips": rows,
        "blinks": {
            "ours": ours, "mediapipe": theirs,
            "ours_confirmed": sum(row["ours_confirmed"] for row in rows.values()),
            "mediapipe_found": sum(row["mediapipe_found"] for row in rows.values()),
            "seconds": sum(row["seconds"] for row in rows.values()),
        },
    }  # fmt: skip


def blink_track(track: FaceTrack) -> Any:
    from avsafe.faces import eye_opening

    left, right = eye_opening(track.points)
    return (left + right) / 2


def floor(found: dict[str, Any]) -> dict[str, Any]:
    rows = [numbers(*row["frozen"]) for row in found["real_talking"].values() if "frozen" in row]
    good = [values for values, reason in rows if not reason]
    columns = sorted({name for row in good for name in row if not name.startswith("face_cov")})
    return {
        column: {"median": float(np.median(data)), "highest": float(np.max(data)), "n": len(data)}
        for column in columns
        if (data := [row[column] for row in good if column in row])
    }


# ---------------------------------------------------------------- report


def report(figures: dict[str, Any]) -> str:
    lines = [
        "# Metrics of talking heads: what they say",
        "",
        "`python benchmarks/talking_metrics.py --media DIR`, "
        f"the first {figures['seconds']:g} s of each clip. Intervals: 95 %, bootstrap over clips "
        "(few, and of few people: read them so). Figures only; nothing of the clips is here.",
        "",
        "## Groups",
        "",
    ]
    groups = figures["groups"]
    columns = sorted({name for group in groups.values() for name in group["columns"]})
    lines.append(
        "| column | " + " | ".join(f"{g} ({v['clips']})" for g, v in groups.items()) + " |"
    )
    lines.append("|---|" + "---|" * len(groups))
    for column in columns:
        cells = []
        for group in groups.values():
            row = group["columns"].get(column)
            cells.append(
                f"{row['mean']:.3g} [{row['low']:.3g}, {row['high']:.3g}] n={row['n']}"
                if row else "-"
            )  # fmt: skip
        lines.append(f"| {column} | " + " | ".join(cells) + " |")
    for name, group in groups.items():
        for clip, reason in group["reasons"].items():
            lines.append(f"\nNot measured in {name}: {clip}: {reason}")
    for key, title in (
        ("retest", "Two halves of a clip"),
        ("crf35", "The first 4 s of a clip and their copy at CRF 35"),
    ):
        lines += ["", f"## {title}", "",
                  "| column | n | r | median difference | mean shift | SD between clips |",
                  "|---|---|---|---|---|---|"]  # fmt: skip
        for column, row in figures[key].items():
            r = "-" if row["r"] is None else f"{row['r']:.2f}"
            lines.append(
                f"| {column} | {row['n']} | {r} | {row['median_difference']:.3g} | "
                f"{row['mean_shift']:.3g} | {row['sd_between_clips']:.3g} |"
            )
    swap = figures["swap"]
    own, joined = swap["own"], swap["joined"]
    lines += [
        "", "## Another person in the second half", "",
        f"face_geometry_drift of {swap['clips']} clips (median {own['q50']:.2f} %, 95th percentile "
        f"{own['q95']:.2f} %) against {swap['joins']} joins of two clips (5th percentile "
        f"{joined['q05']:.2f} %, median {joined['q50']:.2f} %): AUC {swap['auc']:.3f}; "
        f"{swap['auc_clips_that_turn_little']:.3f} for the {swap['clips_that_turn_little']} clips "
        "whose yaw has an SD below 10 degrees. Correlation with that SD: "
        f"{swap['r_with_yaw_sd']:.2f}.",
        "", "## Against MediaPipe Face Mesh, people never seen", "",
        "Ours / MediaPipe's points through the same functions.", "",
        "| clip | s | blinks | confirmed | found | mouth r | mouth range | yaw SD | pitch SD | "
        "roll SD | speed |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, row in figures["reference"]["clips"].items():
        two = {k: f"{row[k][0]:.2f} / {row[k][1]:.2f}" for k in
               ("mouth_range", "yaw_sd", "pitch_sd", "roll_sd", "speed_deg_s")}  # fmt: skip
        lines.append(
            f"| {name} | {row['seconds']:.0f} | {row['ours']} / {row['mediapipe']} | "
            f"{row['ours_confirmed']} | {row['mediapipe_found']} | {row['mouth_r']:.2f} | "
            + " | ".join(two.values()) + " |"
        )  # fmt: skip
    blink = figures["reference"]["blinks"]
    lines += [
        "", f"Of {blink['mediapipe']} blinks by MediaPipe's points {blink['mediapipe_found']} are "
        f"found; of {blink['ours']} that are found {blink['ours_confirmed']} are confirmed.",
        "", "## A face that stands still (one frame, grain, CRF 23)", "",
        "| column | median | highest | n |", "|---|---|---|---|",
    ]  # fmt: skip
    lines += [
        f"| {column} | {row['median']:.3g} | {row['highest']:.3g} | {row['n']} |"
        for column, row in figures["floor"].items()
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--media", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--out", type=Path, default=Path("reports/talking_metrics"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        keep = arguments.keep or Path(scratch)
        keep.mkdir(parents=True, exist_ok=True)
        found = gather(arguments.media, keep, arguments.seconds)
        pairs = crops(arguments.media, keep)
    figures = {
        "seconds": arguments.seconds, "groups": group_figures(found), "retest": retest(found),
        "crf35": compressed(found), "swap": swapped(found), "reference": against_mediapipe(pairs),
        "floor": floor(found),
    }  # fmt: skip
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=1)
    (arguments.out / "figures.json").write_text(text + "\n")
    (arguments.out / "report.md").write_text(report(figures))


if __name__ == "__main__":
    main()
