"""From what the sandbox handed out to what a network wants, as the manifest describes it.

Legend: ``w`` windows, ``n`` samples of a window; ``f`` frames, ``h`` ``w`` sides, ``c`` channels.
Every function gives an array, or the reason (a text) why there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from avsafe.types import Features, Media
from avsafe_detectors.adapters import inputs

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from avsafe.qualify.manifest import PictureInput, SoundInput

DOMAIN_TARGET = "avsafe_detectors.domain.extractor:DomainExtractor"
SILENT = 1e-3  # rms, -60 dBFS: a window below holds nothing to judge
BLANK = 1.5  # grey levels of deviation; a picture below shows nothing
STILL = 0.05  # mean grey levels between frames; below, nothing moves
_LEAST_SHARE = 0.25  # of a window that must be there before it is repeated or filled


def targets(
    sound: SoundInput | None, pictures: PictureInput | None, content: Sequence[str]
) -> dict[str, str]:
    """The extractors of an adapter with these inputs."""
    found: dict[str, str] = {}
    if sound is not None:
        found["sound"] = inputs.SOUND_TARGET
    if pictures is not None:
        found["pictures"] = (
            inputs.RUN_TARGET
            if pictures.rate is not None
            else inputs.CENTRE_TARGET
            if pictures.fit == "crop"
            else inputs.SPREAD_TARGET
        )
    if content:
        found["domain"] = DOMAIN_TARGET
    return found


def unsuited(content: Sequence[str], features: Mapping[str, Features], media: Media) -> str | None:
    """Why a file is none of the content that the network is for; None when it is."""
    if not content:
        return None
    from avsafe_detectors.domain import describe

    found = describe(features["domain"], media)
    classes = {found.sound_class, found.picture_class} - {None}
    if classes & set(content):
        return None
    is_ = " and ".join(sorted(str(c) for c in classes)) or "nothing that was recognised"
    return f"it holds {is_}; the network is for {', '.join(content)}"


def windows(features: Features, wanted: SoundInput) -> NDArray[np.float32] | str:
    """``(w, n)`` float32 at the network's rate, spread over the sound; silent ones left out."""
    sound, rate = inputs.heard(features)
    if not rate or not sound.size:
        return "it has no sound"
    sound = inputs.resampled(sound, rate, wanted.rate_hz)
    n = wanted.samples
    if sound.size < n:
        if wanted.short == "abstain" or sound.size < _LEAST_SHARE * n:
            return (
                f"it has {sound.size / wanted.rate_hz:.2f} s of sound; the network wants "
                f"{wanted.window_s:.2f} s"
            )
        if wanted.short == "repeat":
            sound = np.tile(sound, -(-n // sound.size))[:n]
        else:
            sound = np.concatenate([sound, np.zeros(n - sound.size, np.float32)])
    count = min(wanted.windows, -(-sound.size // n))
    starts = np.linspace(0, sound.size - n, count).round().astype(int)
    cut = [sound[start : start + n] for start in starts]
    loud = [one for one in cut if float(np.sqrt(np.square(one, dtype=np.float64).mean())) > SILENT]
    if not loud:
        return "its sound is silent"
    return np.stack([_levelled(one, wanted.normalise) for one in loud])


def _levelled(window: NDArray[np.float32], how: str) -> NDArray[np.float32]:
    if how == "peak":
        return window / np.float32(np.abs(window).max())
    if how == "rms":  # to -20 dBFS
        return window * np.float32(0.1 / np.sqrt(np.square(window, dtype=np.float64).mean()))
    if how == "z-score":
        return np.asarray((window - window.mean()) / (window.std() + 1e-7), np.float32)
    return window


def pictures(features: Features, wanted: PictureInput) -> NDArray[np.float32] | str:
    """``(f, h, w, c)`` float32, normalised, in the network's colours; blank ones left out.

    With a rate they are a run: evenly spaced in time, none left out.
    """
    frames, times = inputs.seen(features)
    if not len(frames):
        return "it has no pictures"
    chosen = _spread(frames, wanted.frames) if wanted.rate is None else _run(frames, times, wanted)
    if isinstance(chosen, str):
        return chosen
    shows = [one for one in chosen if float(one.std()) > BLANK]
    if not shows or (wanted.rate is not None and len(shows) < len(chosen)):
        return "its pictures are blank"
    return np.stack([_fitted(one, wanted) for one in shows])


def _spread(frames: NDArray[np.uint8], most: int) -> NDArray[np.uint8]:
    count = min(most, len(frames))
    return np.asarray(frames[((np.arange(count) + 0.5) / count * len(frames)).astype(int)])


def _run(
    frames: NDArray[np.uint8], times: NDArray[np.float64], wanted: PictureInput
) -> NDArray[np.uint8] | str:
    """Frames at the wanted rate from the middle of what there is."""
    assert wanted.rate is not None  # noqa: S101
    if len(frames) < 2 or (np.diff(times) <= 0).any():
        return "it has no two pictures at different times"
    step = 1 / wanted.rate
    count = min(wanted.frames, int((times[-1] - times[0]) / step + 1e-6) + 1)
    first = (times[0] + times[-1] - (count - 1) * step) / 2
    at = np.abs(times[None, :] - (first + np.arange(count) * step)[:, None]).argmin(1)
    if len(set(at.tolist())) < count:
        found = 1 / float(np.median(np.diff(times)))
        return f"it has {found:.3g} frames a second; the network wants {wanted.rate:g}"
    return np.asarray(frames[at])


def _fitted(frame: NDArray[np.uint8], wanted: PictureInput) -> NDArray[np.float32]:
    """One frame at the wanted size; shrinking is antialiased (Pillow, bicubic)."""
    from PIL import Image

    picture = Image.fromarray(frame)
    resize, high, wide = Image.Resampling.BICUBIC, wanted.height, wanted.width
    if wanted.fit == "squeeze":
        picture = picture.resize((wide, high), resize)
    else:
        short = max(high / picture.height, wide / picture.width)
        if wanted.fit == "resize" or short > 1:
            size = max(wide, round(picture.width * short)), max(high, round(picture.height * short))
            picture = picture.resize(size, resize)
        picture = _centre(picture, wide, high)
    if wanted.colour == "grey":
        values = np.asarray(picture.convert("L"), np.float32)[:, :, None]
    else:
        values = np.asarray(picture, np.float32)
        values = values[:, :, ::-1] if wanted.colour == "bgr" else values
    mean, std = np.array(wanted.mean, np.float32), np.array(wanted.std, np.float32)
    return np.asarray((values / np.float32(255) - mean) / std, np.float32)


def _centre(picture: Image, width: int, height: int) -> Image:
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def laid_out(batch: NDArray[np.float32], layout: str) -> NDArray[np.float32]:
    """``(f, h, w, c)`` -> as the network wants it: "nchw" or "nhwc"."""
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2) if layout == "nchw" else batch)
