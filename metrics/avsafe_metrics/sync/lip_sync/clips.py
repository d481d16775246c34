"""Clips to train and test on: tracks of lips and sounds, read once from a folder of media.

Legend: ``k`` frames at 25 a second; a mouth is (49, 2), mel power (40, 4 k). A clip may have
several tracks of the same lips (our landmarks on the film and on the crop, MediaPipe's on the
crop), and several forms of the same sound (as it is, through a codec, in a room).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import UsageError
from avsafe.types import Kind, RawMedia
from avsafe_metrics.sync.lip_sync import features

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
else:
    Array = Any

FILMS = {".mp4", ".mpg", ".mov", ".mkv", ".webm"}
CROPS = "talking_crops"
FOLDERS = ("real_talking", "synthetic_loopy", "synthetic_talking", "synthetic_faces")
SPEEDS = (1.0, 0.87, 1.15)  # the sound is played slower or faster, with its pitch: other voices

# Names that start so are generated people; the others are real.
GENERATED = ("loopy", "omnihuman", "synctalk", "wav2lip")
# Not faces of people: a statue and a cat in three dimensions that the landmarks do not follow.
LEFT_OUT = ("loopy_nonhuman_1", "omnihuman_v1_5_vis_f-11")
# Real people whose sound is certainly their own, by where the clip is from: the GRID corpus was
# recorded with sound; the SadTalker clip is, to our knowledge, HDTF's (addresses, in sync);
# DFRF trains on the sound of its clip. The others are inputs of dubbing demos: it may be replaced.
CERTAIN = ("grid_", "dfrf_french", "sadtalker_aoc")
# One person in several clips: those are held out together. All of GRID counts as one, so that no
# model that is tested on it has heard its sentences.
_SAME = {
    "loopy_side_2": "a", "loopy_side_4": "a", "loopy_comparison_2": "a",
    "loopy_diverse_3": "b", "loopy_diverse_4": "b", "loopy_main_1": "b",
    "retalking_3": "c", "sadtalker_aoc": "c",
    "loopy_realistic_5": "d", "loopy_sing_4": "d",
}  # fmt: skip
# Sound that scorers trained without the clip do not find in sync with the lips: not trained on.
DOUBTFUL = (
    "loopy_comparison_2", "loopy_side_4", "liveportrait_d10", "liveportrait_d12",
    "retalking_1", "omnihuman_v1_5_vis_d-3",
)  # fmt: skip
# Frames that the sound is late (positive), as such scorers found; training corrects it.
LATE = {
    "omnihuman_v1_5_vis_f-6": 2, "omnihuman_v1_5_vis_f-9": 2,
    "omnihuman_v1_5_vis_d-10": 2, "omnihuman_video_talk4": -2,
}  # fmt: skip


@dataclass
class Track:
    """One way in which the lips of a clip were followed."""

    kind: str  # film | crop | mesh
    mouths: Array  # (k, 49, 2), NaN without a face
    runs: tuple[tuple[int, int], ...]


@dataclass
class Clip:
    name: str
    sound: Array  # (n,) at 16 kHz
    tracks: list[Track] = field(default_factory=list)
    forms: dict[float, list[Array]] = field(default_factory=dict)  # speed -> mel powers

    @property
    def person(self) -> str:
        """Whose face it is, so that nobody is trained and tested on.

        >>> Clip("grid_bbaf2n", np.zeros(0, np.float32)).person
        'grid'
        """
        name = self.name.split("@")[0]
        return "grid" if name.startswith("grid_") else _SAME.get(name, name)

    @property
    def generated(self) -> bool:
        return self.name.startswith(GENERATED)

    @property
    def certain(self) -> bool:
        """A real person whose sound is certainly their own."""
        return self.name.startswith(CERTAIN)

    def track(self, *kinds: str) -> Track | None:
        """The first kind of track that there is."""
        for kind in kinds:
            for track in self.tracks:
                if track.kind == kind:
                    return track
        return None


def read(media: Path, cache: Path) -> list[Clip]:
    """All clips of people under ``media``, by name; tracks are kept in ``cache``.

    The films of ``FOLDERS`` are followed by ``avsafe.faces``; so are the crops, which also have
    MediaPipe's points. Raises UsageError where there is none.
    """
    cache.mkdir(parents=True, exist_ok=True)
    clips: list[Clip] = []
    for film in sorted((media / CROPS).glob("*.mp4")):
        track, _ = followed(film, cache / f"{film.stem}.crop.npz")
        sound, _ = heard(film.with_suffix(".ogg"))
        clip = Clip(film.stem, sound, [replaced(track, "crop"), mesh(film.with_suffix(".npz"))])
        clips.append(clip)
    crops = {clip.name: clip for clip in clips}
    for folder in FOLDERS:
        for film in sorted(f for f in (media / folder).glob("*") if f.suffix in FILMS):
            track, own = followed(film, cache / f"{film.stem}.film.npz")
            if own.size < features.AUDIO_HZ or not track.runs:
                continue
            there = crops.get(film.stem)
            if there is not None and _lag(there.sound, own) == 0:
                there.tracks.append(track)
            else:  # cut otherwise than its crop, or without one
                clips.append(Clip(film.stem + ("@film" if there else ""), own, [track]))
    clips = [clip for clip in clips if clip.name not in LEFT_OUT]
    if not clips:
        raise UsageError(f"{media} has no films of people: expected {CROPS} or {FOLDERS[0]}.")
    return sorted(clips, key=lambda clip: clip.name)


def replaced(track: Track, kind: str) -> Track:
    return Track(kind, track.mouths, track.runs)


def followed(film: Path, kept: Path) -> tuple[Track, Array]:
    """The lips of a film, and its sound (n,) at 16 kHz (empty where it has none)."""
    from avsafe.faces import Tracker
    from avsafe.media import play
    from avsafe.metering import Mono

    if not kept.is_file():
        playing = play(film, trusted=True)
        rate = float(playing.shape.frame_rate or features.RATE)
        tracker = Tracker(rate)
        mono = Mono(playing.shape.rate_hz) if playing.shape.rate_hz else None
        for piece in playing:
            if piece.block is not None and mono is not None:
                mono.take(piece.block)
            elif piece.rgb is not None:
                tracker.take(piece.rgb)
        found = tracker.finish()
        sound = mono.whole() if mono is not None else np.zeros(0, np.float32)
        cuts = np.array(found.cuts, np.int64)
        np.savez(kept, points=found.raw, cuts=cuts, rate=rate, sound=sound)
    with np.load(kept) as file:
        mouths, runs = features.at_rate(
            features.mouth(file["points"]), float(file["rate"]), [int(c) for c in file["cuts"]]
        )
        return Track("film", mouths, runs), file["sound"]


def mesh(path: Path) -> Track:
    """MediaPipe's points of a crop, as ``talking_crops`` keeps them."""
    with np.load(path) as file:
        points = np.cumsum(file["landmarks_delta"].astype(np.float32), 0) / 16
        places = {int(number): place for place, number in enumerate(file["mesh_index"])}
    from avsafe.faces import MESH_INDEX

    whole = np.full((len(points), len(MESH_INDEX), 2), np.nan, np.float32)
    for row, number in enumerate(MESH_INDEX):
        if number in places:
            whole[:, row] = points[:, places[number]]
    return Track("mesh", features.mouth(whole), ((0, len(whole)),))


