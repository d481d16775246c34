"""Real clips through the sandbox: a copy agrees, another take by the same camera does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avsafe import media
from avsafe.registry import fingerprint
from avsafe.registry.fingerprint import Fingerprint, compare

FOLDER = Path(
    os.environ.get("AVSAFE_TEST_MEDIA", Path(__file__).parents[2].parent / "shared" / "media")
)
EXTRACTOR = {"fingerprint": "avsafe.registry.fingerprint:FingerprintExtractor"}

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no folder of real media")


def of(path: Path) -> Fingerprint:
    features = media.analyse(path, EXTRACTOR, max_duration_s=6.0)["fingerprint"]
    return fingerprint.from_features(features)


def test_a_release_like_encoding_agrees_with_its_source(tmp_path: Path) -> None:
    source = FOLDER / "real_general" / "foley_vgg_0.mp4"
    raw = media.decode(source, max_duration_s=4.0)
    media.encode(raw, tmp_path / "copy.mp4")
    own, copy = of(source), of(tmp_path / "copy.mp4")
    result = compare(copy, Fingerprint.from_bytes(own.to_bytes()))
    assert result.agrees, result
    assert result.similarity > 0.9
    assert len(own.thumbs) > 4


def test_takes_of_one_scene_do_not_agree() -> None:
    takes = {
        name: of(FOLDER / "real_general" / f"intel_asl_{name}.mkv") for name in ("book", "walk")
    }
    result = compare(takes["book"], Fingerprint.from_bytes(takes["walk"].to_bytes()))
    assert not result.agrees, result
    assert "other moments" in result.reason


def test_a_face_swap_of_a_release_is_still_recognised() -> None:
    """Most of the picture is the release's: the fingerprint is no proof against partial edits."""
    original = of(FOLDER / "real_talking" / "ffpp_original_634.mp4")
    swapped = of(FOLDER / "synthetic_faces" / "ffpp_FaceSwap_634_660.mp4")
    assert compare(swapped, Fingerprint.from_bytes(original.to_bytes())).agrees
