"""One clip, one key: mark, release as the gate does, then every attack and what is read after it.

Legend: frames are (h, w, 3) uint8 RGB; sound is (c, n) float32.

1. decode the first seconds of the clip, in the sandbox
2. mark with a fresh key and payload; once more, stronger, when the release does not read back
3. encode the release with the gate's settings, and decode it once
4. for every attack: damage, encode, extract features, detect, and write one row
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from avsafe import media, plugins
from avsafe.bench.clips import (
    Shot,
    Sound,
    load_shot,
    load_sound,
    picture_figures,
    sound_figures,
)
from avsafe.bench.watermark import attacks, quality, recode
from avsafe.bench.watermark.picture_damage import Inapplicable
from avsafe.errors import AvsafeError, CannotMark, MissingStream
from avsafe.sharding.rows import Row, Store
from avsafe.types import Detection, Features, Kind, RawMedia, Samples, Watermarker


@dataclass(frozen=True)
class Trial:
    """What a worker process is asked for."""

    store: str
    run: str  # the hash of code and settings
    watermarker: str
    clip: str
    path: str
    key: int
    attacks: tuple[str, ...]
    seconds: float
    seed: str
    want_quality: bool

    def row(self, kind: str, attack: str, **values: Any) -> Row:
        return {
            "kind": kind,
            "run": self.run,
            "watermarker": self.watermarker,
            "clip": self.clip,
            "key": self.key,
            "attack": attack,
            **values,
        }


def key_and_payload(
    seed: str, watermarker: str, clip: str, key: int, bits: int
) -> tuple[bytes, int]:
    """A key and payload of its own for every clip and index: the same ones in every rerun."""
    text = f"avsafe.bench/{seed}/{watermarker}/{clip}/{key}".encode()
    wide = hashlib.shake_256(text).digest(32 + 64)
    return wide[:32], int.from_bytes(wide[32:]) % (1 << bits)


def run(trial: Trial) -> None:
    """Write the rows of one trial; whatever fails becomes a row with its reason."""
    store = Store(Path(trial.store))
    marker: Watermarker = plugins.load("watermarkers", trial.watermarker)
    began = time.process_time()
    try:
        with tempfile.TemporaryDirectory(prefix="avsafe-bench-") as folder:
            host = load(Path(trial.path), marker.modality, trial.seconds)
            key, payload = key_and_payload(
                trial.seed, trial.watermarker, trial.clip, trial.key, marker.payload_bits
            )
            released = release(host, marker, key, payload, Path(folder))
            _describe(trial, store, host, released, time.process_time() - began)
            for name in trial.attacks:
                _attack(trial, store, marker, released, name, key, payload, Path(folder))
    except MissingStream as error:
        _all(trial, store, "inapplicable", str(error))
    except CannotMark as error:
        _all(trial, store, "refused", str(error))
    except Exception as error:
        _all(trial, store, "failed", _reason(error))


def lost(trial: Trial, reason: str) -> None:
    """Rows for a trial whose process died."""
    _all(trial, Store(Path(trial.store)), "failed", reason)


def _all(trial: Trial, store: Store, status: str, reason: str) -> None:
    done = store.done()
    for name in trial.attacks:
        row = trial.row("score", name, status=status, reason=reason)
        if (
            tuple(row.get(k) for k in ("run", "kind", "watermarker", "clip", "key", "attack"))
            in done
        ):
            continue
        store.append(row)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, AvsafeError) else f"{type(error).__name__}: {error}"


# ---------------------------------------------------------------- 1 decode


def load(path: Path, kind: Kind, seconds: float) -> Shot | Sound:
    if kind is Kind.AUDIO:
        return load_sound(path, seconds)
    shot = load_shot(path, seconds)
    if kind is Kind.IMAGE:
        frames = list(shot.frames)
        return Shot([frames[len(frames) // 2]], Fraction(25), 1, shot.height, shot.width)
    return shot


# ---------------------------------------------------------------- 2, 3 mark and release


@dataclass(frozen=True)
class Released:
    """A release: its file, what it decodes to, and what was put in."""

    path: Path
    shot: Shot | Sound  # decoded from the file
    marked: list[Any]  # frames, or one array of samples, before the codec
    attempt: int
    detection: Detection


SUFFIX = {Kind.VIDEO: ".mp4", Kind.IMAGE: ".png", Kind.AUDIO: ".m4a"}


def release(
    host: Shot | Sound, marker: Watermarker, key: bytes, payload: int, folder: Path
) -> Released:
    """As the gate does it: at normal strength, and stronger when the file does not read back."""
    path = folder / f"release{SUFFIX[marker.modality]}"
    raw = host.as_raw() if isinstance(host, Sound) else host.as_raw(marker.modality)
    for attempt in (0, 1):
        marked = mark(marker, raw, payload, key, attempt)
        if isinstance(host, Sound):
            media.encode(raw.with_samples(marked), path)
        else:
            media.encode(raw.with_frames(marked), path)
        found = marker.detect(features_of(path, marker), key)
        if found.present and found.payload == payload:
            break
    decoded: Shot | Sound
    if isinstance(host, Sound):
        decoded = load_sound(path, 0, trusted=True)
    else:
        decoded = load_shot(path, 0, trusted=True)
    return Released(path, decoded, marked, attempt, found)


def mark(marker: Watermarker, raw: RawMedia, payload: int, key: bytes, attempt: int) -> list[Any]:
    """Marked frames, or one block of marked samples. CannotMark when the media refuses."""
    embedder = marker.embedder(raw, payload, key, attempt=attempt)
    if marker.modality is Kind.AUDIO:
        blocks: list[Samples] = [embedder.samples(block) for block in raw.samples or ()]
        blocks.append(embedder.flush())
        embedder.mark()
        return [np.hstack(blocks)]
    frames = [embedder.frame(frame) for frame in raw.frames or ()]
    embedder.mark()
    return frames


def features_of(path: Path, marker: Watermarker) -> Features:
    """What the watermarker's extractor finds in a file that we wrote."""
    return media.analyse(path, {"mark": marker.extractor}, trusted=True)["mark"]


