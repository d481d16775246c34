"""Every real clip at hand decodes to what its container declares."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from avsafe.media import decode, probe
from avsafe.types import Kind

RATES = {
    "real_general/difffoley_drum.mp4": Fraction(43, 2),
    "real_general/foley_avsync_0.mp4": Fraction(374, 25),
    "real_general/sam2_dog.mp4": Fraction(30000, 1001),
    "real_general/mmaction_skel.mp4": Fraction(30),
    "real_talking/grid_bbaf2n.mpg": Fraction(25),
}


@pytest.mark.parametrize("name", RATES)
def test_known_rates(name: str, shared_media: Path) -> None:
    video = probe(shared_media / name).video
    assert video
    assert video.frame_rate == RATES[name]


def test_all_clips_can_be_read(shared_media: Path) -> None:
    """Plan clips of every source and decode their beginning; docs/media.md tells of all, whole."""
    steps = {"real_general": 1, "real_talking": 2, "synthetic_lumiere": 8, "synthetic_other": 4}
    clips = [
        path
        for folder, step in steps.items()
        for path in sorted((shared_media / folder).iterdir())[::step]
    ]
    assert len(clips) > 30
    for path in clips:
        raw = decode(path, trusted=True)
        assert raw.kind is Kind.VIDEO
        first = list(islice(raw.frames or (), 2))
        assert first[0].shape == (raw.height, raw.width, 3), path
        with av.open(str(path)) as container:
            declared = container.duration / 1e6
            assert (raw.samples is not None) == bool(container.streams.audio), path
        assert raw.frame_count
        assert raw.frame_rate
        assert abs(raw.frame_count / raw.frame_rate - declared) < 0.2, path


@pytest.mark.parametrize(
    "name",
    [
        "real_general/intel_asl_book.mkv",  # no frame count, full range, late start
        "real_general/foley_avsync_0.mp4",  # MP3 in MP4
        "real_general/da_dolphins.mp4",  # MPEG-4 part 2
        "real_talking/grid_bbaf2n.mpg",  # MPEG program stream
        "synthetic_loopy/loopy_realistic_3.mp4",  # odd height, 4:4:4
    ],
)
def test_the_odd_ones_decode_whole(name: str, shared_media: Path) -> None:
    raw = decode(shared_media / name)
    frames = sum(1 for _ in raw.frames or ())
    assert frames == raw.frame_count
    if raw.samples is not None:
        assert raw.frame_rate
        heard_s = sum(block.shape[1] for block in raw.samples) / raw.rate_hz
        assert abs(heard_s - frames / raw.frame_rate) < 0.25


def test_a_full_range_clip_uses_the_whole_range(shared_media: Path) -> None:
    """Read as limited range, its blacks and whites would be clipped away."""
    path = shared_media / "real_general/intel_asl_book.mkv"
    ours = next(iter(decode(path, trusted=True).frames or ())).astype(float)
    with av.open(str(path)) as container:
        luma = next(container.decode(video=0)).to_ndarray(format="gray").astype(float)
    assert abs((ours @ [0.299, 0.587, 0.114]).mean() - luma.mean()) < 1
    assert np.abs(ours @ [0.299, 0.587, 0.114] - luma).mean() < 2
