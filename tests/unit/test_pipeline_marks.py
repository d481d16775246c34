"""A second encode is made only for the marks that need it, and never makes the release worse."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsafe import media, pipeline, plugins, testing
from avsafe.errors import CannotMark, MarkNotReadable
from avsafe.types import Detection, Kind, Mark, RawMedia, never_cancelled, no_progress

RAW = testing.textured_clip(0.4, 64, 48, Fraction(25))


class Marker:
    """Marks nothing; ``results`` are (read, margin) of each reading, or an error of embedding."""

    extractor = "avsafe.media.selftest:Deaf"

    def __init__(self, kind: Kind, results: list[Any]) -> None:
        self.modality, self.results, self.attempts = kind, results, []  # type: ignore[var-annotated]

    def embedder(self, raw: RawMedia, payload: int, key: bytes, *, attempt: int = 0) -> Any:
        self.attempts.append(attempt)
        if isinstance(self.results[len(self.attempts) - 1], CannotMark):
            raise self.results[len(self.attempts) - 1]
        self.payload = payload
        return self

    def frame(self, frame: Any) -> Any:
        return frame

    def samples(self, block: Any) -> Any:
        return block

    def flush(self) -> Any:
        return np.zeros((1, 0), np.float32)

    def mark(self) -> Mark:
        return Mark(self.modality, "test", self.payload, 8, psnr_db=float(len(self.attempts)))

    def detect(self, features: Any, key: bytes) -> Detection:
        read, margin = self.results[len(self.attempts) - 1]
        details = {} if margin is None else {"margin": margin}
        return Detection(read, self.payload if read else None, 1e-9 if read else 0.5, details)


def release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: list[Any], audio: list[Any]
) -> tuple[pipeline.Marked, Marker, Marker, int]:
    markers = {"video": Marker(Kind.VIDEO, video), "audio": Marker(Kind.AUDIO, audio)}
    encodes: list[Path] = []
    encode = media.encode

    def counted(raw: RawMedia, path: Path, **more: Any) -> None:
        encodes.append(path)
        encode(raw, path, **more)

    monkeypatch.setattr(plugins, "load", lambda _, name: markers[name])
    monkeypatch.setattr(media, "encode", counted)
    marked = pipeline.encode_marked(
        RAW, tmp_path / "x.mp4", {"video": 7, "audio": 9}, b"k", no_progress, never_cancelled
    )
    assert [p.name for p in tmp_path.iterdir()] == ["x.mp4"], "no second file is left"
    return marked, markers["video"], markers["audio"], len(encodes)


READ, LOST, THIN = (True, 2.0), (False, None), (True, 0.4)


def test_marks_that_read_are_encoded_once(tmp_path, monkeypatch) -> None:
    marked, video, audio, encodes = release(tmp_path, monkeypatch, [READ], [(True, None)])
    assert (encodes, video.attempts, audio.attempts) == (1, [0], [0])
    assert len(marked.marks) == 2
    assert marked.warnings == ()


def test_only_the_mark_that_needs_it_is_made_stronger(tmp_path, monkeypatch) -> None:
    marked, video, audio, encodes = release(tmp_path, monkeypatch, [READ, READ], [LOST, READ])
    assert (encodes, video.attempts, audio.attempts) == (2, [0, 0], [0, 1])
    assert len(marked.marks) == 2


def test_a_sound_mark_lost_twice_is_left_out_and_said(tmp_path, monkeypatch) -> None:
    marked, _, _, encodes = release(tmp_path, monkeypatch, [READ, READ], [LOST, LOST])
    assert encodes == 2
    assert [m.modality for m in marked.marks] == [Kind.VIDEO]
    assert "audio mark did not survive" in marked.warnings[0]


def test_a_thin_mark_is_made_stronger(tmp_path, monkeypatch) -> None:
    marked, video, audio, encodes = release(tmp_path, monkeypatch, [THIN, THIN], [READ, READ])
    assert (encodes, video.attempts, audio.attempts) == (2, [0, 1], [0, 0])
    assert marked.marks[0].psnr_db == 2.0, "the stronger one is kept, still thin or not"


@pytest.mark.parametrize("second", [LOST, CannotMark("quality")], ids=["lost", "refused"])
def test_a_thin_mark_stays_when_the_stronger_one_fails(tmp_path, monkeypatch, second) -> None:
    marked, video, _, encodes = release(tmp_path, monkeypatch, [THIN, second], [READ, READ])
    assert video.attempts == [0, 1]
    assert encodes <= 2
    assert [m.modality for m in marked.marks] == [Kind.VIDEO, Kind.AUDIO]
    assert marked.marks[0].payload == 7


def test_a_thin_sound_mark_stays_when_a_stronger_one_is_refused(tmp_path, monkeypatch) -> None:
    refused = CannotMark("bare tones")
    marked, _, _, _ = release(tmp_path, monkeypatch, [READ, READ], [THIN, refused])
    assert len(marked.marks) == 2
    assert marked.warnings == ()


def test_a_picture_mark_lost_twice_releases_nothing(tmp_path, monkeypatch) -> None:
    with pytest.raises(MarkNotReadable, match="video mark"):
        release(tmp_path, monkeypatch, [LOST, LOST], [READ, READ])


def test_a_picture_mark_lost_and_then_refused_says_why(tmp_path, monkeypatch) -> None:
    with pytest.raises(CannotMark, match="quality"):
        release(tmp_path, monkeypatch, [LOST, CannotMark("quality")], [READ, READ])