def _describe(
    trial: Trial, store: Store, host: Shot | Sound, released: Released, cpu_s: float
) -> None:
    if not trial.want_quality:
        return
    row = trial.row("quality", "", status="ok", duration_s=host.duration_s, mark_cpu_s=cpu_s)
    row["attempt"] = released.attempt
    if isinstance(host, Sound):
        row |= {"rate_hz": host.rate_hz, "channels": host.samples.shape[0]}
        row |= sound_figures(host) | quality.sound_quality(host, released.marked[0])
    else:
        row |= {"width": host.width, "height": host.height, "frame_rate": float(host.rate)}
        row |= picture_figures(host)
        row |= quality.picture_quality(list(host.frames), released.marked, host.rate)
    store.append(row)


# ---------------------------------------------------------------- 4 attacks


@contextmanager
def _timed() -> Iterator[dict[str, float]]:
    cost: dict[str, float] = {}
    began = time.process_time()
    yield cost
    cost["cpu_s"] = round(time.process_time() - began, 4)


def _attack(
    trial: Trial,
    store: Store,
    marker: Watermarker,
    released: Released,
    name: str,
    key: bytes,
    payload: int,
    folder: Path,
) -> None:
    attack = attacks.table(marker.modality)[name]
    row = trial.row("score", name, duration_s=round(released.shot.duration_s, 3))
    row["attempt"] = released.attempt
    path = folder / f"attacked-{name}"
    try:
        with _timed() as cost:
            if attack.codec is None:
                reader, written = marker, released.path
            else:
                written = apply(attack, released.shot, path)
                reader = reader_of(attack, marker)
            features = features_of(written, reader)
        with _timed() as detecting:
            found = reader.detect(features, key)
        ber = bit_error_rate(reader, features, key, payload)
        row |= {
            "status": "ok",
            "exact": bool(found.present and found.payload == payload),
            "present": found.present,
            "wrong_payload": bool(found.present and found.payload != payload),
            "p_value": found.p_value,
            "ber": ber,
            "attack_cpu_s": cost["cpu_s"],
            "detect_cpu_s": detecting["cpu_s"],
            "details": _details(found),
        }
    except Inapplicable as error:
        row |= {"status": "inapplicable", "reason": str(error)}
    except Exception as error:
        row |= {"status": "failed", "reason": _reason(error)}
    finally:
        for leftover in folder.glob(f"attacked-{name}*"):
            leftover.unlink()
    store.append(row)


def apply(attack: attacks.Attack, host: Shot | Sound, path: Path) -> Path:
    """Damage and store; returns the file, whose suffix is the codec's."""
    codec = attack.codec
    if codec is None:
        raise ValueError(f"{attack.name} leaves the release as it is.")
    damaged = attack.damage(host)
    written = path.with_name(path.name + codec.suffix)
    if isinstance(damaged, Sound):
        recode.write_sound(damaged, codec, written)
        return written
    if codec.encoder:
        recode.write_shot(damaged, codec, written)
    if not codec.still:
        return written
    frames = damaged.frames
    if codec.encoder:
        frames = load_shot(written, 0, trusted=True).frames
    frames = list(frames)
    still = path.with_name(path.name + (".png" if codec.still == "png" else ".jpg"))
    recode.write_picture(frames[len(frames) // 2], codec, still)
    return still


def reader_of(attack: attacks.Attack, marker: Watermarker) -> Watermarker:
    """Who reads the result: a screenshot the image watermarker, if its algorithm is the same."""
    if marker.modality is Kind.VIDEO and attack.codec is not None and attack.codec.still:
        for name in plugins.catalogue("watermarkers"):
            if name == "image":
                other: Watermarker = plugins.load("watermarkers", name)
                if other.algorithm == marker.algorithm:
                    return other
    return marker


def bit_error_rate(
    marker: Watermarker, features: Features, key: bytes, payload: int
) -> float | None:
    """The coded bit error rate, where a watermarker offers it (an optional method)."""
    method = getattr(marker, "bit_error_rate", None)
    if method is None:
        return None
    try:
        value = method(features, key, payload)
    except AvsafeError:  # nothing to compare: the detection itself stands
        return None
    return None if value is None else float(value)


def _details(found: Detection) -> dict[str, Any]:
    """The plain numbers among the details: what they mean is the watermarker's affair."""
    return {
        key: round(float(value), 6) if isinstance(value, float) else value
        for key, value in found.details.items()
        if isinstance(value, bool | int | float | str)
    }
