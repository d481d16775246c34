"""The same files once more as the world sends them on: JPEG 75, MP3 64 kbit/s, H.264 CRF 28."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe import media
from avsafe.errors import MissingStream
from avsafe.media import decode
from avsafe.types import Kind

if TYPE_CHECKING:
    from avsafe.types import RawMedia

AS_GIVEN = "given"
RECODED = {Kind.IMAGE: "JPEG 75", Kind.AUDIO: "MP3 64 kbit/s", Kind.VIDEO: "H.264 CRF 28"}
WORDS = {Kind.IMAGE: "pictures", Kind.AUDIO: "sound", Kind.VIDEO: "video"}
FIRST_S = 20.0  # of a file that is coded again
_SUFFIX = {Kind.IMAGE: ".jpg", Kind.AUDIO: ".mp3", Kind.VIDEO: ".mp4"}
_MP3_RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


def condition_name(kind: Kind, coding: str) -> str:
    """
    >>> condition_name(Kind.AUDIO, "MP3 64 kbit/s"), condition_name(Kind.IMAGE, AS_GIVEN)
    ('sound as MP3 64 kbit/s', 'pictures as given')
    """
    return f"{WORDS[kind]} as {coding}"


def recode(path: Path, kind: Kind, folder: Path, *, limits: media.Limits | None = None) -> Path:
    """A new file in ``folder`` with the first 20 s of ``path``; reading happens in the sandbox.

    Raises the children of ``UnreadableMedia``.
    """
    raw = decode(path, limits=limits, max_duration_s=FIRST_S)
    target = folder / f"recoded{_SUFFIX[kind]}"
    if kind is Kind.AUDIO:
        _write_mp3(raw, target, 64_000)
    else:
        spec = media.EncodeSpec(crf=28, audio_kbps=64, image_quality=75)
        media.encode(raw, target, spec)
    return target


def _write_mp3(raw: RawMedia, path: Path, bit_rate: int) -> None:
    """Mono or stereo; further channels are left out."""
    import av

    if raw.samples is None:
        raise MissingStream(f"{path.name} would have no sound.")
    layout = "mono" if raw.channels == 1 else "stereo"
    rate = next((one for one in _MP3_RATES if one >= raw.rate_hz), _MP3_RATES[-1])
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libmp3lame", rate=rate, layout=layout)
        stream.bit_rate = bit_rate
        resampler = av.AudioResampler("fltp", layout, rate)
        for block in raw.samples:
            two = np.ascontiguousarray(np.clip(block[:2], -1, 1), np.float32)
            piece = av.AudioFrame.from_ndarray(two, format="fltp", layout=layout)
            piece.sample_rate = raw.rate_hz
            for converted in resampler.resample(piece):
                container.mux(stream.encode(converted))
        for converted in resampler.resample(None):
            container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
