"""Bad and benign input through ``avsafe verify`` with every installed detector: never a flag.

Silence, tones, music, cartoons, slides, screens, black, telephones, three frames, broken files: a
detector abstains, says "absent", or errs with a reason; the exit code is the documented one. The
detectors are those of the plugin catalogue, so that a new one is asked too; with none installed
the labels and exit codes are checked all the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from avsafe import media, plugins
from avsafe.cli import app
from avsafe.errors import UsageError
from avsafe.types import Kind, RawMedia
from avsafe_detectors.benign import SETS
from avsafe_detectors.benign.control import Control

pytestmark = pytest.mark.slow

EXIT = {"inconclusive": 0, "unreadable": 3}  # docs/detectors.md; no other label may come
QUIET = {"abstained", "absent"}
BRIEF = {"three-frames", "one-frame"}
# Long enough to be judged (a second of film, 1.5 s of speech), and quick.
SECONDS = {Kind.VIDEO: 1.2, Kind.AUDIO: 2.4, Kind.IMAGE: None}
# Real media where it is here: (set, clip), two seconds of it.
TREATED = [
    ("telephone", "real_talking/grid_bbaf2n.mpg"),
    ("doubled", "real_general/foley_vgg_0.mp4"),
    ("time-lapse", "real_general/sam2_dog.mp4"),
    ("ken-burns", "real_general/cotracker_bear.mp4"),
    ("denoised", "real_general/da_dolphins.mp4"),
    ("photo-webp", "real_general/videollama_birthday.mp4"),
]


@dataclass(frozen=True)
class Said:
    """What ``avsafe verify --json`` answered."""

    exit_code: int
    label: str
    evidence: tuple[Mapping[str, Any], ...]

    def of(self, source: str) -> Mapping[str, Any] | None:
        return next((e for e in self.evidence if e["source"] == source), None)


def verified(path: Path) -> Said:
    ran = CliRunner().invoke(app, ["verify", "--json", "--detectors", "all", str(path)])
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    (verdict,) = json.loads(ran.stdout)
    return Said(ran.exit_code, verdict["label"], tuple(verdict["evidence"]))


def check(said: Said, control: Control) -> None:
    assert said.label in EXIT, said
    assert said.exit_code == EXIT[said.label]
    for item in said.evidence:
        assert item["summary"], f"{item['source']} gives no reason"
        if item["source"].startswith("detector"):  # and "detectors", all together
            assert item["status"] != "present", f"{item['source']}: {item['summary']}"
    if said.label == "unreadable":
        assert control.damage is not None, said
        assert said.of("domain") is not None
        return
    for name in plugins.catalogue("detectors"):
        detector = plugins.load("detectors", name)
        if control.kind not in detector.kinds or detector.modality == "domain":
            continue
        item = said.of(f"detector.{name}")
        assert item is not None, f"{name} says nothing of {control.name}"
        alone = control.name in BRIEF and detector.modality == "image"  # a frame is a picture
        expected = {"abstained"} if control.demand != "quiet" and not alone else QUIET
        assert item["status"] in expected, f"{name} on {control.name}: {item}"
        if item["status"] == "abstained":
            assert item["llr"] is None, f"{name} abstains, and weighs all the same"


@pytest.mark.parametrize("name", SETS)
def test_no_bad_or_benign_input_is_flagged(name: str, tmp_path: Path) -> None:
    path = SETS[name].write(tmp_path, seed=0, seconds=SECONDS[SETS[name].kind])
    check(verified(path), SETS[name])


@pytest.mark.parametrize(("name", "clip"), TREATED, ids=[name for name, _ in TREATED])
def test_no_real_media_after_harmless_treatment_is_flagged(
    name: str, clip: str, shared_media: Path, tmp_path: Path
) -> None:
    given = media.decode(shared_media / clip, trusted=True, max_duration_s=2.0)
    path = SETS[name].write(tmp_path, given=_lean(given, SETS[name]))
    check(verified(path), SETS[name])


def _lean(given: RawMedia, control: Control) -> RawMedia:
    """Decoded once; a set may go over its input several times."""
    if control.kind is Kind.AUDIO or control.of == "speech":
        return given.with_samples(list(given.samples or ()))
    return given.with_frames(list(given.frames or ()))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty.mp4", b""),
        ("text.png", b"GIF89a is how a picture begins"),
        ("noise.wav", bytes(range(256)) * 40),
        ("riff.wav", b"RIFF\xff\xff\xff\x7fWAVEfmt "),
        ("box.mp4", b"\0\0\0\x18ftypisom" + bytes(4000)),
    ],
)
def test_what_is_no_media_is_unreadable_and_says_why(
    name: str, data: bytes, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    said = verified(path)
    assert (said.label, said.exit_code) == ("unreadable", 3)
    assert [e["status"] for e in said.evidence][-1] == "failed"
    assert not any(e["source"].startswith("detector") for e in said.evidence)


def test_no_detector_is_no_verdict_of_detectors(tmp_path: Path) -> None:
    path = SETS["cartoon"].write(tmp_path, seconds=0.4)
    ran = CliRunner().invoke(app, ["verify", "--json", "--detectors", "none", str(path)])
    assert ran.exit_code == 0
    sources = {e["source"] for e in json.loads(ran.stdout)[0]["evidence"]}
    assert not any(source.startswith("detector") for source in sources)


def test_a_name_that_no_detector_has_is_a_usage_error(tmp_path: Path) -> None:
    path = SETS["tone"].write(tmp_path, seconds=0.2)
    ran = CliRunner().invoke(app, ["verify", "--json", "--detectors", "nobody", str(path)])
    assert isinstance(ran.exception, UsageError)
    assert "nobody" in str(ran.exception)
