"""The gallery makes works through the gate, looks at them, and says what it could not make."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from avsafe.cli.gallery import page, run
from avsafe.cli.gallery.plan import ENTRIES, Entry
from avsafe.media.replay import Replay
from avsafe.types import Kind, RawMedia, Task


def test_the_plan_has_two_works_of_every_task_and_inputs_that_come_first() -> None:
    for task in Task:
        if task is not Task.RELEASE:
            assert sum(entry.task is task for entry in ENTRIES) >= 2, task
    made: set[str] = set()
    for entry in ENTRIES:
        assert set(entry.inputs.values()) <= made, entry.key
        assert entry.key not in made
        made.add(entry.key)


@pytest.mark.slow
def test_works_and_refusals_on_one_page(tmp_path: Path) -> None:
    entries = [
        Entry("still", Task.TEXT_TO_IMAGE, "world", "a red ball by the sea", side=512),
        Entry("clip", Task.TEXT_TO_VIDEO, "world", "a metal ball bouncing", duration_s=1.5,
              side=256, sounds=True),
        Entry("said", Task.TEXT_TO_SPEECH, "speech",
              "Good morning everybody. This sentence is read aloud.", sounds=True),
        Entry("moved", Task.IMAGE_TO_VIDEO, "photo-motion", "zoom in", {"image": "still"},
              duration_s=3, side=384),
        Entry("never", Task.TEXT_TO_VIDEO, "world", "", duration_s=1, side=256),
        Entry("orphan", Task.STYLIZE_VIDEO, "stylize", "watercolour", {"video": "never"}),
    ]  # fmt: skip
    works = {w.entry.key: w for w in run.make(entries, tmp_path, lambda f, s: None)}
    assert works["still"].label == "synthetic-declared"
    assert works["clip"].wrong == ()
    assert works["moved"].wrong == ()
    if shutil.which("espeak-ng"):
        said = works["said"]
        assert (said.wrong, said.label) == ((), "synthetic-declared")
        assert said.seen is not None
        assert said.seen.duration_s > 2
    assert works["moved"].seen is not None
    assert works["moved"].seen.level_dbfs is None
    assert works["clip"].cpu_s > 0
    assert works["never"].file is None
    assert works["never"].reason
    assert "not made" in works["orphan"].reason
    refused = works["stranger-speaks"]
    assert (refused.label, refused.wrong) == ("denied", ())
    page.write(list(works.values()), tmp_path / "index.html", "0")
    text = (tmp_path / "index.html").read_text()
    assert "clip.mp4" in text
    assert str(tmp_path) not in text  # nothing of this machine
    assert "http://" not in text.replace("http://cv.iptc.org", "")
    assert sorted(p.name for p in tmp_path.glob("*.mp4")) == ["clip.mp4", "moved.mp4"]


def looked(tmp_path: Path, frames: list[np.ndarray], sound: np.ndarray | None) -> list[str]:
    from fractions import Fraction

    raw = RawMedia(
        Kind.VIDEO, frames=Replay(lambda: iter(frames)), frame_rate=Fraction(10),
        frame_count=len(frames), width=64, height=64,
        samples=None if sound is None else Replay(lambda: iter([sound])), rate_hz=8000, channels=1,
    )  # fmt: skip
    seen = run.look(raw, tmp_path / "strip.jpg")
    entry = Entry("x", Task.TEXT_TO_VIDEO, "world", sounds=sound is not None)
    return list(run._wrong(entry, seen, "synthetic-declared"))


def test_what_a_person_would_not_accept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    good = [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(12)]
    tone = (0.2 * np.sin(np.arange(8000) / 5)).astype(np.float32)[None]
    assert looked(tmp_path, good, tone) == []
    assert "black" in looked(tmp_path, [g // 64 for g in good], tone)
    assert looked(tmp_path, good[:1] * 12, tone) == ["does not move"]
    assert looked(tmp_path, good, tone * 0) == ["silent"]
    assert looked(tmp_path, good, np.sign(tone)) == ["clipped"]
    assert looked(tmp_path, [np.full_like(good[0], 90)] * 12, tone) == ["empty", "does not move"]
