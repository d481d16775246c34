"""Contact sheets of clips that we made ourselves: marked, the difference amplified, attacked.

Legend: a frame is (h, w, 3) uint8 RGB.
"""

from __future__ import annotations

import base64
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avsafe import plugins
from avsafe.bench.clips import load_shot, own_clips
from avsafe.bench.watermark import attacks
from avsafe.bench.watermark.quality import psnr_db
from avsafe.bench.watermark.trial import apply, features_of, key_and_payload, release
from avsafe.errors import AvsafeError
from avsafe.types import Frame, Kind, Watermarker

AMPLIFIED = 16
_ATTACKS = ("h264_crf35", "crop_30", "rotate_5", "social")
_WIDTH = 360  # pixels of one picture


@dataclass(frozen=True)
class Strip:
    """One clip: three pictures as data URIs, and what was read from the attacked copy."""

    prompt: str
    marked: str
    difference: str
    attacked: str
    attack: str
    psnr_db: float
    read: bool


def strips(watermarker: str, seed: str, count: int = 4) -> list[Strip]:
    """One strip for each of our own clips; empty where there is no generator for them."""
    marker: Watermarker = plugins.load("watermarkers", watermarker)
    if marker.modality is not Kind.VIDEO:
        return []
    table = attacks.table(Kind.VIDEO)
    made = []
    for index, (prompt, shot) in enumerate(own_clips(count)):
        attack = table[_ATTACKS[index % len(_ATTACKS)]]
        key, payload = key_and_payload(seed, watermarker, f"own {index}", 0, marker.payload_bits)
        try:
            with tempfile.TemporaryDirectory(prefix="avsafe-bench-") as folder:
                released = release(shot, marker, key, payload, Path(folder))
                written = apply(attack, released.shot, Path(folder) / "attacked")
                found = marker.detect(features_of(written, marker), key)
                after = list(load_shot(written, 0, trusted=True).frames)
        except AvsafeError:
            continue
        middle = shot.count // 2
        original = list(shot.frames)[middle]
        marked = released.marked[middle]
        made.append(
            Strip(
                prompt,
                data_uri(marked),
                data_uri(amplified(original, marked)),
                data_uri(after[len(after) // 2]),
                attack.title,
                psnr_db(original, marked),
                bool(found.present and found.payload == payload),
            )
        )
    return made


def amplified(original: Frame, marked: Frame) -> Frame:
    """The difference times 16 around middle grey.

    >>> int(amplified(np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 2, np.uint8))[0, 0, 0])
    160
    """
    difference = marked.astype(np.int16) - original
    shown: Frame = np.clip(128 + AMPLIFIED * difference, 0, 255).astype(np.uint8)
    return shown


def data_uri(frame: Frame, side: int = _WIDTH) -> str:
    """A frame as a small WebP inside the page, at most ``side`` pixels wide and high."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(frame))
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=82)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
