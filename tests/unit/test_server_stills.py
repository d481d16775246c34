"""The frame with what detectors saw on it: what is above a threshold and can be drawn."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from avsafe.calibration import heatmap
from avsafe.media import Limits
from avsafe.server.stills import MOST, stills
from avsafe.types import Evidence, EvidenceStatus, Label, Verdict


def evidence(name, found):
    return Evidence(name, EvidenceStatus.PRESENT, "x", details={"heatmap": found})


def tiles(*, flagged):
    mask = np.zeros((2, 2), bool)
    mask[0, 0] = flagged
    return heatmap(np.full((2, 2), 3.0), mask, (0, 0, 1, 1), fdr=0.05)


@pytest.fixture
def grey(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (900, 300), (128, 128, 128)).save(path)
    return path


def test_a_still_is_small_and_marks_the_tile(grey):
    given = [evidence("detector.a", tiles(flagged=True))]
    given += [evidence("detector.b", tiles(flagged=False)), evidence("detector.c", "x")]
    given += [evidence(f"detector.{n}", tiles(flagged=True)) for n in range(9)]
    found = stills(Verdict(grey, "", Label.INCONCLUSIVE, tuple(given)), grey, Limits())
    assert "detector.a" in found
    assert not {"detector.b", "detector.c"} & found.keys()
    assert len(found) == MOST
    picture = Image.open(io.BytesIO(found["detector.a"]))
    assert picture.size == (640, 213)
    shown = np.asarray(picture).astype(int)
    edges = np.abs(np.diff(shown.sum(axis=2), axis=1)).max(axis=1)
    assert edges[50] > 3 * edges[200]  # outlined above, not below


def test_what_cannot_be_read_has_no_still(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"no picture")
    one = evidence("detector.a", tiles(flagged=True))
    assert stills(Verdict(path, "", Label.INCONCLUSIVE, (one,)), path, Limits()) == {}
