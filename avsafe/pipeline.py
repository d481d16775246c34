"""What happens to raw media between a generator and a signed file: checks, labels, marks.

Everything is an iterator around an iterator, so one pass of the encoder does it all with memory
that does not grow with the length of the clip.

Legend: a frame is (h, w, 3) uint8 RGB; a block of samples is (c, n) float32 in [-1, 1].
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from avsafe import media, plugins
from avsafe.errors import CannotMark, GeneratorFailed, MarkNotReadable, UsageError
from avsafe.media.replay import Replay
from avsafe.types import (
    Cancelled,
    Decision,
    Detection,
    Embedder,
    Features,
    Frame,
    GeneratorInfo,
    Kind,
    Mark,
    Progress,
    RawMedia,
    Samples,
    Watermarker,
)

_log = logging.getLogger(__name__)

LABEL_TEXT = "AI-generated"
LABEL_DURATION_S = 3.0  # GB 45438-2025 asks for at least 2 s at the start
FINGERPRINT = "avsafe.registry.fingerprint:FingerprintExtractor"
# The marks that each kind of media carries: the first must be readable, the others may be refused
# by the media itself (no sound worth marking).
MARKS_OF_KIND: dict[Kind, tuple[str, ...]] = {
    Kind.VIDEO: ("video", "audio"),
    Kind.IMAGE: ("image",),
    Kind.AUDIO: ("audio",),
}

_PLACE = {"video": "pictures", "image": "picture", "audio": "sound"}
_BETTER = {
    "video": "a longer or larger clip, or one with more texture and fewer repeated patterns",
    "image": "a larger picture, or one with more texture and fewer repeated patterns",
    "audio": "a longer piece, or one with fuller sound",
}
_SUFFIX_FOR = {
    Kind.VIDEO: "name it .mp4, .mov, .mkv or .webm",
    Kind.IMAGE: "name it .png, .jpg or .webp",
    Kind.AUDIO: "name it .wav, .flac, .mp3, .m4a or .mp4",
}


def forward_only(progress: Progress) -> Progress:
    """A Progress that never steps back: generator and encoder both report, a second pass again."""
    furthest = 0.0

    def report(fraction: float, stage: str) -> None:
        nonlocal furthest
        furthest = max(furthest, min(1.0, fraction))
        progress(furthest, stage)

    return report


# ---------------------------------------------------------------- output checks


def checked(raw: RawMedia, info: GeneratorInfo | None, final: Path) -> RawMedia:
    """The same media, refusing on the way whatever breaks the contract of RawMedia or the limits
    that the generator declared. Raises GeneratorFailed when iterated (or at once where possible),
    UsageError when a file of that name would hold only a part of the media.
    """
    name = info.name if info else "the file"
    if raw.frames is None and raw.samples is None:
        raise GeneratorFailed(f"{name} returned neither frames nor samples.")
    # The kind decides which marks there must be: it may not hide what the media carries.
    if (raw.frames is None) != (raw.kind is Kind.AUDIO):
        there = "no frames" if raw.frames is None else "frames"
        raise GeneratorFailed(f"{name} returned media of the kind {raw.kind} with {there}.")
    if raw.samples is not None and raw.kind is Kind.IMAGE:
        raise GeneratorFailed(f"{name} returned a picture with sound.")
    holds = media.MIME_BY_SUFFIX[final.suffix.lower()].partition("/")[0]
    if raw.kind != holds and (raw.kind, holds) != (Kind.AUDIO, "video"):
        raise UsageError(f"{final.name} cannot hold this {raw.kind}: {_SUFFIX_FOR[raw.kind]}.")
    longest_s = info.max_duration_s if info else math.inf
    if raw.frames is not None:
        if info and raw.width * raw.height > info.max_pixels:
            raise GeneratorFailed(
                f"{name} returned {raw.width} x {raw.height} pixels, more than the "
                f"{info.max_pixels} it declares."
            )
        raw = raw.with_frames(Replay(partial(_check_frames, name, raw, raw.frames, longest_s)))
    if raw.samples is not None:
        raw = raw.with_samples(Replay(partial(_check_samples, name, raw, raw.samples, longest_s)))
    return raw


def _check_frames(
    name: str, raw: RawMedia, frames: Iterable[Frame], longest_s: float
) -> Iterator[Frame]:
    expected = (raw.height, raw.width, 3)
    most = 1 if raw.frame_rate is None else longest_s * float(raw.frame_rate) + 1
    count = 0
    for count, frame in enumerate(frames, 1):
        if frame.shape != expected or frame.dtype.name != "uint8":
            raise GeneratorFailed(
                f"{name} returned frame {count} as {frame.shape} {frame.dtype}; "
                f"expected {expected} uint8."
            )
        if count > most:
            raise GeneratorFailed(f"{name} returned more than the {longest_s:g} s it declares.")
        yield frame
    if count == 0:
        raise GeneratorFailed(f"{name} returned no frame.")


def _check_samples(
    name: str, raw: RawMedia, blocks: Iterable[Samples], longest_s: float
) -> Iterator[Samples]:
    import numpy as np

    total = 0
    for block in blocks:
        if block.ndim != 2 or block.shape[0] != raw.channels:
            raise GeneratorFailed(
                f"{name} returned samples of shape {block.shape}; expected ({raw.channels}, n)."
            )
        if not np.isfinite(block).all():
            raise GeneratorFailed(f"{name} returned samples that are not finite numbers.")
        total += block.shape[1]
        if total > (longest_s + 1) * raw.rate_hz:
            raise GeneratorFailed(f"{name} returned more than the {longest_s:g} s it declares.")
        yield block
    if total == 0 and raw.kind is Kind.AUDIO:
        raise GeneratorFailed(f"{name} returned no sound.")


# ---------------------------------------------------------------- obligations


def labelled(raw: RawMedia, decision: Decision) -> tuple[RawMedia, str | None]:
    """Carry out ``label=visible`` and ``notice=whole-clip``; returns the media and the label.

    Pictures get a burnt-in text (at the start, or throughout), sound alone the audible rhythm.
    """
    from avsafe.media.label import audible_notice, burn_label

    wanted = {str(item) for item in decision.obligations}
    if not wanted & {"label=visible", "notice=whole-clip"}:
        return raw, None
    if raw.frames is None:
        assert raw.samples is not None  # noqa: S101  checked() refused media with neither
        return raw.with_samples(audible_notice(raw.samples, raw.rate_hz)), "audible notice"
    whole = "notice=whole-clip" in wanted or raw.frame_rate is None  # a picture has no beginning
    duration_s = None if whole else LABEL_DURATION_S
    frames = burn_label(raw.frames, LABEL_TEXT, frame_rate=raw.frame_rate, duration_s=duration_s)
    return raw.with_frames(frames), LABEL_TEXT


# ---------------------------------------------------------------- marks


@dataclass(frozen=True)
class Marked:
    """A written file whose marks were read back from it."""

    marks: tuple[Mark, ...]
    features: Features  # of the fingerprint, from the same decoding pass
    warnings: tuple[str, ...]


def encode_marked(
    raw: RawMedia,
    destination: Path,
    payloads: dict[str, int],
    key: bytes,
    progress: Progress,
    cancelled: Cancelled,
) -> Marked:
    """Encode with the marks inside the loop, then read them back from the written file.

    A mark that does not read back, or that only just does (its detection says ``margin`` < 1), is
    tried once more at the strongest setting its quality floor allows; the other marks stay as they
    are. The second file is kept unless it reads fewer marks than the first: two encodes at most.

    Raises MarkNotReadable, or CannotMark, when the first mark of this kind of media fails; a second
    mark (the sound of a video) that fails is left out and named in ``warnings``.
    """
    markers: dict[str, Watermarker] = {n: plugins.load("watermarkers", n) for n in payloads}

    def tried(path: Path, strongest: Container[str]) -> _Trial:
        embedders, warnings = _embedders(raw, markers, payloads, key, strongest)
        marks = _encode(raw, path, embedders, warnings, progress, cancelled)
        return _read_back(path, marks, markers, key, warnings)

    kept = tried(destination, ())
    if kept.lost or kept.thin:
        _log.info("marks lost: %s, thin: %s; encoding again", kept.lost, kept.thin)
        again = destination.with_name(f"{destination.stem}.again{destination.suffix}")
        try:
            second = tried(again, kept.lost + kept.thin)
            if second.worth >= kept.worth:
                again.replace(destination)
                kept = second
        except CannotMark:  # at the strongest setting: quality forbids it
            if next(iter(payloads)) in kept.lost:
                raise
        finally:
            again.unlink(missing_ok=True)
    return _settled(kept, next(iter(payloads)))


@dataclass(frozen=True)
class _Trial:
    """One written file and what was read back from it."""

    marks: dict[str, Mark]
    lost: tuple[str, ...]  # names of marks that were not read
    thin: tuple[str, ...]  # of marks that were read, with little to spare
    features: Features
    warnings: list[str]

    @property
    def worth(self) -> tuple[bool, int]:
        """The indispensable mark first, then how many."""
        first = next(iter(self.marks), None)
        return first is not None and first not in self.lost, len(self.marks) - len(self.lost)


def _read_back(
    path: Path,
    marks: dict[str, Mark],
    markers: dict[str, Watermarker],
    key: bytes,
    warnings: list[str],
) -> _Trial:
    extractors = {n: markers[n].extractor for n in marks} | {"fingerprint": FINGERPRINT}
    features = media.analyse(path, extractors, trusted=True)
    found = {n: markers[n].detect(features[n], key) for n in marks}
    lost = [n for n, d in found.items() if not (d.present and d.payload == marks[n].payload)]
    thin = [n for n, d in found.items() if n not in lost and _is_thin(d)]
    return _Trial(marks, tuple(lost), tuple(thin), features["fingerprint"], warnings)


def _is_thin(detection: Detection) -> bool:
    """Whether the detector read the mark, but asks for a stronger one."""
    margin = detection.details.get("margin")
    return isinstance(margin, float) and margin < 1.0


def _settled(trial: _Trial, first: str) -> Marked:
    """What is released of a trial: without the marks that it lost."""
    if first in trial.lost:
        raise MarkNotReadable(
            f"Not released: the {first} mark could not be read back from the encoded file, even at "
            f"the strongest setting. Use {_BETTER[first]}."
        )
    survived = {n: mark for n, mark in trial.marks.items() if n not in trial.lost}
    sentences = [
        f"The {n} mark did not survive encoding; the {first} mark did." for n in trial.lost
    ]
    return Marked(tuple(survived.values()), trial.features, (*trial.warnings, *sentences))


def _embedders(
    raw: RawMedia,
    markers: dict[str, Watermarker],
    payloads: dict[str, int],
    key: bytes,
    strongest: Container[str],
) -> tuple[dict[str, Embedder], list[str]]:
    """An embedder for each mark that this media can carry, and a sentence for each other."""
    embedders: dict[str, Embedder] = {}
    warnings: list[str] = []
    first = next(iter(markers))
    for name, marker in markers.items():
        attempt = 1 if name in strongest else 0
        try:
            embedders[name] = marker.embedder(raw, payloads[name], key, attempt=attempt)
        except CannotMark as error:
            _refused(name, first, error, warnings)
    return embedders, warnings


def _encode(
    raw: RawMedia,
    destination: Path,
    embedders: dict[str, Embedder],
    warnings: list[str],
    progress: Progress,
    cancelled: Cancelled,
) -> dict[str, Mark]:
    first = next(iter(embedders))
    marked = raw
    if raw.frames is not None and first != "audio":
        marked = marked.with_frames(map(embedders[first].frame, raw.frames))
    if raw.samples is not None and "audio" in embedders:
        marked = marked.with_samples(_marked_samples(embedders["audio"], raw.samples))
    media.encode(marked, destination, progress=progress, cancelled=cancelled)
    marks: dict[str, Mark] = {}
    for name, embedder in embedders.items():
        try:
            marks[name] = embedder.mark()
        except CannotMark as error:
            _refused(name, first, error, warnings)
    return marks


def _refused(name: str, first: str, error: CannotMark, warnings: list[str]) -> None:
    if name == first:
        raise CannotMark(f"Not released, since it can carry no mark: {error}") from error
    reason = str(error).removesuffix(".")
    warnings.append(
        f"No mark in the {_PLACE[name]}: {reason}. The {first} mark is there; the {_PLACE[name]} "
        "alone will not be recognised."
    )


def _marked_samples(embedder: Embedder, blocks: Iterable[Samples]) -> Iterator[Samples]:
    for block in blocks:
        yield embedder.samples(block)
    yield embedder.flush()


def marks_wanted(kind: Kind, *, sound: bool) -> tuple[str, ...]:
    """The names of the watermarkers for a kind of media, the indispensable one first.

    >>> marks_wanted(Kind.VIDEO, sound=False)
    ('video',)
    """
    return tuple(n for n in MARKS_OF_KIND[kind] if sound or n != "audio")


def payloads_for(raw: RawMedia, taken: Callable[[str, int], bool]) -> dict[str, int]:
    """A fresh random payload for each mark that the media may carry.

    ``taken(algorithm, payload)`` says which are in use: 32 bits of audio payload are few enough for
    collisions to matter (one in two at 65,000 releases), so they are drawn again.
    """
    drawn: dict[str, int] = {}
    for name in marks_wanted(raw.kind, sound=raw.samples is not None):
        marker: Watermarker = plugins.load("watermarkers", name)
        payload = secrets.randbits(marker.payload_bits)
        while taken(marker.algorithm, payload):
            payload = secrets.randbits(marker.payload_bits)
        drawn[name] = payload
    return drawn
