"""What a file that avsafe writes no longer has of its source: one sentence for each change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from avsafe.media import writing

if TYPE_CHECKING:
    from avsafe.types import RawMedia

# what decoding noted in ``RawMedia.details`` -> the sentence
_SENTENCES = {
    "hdr": "The {} was brought to 8-bit BT.709 without tone mapping: it will look flat or pale. "
    "Tone-map the file first where that matters.",
    "depth": "{} bits a channel became 8.",
    "alpha": "Transparency is not kept: {}.",
    "resampled": "The frame rate was made constant ({}).",
    "held_frames": "The sound begins before the picture: the first frame is repeated {} times.",
    "left_out": "Not kept: {}.",
}
_SIXTEEN_BITS = (".wav", ".flac")


def changes(raw: RawMedia, destination: Path) -> tuple[str, ...]:
    """Sentences on what encoding ``raw`` to ``destination`` changes beside its coding.

    High dynamic range, deep pixels, transparency, uneven frame times, further streams, odd sides
    and sample rates that the target cannot hold. Nothing for media that stays as it is.

    >>> from avsafe.testing import textured_clip
    >>> changes(textured_clip(0.1, 127, 96, sound=False), Path("clip.mp4"))
    ('127 x 96 pixels are written as 128 x 96: H.264 and VP9 need even sides, so the last row or \
column is repeated.',)
    >>> changes(textured_clip(0.1, 128, 96), Path("clip.mp4"))
    ()
    """
    suffix = destination.suffix.lower()
    seen = {key: value for key, value in raw.details.items() if value}
    if "hdr" in seen:
        seen.pop("depth", None)  # said already
    told = [text.format(seen[key]) for key, text in _SENTENCES.items() if key in seen]
    if raw.frames is not None:
        size, written = (raw.width, raw.height), writing.size_for(suffix, raw.width, raw.height)
        if written != size:
            told.append(
                f"{size[0]} x {size[1]} pixels are written as {written[0]} x {written[1]}: H.264 "
                "and VP9 need even sides, so the last row or column is repeated."
            )
    if raw.samples is not None:
        rate_hz = writing.rate_for(suffix, raw.rate_hz)
        if rate_hz != raw.rate_hz:
            told.append(f"The sound at {raw.rate_hz} Hz is written at {rate_hz} Hz.")
        if raw.details.get("deep_sound") and suffix in _SIXTEEN_BITS:
            told.append(f"Samples of {raw.details['deep_sound']} are written with 16 bits.")
    return tuple(told)
