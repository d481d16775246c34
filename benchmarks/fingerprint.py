"""Agreement rates of the fingerprint on a folder of clips: copies must agree, other clips must not.

    python benchmarks/fingerprint.py --media FOLDER --out reports/fingerprint

Every clip (its first seconds, short side at most 360) is registered, then copied in each way below
and compared with itself; every clip is compared with every other one. Clips that share footage
(face swaps, stylisations of one source) or sound are named in DERIVED and counted apart: they are
neither copies nor different clips.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from avsafe.media.colour import grey
from avsafe.registry import agreement, fingerprint
from avsafe.registry.fingerprint import Fingerprint, FingerprintExtractor
from avsafe.types import Kind, Media

FOLDERS = (
    "real_talking",
    "real_general",
    "synthetic_lumiere",
    "synthetic_loopy",
    "synthetic_faces",
    "synthetic_other",
    "synthetic_talking",
)
# Words in the names of clips that share footage or sound.
DERIVED = (
    ("ffpp_original_519", "ffpp_Deepfakes_519"),
    ("ffpp_original_634", "ffpp_FaceSwap_634"),
    ("lego_woman", "robot_woman", "wooden_woman", "woman_running_orig"),
    ("lego_car", "robot_car", "car_driving_orig"),
    ("retalking_3", "sadtalker_aoc"),  # one voice recording
)
Frames = list[np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--every", type=int, default=1, help="copy every n-th clip only")
    parser.add_argument("--searches", type=int, default=150, help="random pairs")
    options = parser.parse_args()
    paths = [p for f in FOLDERS for p in sorted((options.media / f).glob("*.m*"))]

    registered: dict[str, Fingerprint] = {}
    queries: dict[str, Fingerprint] = {}  # the same, with the small pictures that a query has
    rows: list[dict[str, Any]] = []
    cpu: dict[str, list[float]] = {"frame_ms": [], "compare_ms": [], "search_ms": []}
    for number, path in enumerate(paths):
        frames, rate = read_frames(path, options.seconds)
        sound, rate_hz = read_sound(path, options.seconds)
        began = time.process_time()
        own = extract(stamped(frames, rate), sound, rate_hz)
        cpu["frame_ms"].append((time.process_time() - began) * 1000 / max(1, own.n_frames))
        queries[path.stem] = own
        registered[path.stem] = Fingerprint.from_bytes(own.to_bytes())
        if number % options.every:
            continue
        for name, copy in [*copies(frames, rate), *sound_copies(sound, rate_hz)]:
            began = time.process_time()
            result = agreement.compare(copy, registered[path.stem])
            took = (time.process_time() - began) * 1000
            cpu["search_ms" if "after" in result.reason else "compare_ms"].append(took)
            rows.append({"copy": name, "clip": path.stem, **vars(result)})
        print(path.stem, flush=True)

    report = {
        "clips": len(paths),
        "seconds_of_each": options.seconds,
        "limits": {
            name: getattr(agreement, name)
            for name in (
                "PICTURE_LIMIT",
                "MOTION_LIMIT",
                "MOTION_SEEN",
                "SOUND_LIMIT",
                "MIN_DETAIL",
            )
        }
        | {"SEARCH_LIMIT": agreement.geometry.LIMIT},
        "true_agreement": rates(rows),
        "false_agreement": false_rates(registered, queries, options.searches),
        "cpu_median": {name: round(float(np.median(v)), 3) for name, v in cpu.items() if v},
        "copies_that_did_not_agree": [row for row in rows if not row["agrees"]],
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "agreement.json").write_text(json.dumps(report, indent=2) + "\n")


# ---------------------------------------------------------------- clips and their copies


def read_frames(path: Path, seconds: float) -> tuple[Frames, Fraction]:
    import cv2

    frames: Frames = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = Fraction(stream.average_rate or 25).limit_denominator(1001)
        for frame in itertools.islice(container.decode(stream), int(seconds * rate)):
            picture = frame.to_ndarray(format="rgb24")
            h, w = picture.shape[:2]
            scale = min(1.0, 360 / min(h, w))
            size = (int(w * scale) // 2 * 2, int(h * scale) // 2 * 2)
            frames.append(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    return frames, rate


def read_sound(path: Path | io.BytesIO, seconds: float) -> tuple[np.ndarray, int]:
    source = path if isinstance(path, io.BytesIO) else str(path)
    with av.open(source) as container:
        if not container.streams.audio:
            return np.zeros((1, 0), np.float32), 0
        rate_hz = container.streams.audio[0].rate
        resampler = av.AudioResampler("fltp", "mono", rate_hz)
        blocks, n = [], 0
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                blocks.append(part.to_ndarray())
                n += blocks[-1].shape[1]
            if n >= seconds * rate_hz:
                break
    joined = np.concatenate(blocks, axis=1) if blocks else np.zeros((1, 0), np.float32)
    return joined[:, : int(seconds * rate_hz)].astype(np.float32), rate_hz


def stamped(frames: Frames, rate: Fraction) -> Iterator[tuple[np.ndarray, float]]:
    return ((frame, number / float(rate)) for number, frame in enumerate(frames))


def extract(
    frames: Iterable[tuple[np.ndarray, float]], sound: np.ndarray | None = None, rate_hz: int = 0
) -> Fingerprint:
    extractor = FingerprintExtractor()
    extractor.start(Media(Path("clip"), "", 0, "mp4", "video/mp4", Kind.VIDEO))
    for frame, time_s in frames:
        extractor.frame(grey(frame), time_s)
    if sound is not None and rate_hz:
        for block in np.array_split(sound, max(1, sound.shape[1] // 4096), axis=1):
            extractor.samples(block, rate_hz)
    return fingerprint.from_features(extractor.finish())


def through_h264(frames: Frames, rate: Fraction, crf: int) -> Fingerprint:
    """Encode, decode, extract."""
    buffer = io.BytesIO()
    h, w = (side // 2 * 2 for side in frames[0].shape[:2])
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(frame[:h, :w]), format="rgb24"
            )
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return extract(stamped(decoded, rate))


def cropped(frames: Frames, top: float, bottom: float, left: float, right: float) -> Frames:
    h, w = frames[0].shape[:2]
    rows = slice(int(h * top), int(h * (1 - bottom)))
    columns = slice(int(w * left), int(w * (1 - right)))
    return [frame[rows, columns] for frame in frames]


def copies(frames: Frames, rate: Fraction) -> Iterator[tuple[str, Fingerprint]]:
    import cv2

    h = frames[0].shape[0]
    brighter = np.clip(np.arange(256) * 1.2 + 15, 0, 255).astype(np.uint8)
    bars = int(h * 0.16)
    late = int(float(rate) * 1.07)
    second = frames[late : late + max(2, int(rate))]
    edits: list[tuple[str, Callable[[], Frames], Fraction, int]] = [
        ("H.264 CRF 28", lambda: frames, rate, 28),
        ("H.264 CRF 40", lambda: frames, rate, 40),
        ("brightness x1.2 +15, CRF 32", lambda: [brighter[f] for f in frames], rate, 32),
        ("from 1.07 s, half the frame rate, CRF 28", lambda: frames[late::2], rate / 2, 28),
        ("one second from 1.07 s, CRF 28", lambda: second, rate, 28),
        ("crop 10 %, CRF 28", lambda: cropped(frames, 0.05, 0.05, 0.05, 0.05), rate, 28),
        ("off-centre crop 15-20 %, CRF 28", lambda: cropped(frames, 0, 0.15, 0.2, 0), rate, 28),
        (
            "letterbox, CRF 28",
            lambda: [cv2.copyMakeBorder(f, bars, bars, 0, 0, cv2.BORDER_CONSTANT) for f in frames],
            rate,
            28,
        ),
        ("mirrored, CRF 28", lambda: [f[:, ::-1] for f in frames], rate, 28),
    ]
    for name, edit, new_rate, crf in edits:
        edited = edit()
        if len(edited) >= 2:
            yield name, through_h264(edited, new_rate, crf)


def sound_copies(sound: np.ndarray, rate_hz: int) -> Iterator[tuple[str, Fingerprint]]:
    """Only the sound, as an audio file would bring it."""
    if sound.shape[1] < 3 * max(1, rate_hz):
        return
    late = int(1.07 * rate_hz)
    noise = np.random.default_rng(0).standard_normal(sound.shape).astype(np.float32)
    noisy = sound + noise * np.sqrt((sound**2).mean()) * 0.1  # 20 dB
    for name, changed, codec in (
        ("AAC 48 kbit/s", sound, "aac"),
        ("MP3 48 kbit/s", sound, "mp3"),
        ("sound from 1.07 s, AAC 48 kbit/s", sound[:, late:], "aac"),
        ("noise 20 dB, AAC 48 kbit/s", noisy, "aac"),
    ):
        yield name, extract((), *through_codec(changed, rate_hz, codec))


def through_codec(sound: np.ndarray, rate_hz: int, codec: str) -> tuple[np.ndarray, int]:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3" if codec == "mp3" else "mp4") as container:
        stream = container.add_stream(codec, rate=44100, layout="mono")
        stream.bit_rate = 48_000
        resampler = av.AudioResampler("fltp", "mono", 44100)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), "fltp", "mono")
        frame.sample_rate = rate_hz
        fifo = av.AudioFifo()
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            part.pts = None
            fifo.write(part)
        for part in [*fifo.read_many(1152 if codec == "mp3" else 1024), fifo.read()]:
            if part is not None:
                container.mux(stream.encode(part))
        container.mux(stream.encode())
    buffer.seek(0)
    return read_sound(buffer, 1e9)


# ---------------------------------------------------------------- rates


def rates(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for name in dict.fromkeys(row["copy"] for row in rows):
        of_copy = [row for row in rows if row["copy"] == name]
        found[name] = {
            "n": len(of_copy),
            "agree": sum(row["agrees"] for row in of_copy),
            "similarity_lowest": round(min(row["similarity"] for row in of_copy), 3),
            "similarity_median": round(float(np.median([r["similarity"] for r in of_copy])), 3),
        }
    return found


def derived(a: str, b: str) -> bool:
    return any(
        any(word in a for word in words) and any(word in b for word in words) for words in DERIVED
    )


def false_rates(
    registered: dict[str, Fingerprint], queries: dict[str, Fingerprint], searches: int
) -> dict[str, Any]:
    """Every pair by tests 1 and 2, by sound alone, and one second against the whole; the search for
    parts on the most similar pairs and on random ones."""
    pictures, sounds, seconds = [], [], []
    for a, b in itertools.permutations(registered, 2):
        plain = agreement.compare(registered[a], registered[b], search=False)
        pictures.append((plain.similarity, plain.agrees, a, b))
        part = first_second(registered[a])
        short = agreement.compare(part, registered[b], search=False)
        seconds.append((short.similarity, short.agrees, a, b))
        if registered[a].n_sound and registered[b].n_sound:
            alone = agreement.compare(only_sound(registered[a]), only_sound(registered[b]))
            sounds.append((alone.similarity, alone.agrees, a, b))
    names = list(registered)
    draw = np.random.default_rng(0)
    chosen = [tuple(draw.choice(names, 2, replace=False)) for _ in range(searches)]
    chosen += [(a, b) for _, _, a, b in sorted(pictures, reverse=True)[:60]]
    searched = []
    for a, b in dict.fromkeys(chosen):
        part = agreement.geometry.search(queries[a], registered[b])
        result = agreement.judge(part.q_bits, part.r_bits, agreement.geometry.LIMIT, "")
        searched.append((result.similarity, result.agrees, a, b))
    return {
        "the search for parts (random pairs and the 60 most similar)": pair_rates(searched),
        "whole clips": pair_rates(pictures),
        "one second against a whole clip": pair_rates(seconds),
        "sound alone": pair_rates(sounds),
    }


def first_second(whole: Fingerprint) -> Fingerprint:
    keep = whole.times_ms < 1000
    return replace(
        whole,
        times_ms=whole.times_ms[keep],
        hashes=whole.hashes[keep],
        middles=whole.middles[keep],
        quality=whole.quality[keep],
        middle_quality=whole.middle_quality[keep],
    )


def only_sound(whole: Fingerprint) -> Fingerprint:
    none = np.zeros(0, np.uint8)
    return replace(
        whole,
        times_ms=none.astype(np.int32),
        hashes=none.reshape(0, 32),
        middles=none.reshape(0, 32),
        quality=none,
        middle_quality=none,
    )


def pair_rates(pairs: list[tuple[float, bool, str, str]]) -> dict[str, Any]:
    shared = [pair for pair in pairs if derived(pair[2], pair[3])]
    other = [pair for pair in pairs if not derived(pair[2], pair[3])]
    nearest = sorted(other, key=lambda pair: -pair[0])[:5]
    return {
        "n": len(other),
        "agree": sum(pair[1] for pair in other),
        "nearest": [f"{s:.3f} {'agrees' if y else 'differs'}: {a} / {b}" for s, y, a, b in nearest],
        "derived_n": len(shared),
        "derived_agree": sum(pair[1] for pair in shared),
    }


if __name__ == "__main__":
    main()