def heard(path: Path) -> tuple[Array, int]:
    """A file's sound (n,) at 16 kHz, and the rate that it had."""
    from avsafe.media import decode
    from avsafe.metering import Mono

    raw = decode(path, trusted=True)
    mono = Mono(raw.rate_hz)
    for block in raw.samples or ():
        mono.take(block)
    return mono.whole(), raw.rate_hz


def _lag(one: Array, other: Array) -> int:
    """How many milliseconds a sound comes later in another file; the best of all."""
    n = min(one.size, other.size)
    size = 1 << (2 * n - 1).bit_length()
    product = np.fft.rfft(other[:n], size) * np.conj(np.fft.rfft(one[:n], size))
    at = int(np.argmax(np.fft.irfft(product, size)))
    return round((at - size if at > size // 2 else at) / (features.AUDIO_HZ / 1000) / 20) * 20


# ---------------------------------------------------------------- other forms of a sound


def prepare(clip: Clip, seed: int, kept: Path) -> None:
    """Mel power of the sound as it is, through a codec (Opus at 12 kbit/s, AAC at 32), and in two
    rooms; at each speed. Kept in a file."""
    from scipy.signal import resample_poly

    rng = np.random.default_rng(seed)
    if not kept.is_file():
        arrays: dict[str, Array] = {}
        for number, speed in enumerate(SPEEDS):
            sound = clip.sound
            if speed != 1:
                sound = np.asarray(resample_poly(sound, 100, round(100 * speed)), np.float32)
            through = coded(sound, "opus", 12) if speed == 1 else coded(sound, "aac", 32)
            forms = (sound, through, in_room(sound, rng), in_room(sound, rng))
            arrays |= {f"{number}.{i}": features.power(form) for i, form in enumerate(forms)}
        np.savez(kept, **arrays)  # type: ignore[arg-type]
    with np.load(kept) as file:
        for number, speed in enumerate(SPEEDS):
            clip.forms[speed] = [file[f"{number}.{i}"] for i in range(4)]


def coded(sound: Array, codec: str, kbps: int) -> Array:
    """A sound (n,) at 16 kHz after a codec, as long as before."""
    from avsafe.media import EncodeSpec, encode

    suffix = {"opus": ".webm", "aac": ".m4a"}[codec]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"sound{suffix}"
        raw = RawMedia(
            Kind.AUDIO, samples=[np.clip(sound, -1, 1)[None]], rate_hz=features.AUDIO_HZ, channels=1
        )
        encode(raw, path, EncodeSpec(audio_codec=codec, audio_kbps=kbps))
        out, _ = heard(path)
    return np.pad(out[: sound.size], (0, max(0, sound.size - out.size)))


def in_room(sound: Array, rng: np.random.Generator) -> Array:
    """A sound with reverberation of 0.15 to 0.5 s: noise that decays by 60 dB (Polack 1988)."""
    from scipy.signal import fftconvolve

    t = np.arange(int(0.35 * features.AUDIO_HZ)) / features.AUDIO_HZ
    decay = 10 ** (-3 * t / rng.uniform(0.15, 0.5))
    response = rng.standard_normal(t.size) * decay * rng.uniform(0.03, 0.12)
    response[0] = 1
    return np.asarray(fftconvolve(sound, response)[: sound.size], np.float32)
