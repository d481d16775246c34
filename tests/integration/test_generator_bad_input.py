"""What people get wrong, through the gate: a clear error, and nothing left behind."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from avsafe import gate, media, plugins, testing
from avsafe.errors import (
    AvsafeError,
    Cancelled,
    Denied,
    MissingExtra,
    MissingStream,
    UnreadableMedia,
    UsageError,
)
from avsafe.home import Home
from avsafe.media.replay import Replay
from avsafe.policy import local_principal
from avsafe.types import GenerationRequest, InputMedia, Kind, Media, RawMedia, Task
from avsafe.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow

FROM_WORDS = [
    (Task.TEXT_TO_VIDEO, "world"), (Task.TEXT_TO_IMAGE, "world"), (Task.TEXT_TO_IMAGE, "portrait"),
    (Task.TEXT_TO_VIDEO, "two-stage"), (Task.TEXT_TO_VIDEO, "one-pass"),
]  # fmt: skip
ON_VIDEO = [
    (Task.STYLIZE_VIDEO, "stylize", "watercolour"), (Task.INPAINT_VIDEO, "inpaint", ""),
    (Task.EDIT_VIDEO, "edit", "make it brighter"), (Task.VIDEO_TO_AUDIO, "foley", "wind"),
]  # fmt: skip
ON_PICTURE = [
    (Task.IMAGE_TO_VIDEO, "photo-motion", "zoom in"),
    (Task.CINEMAGRAPH, "cinemagraph", "water flows left"),
]
UNDERSTOOD = {"world": "a red ball", "portrait": "an old man", "two-stage": "a red ball",
              "one-pass": "a red ball bouncing on grass"}  # fmt: skip
BOX = {"mask": "0.3,0.3,0.3,0.3"}
MASKED = ("inpaint", "edit", "photo-motion", "cinemagraph")  # those that take a mask


def box_for(generator: str) -> dict[str, str]:
    return BOX if generator in MASKED else {}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with open_workspace(Home(tmp_path_factory.mktemp("home"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip, a picture, and a file cut in two."""
    folder = tmp_path_factory.mktemp("files")
    media.encode(testing.textured_clip(1.0, 192, 144), folder / "clip.mp4")
    media.encode(testing.still(192, 144), folder / "picture.png")
    whole = (folder / "clip.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    noise = np.random.default_rng(0).bytes(len(whole) - 4000)
    (folder / "noise.mp4").write_bytes(whole[:4000] + noise)
    return folder


def asked(
    task: Task, generator: str, prompt: str = "", *, inputs: dict[str, Media] | None = None,
    **changes: object,
) -> GenerationRequest:  # fmt: skip
    found = tuple(InputMedia(item, role) for role, item in (inputs or {}).items())
    return GenerationRequest(local_principal(), task, generator, prompt, inputs=found, **changes)


def fails(workspace: Workspace, request: GenerationRequest, tmp_path: Path, **how: object) -> str:
    """Run it, expect a typed error, and look for anything that was left."""
    target = tmp_path / ("out.png" if request.task is Task.TEXT_TO_IMAGE else "out.mp4")
    before = workspace.registry.count()
    skip_missing(request.generator)
    with pytest.raises(AvsafeError) as caught:
        gate.generate(request, target, workspace, **how)
    if isinstance(caught.value, MissingExtra):
        pytest.skip(str(caught.value))
    assert list(tmp_path.iterdir()) == []
    assert list(workspace.home.staging.iterdir()) == []
    assert workspace.registry.count() == before
    assert workspace.ledger.orphans() == []
    text = str(caught.value)
    assert len(text) > 20
    assert "Traceback" not in text
    fails.error = caught.value
    return text


def skip_missing(generator: str) -> None:
    if generator == "one-pass":
        pytest.importorskip("torch")


@pytest.mark.parametrize("generator", ["world", "stylize", "foley", "portrait", "two-stage"])
def test_a_mask_that_nobody_would_read_is_refused(generator: str) -> None:
    made = plugins.load("generators", generator)
    with pytest.raises(UsageError, match="no parameter mask"):
        made.generate(asked(made.info.tasks[0], generator, "a red ball", parameters=BOX))


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(("task", "generator"), FROM_WORDS)
@pytest.mark.parametrize("prompt", ["", "qwrtz plmkn", "   \n\t "])
def test_nothing_to_understand(workspace, tmp_path, task, generator, prompt) -> None:
    text = fails(workspace, asked(task, generator, prompt), tmp_path)
    if not isinstance(fails.error, Denied):  # gibberish may also need a reviewer
        assert fails.error.exit_code in (2, 5), text


@pytest.mark.parametrize(("task", "generator"), FROM_WORDS)
def test_ten_thousand_letters_of_nothing(workspace, tmp_path, task, generator) -> None:
    fails(workspace, asked(task, generator, "zqxj " * 2000), tmp_path)


@pytest.mark.parametrize(("task", "generator"), FROM_WORDS)
def test_ten_thousand_letters_with_something_in_them(task, generator) -> None:
    """The generator itself survives it; the words that it knows are used."""
    skip_missing(generator)
    words = UNDERSTOOD[generator]
    request = asked(
        task, generator, words + " and " + "lorem " * 1700, width=128, height=128,
        duration_s=None if generator == "one-pass" else 0.5,
    )  # fmt: skip
    raw = plugins.load("generators", generator).generate(request)
    assert raw.details["ignored"]
    assert len(str(raw.details)) < 40_000  # it does not carry the whole prompt about


@pytest.mark.parametrize(("task", "generator"), FROM_WORDS)
@pytest.mark.parametrize("size", [(1, 1), (63, 65), (100_000, 100_000)])
def test_sizes_out_of_range(workspace, tmp_path, task, generator, size) -> None:
    request = asked(task, generator, UNDERSTOOD[generator], width=size[0], height=size[1])
    fails(workspace, request, tmp_path)
    assert isinstance(fails.error, UsageError | Denied)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(("task", "generator", "prompt"), ON_VIDEO + ON_PICTURE)
def test_missing_input_names_the_option(workspace, tmp_path, task, generator, prompt) -> None:
    text = fails(workspace, asked(task, generator, prompt, parameters=box_for(generator)), tmp_path)
    assert isinstance(fails.error, UsageError)
    assert "--video" in text or "--image" in text


@pytest.mark.parametrize(("task", "generator", "prompt"), ON_VIDEO)
def test_a_picture_is_no_video(workspace, tmp_path, files, task, generator, prompt) -> None:
    inputs = {"video": media.probe(files / "picture.png")}
    text = fails(
        workspace,
        asked(task, generator, prompt, inputs=inputs, parameters=box_for(generator)),
        tmp_path,
    )
    assert isinstance(fails.error, MissingStream | UsageError)
    assert "video" in text


@pytest.mark.parametrize("name", ["cut.mp4", "noise.mp4"])
@pytest.mark.parametrize(("task", "generator", "prompt"), ON_VIDEO)
def test_corrupt_video(workspace, tmp_path, files, task, generator, prompt, name) -> None:
    """Probing may still pass: then the error comes while it is read, and nothing is left."""
    try:
        inputs = {"video": media.probe(files / name)}
    except UnreadableMedia:
        return
    masked = {"parameters": BOX} if generator == "inpaint" else {}
    fails(workspace, asked(task, generator, prompt, inputs=inputs, **masked), tmp_path)
    assert isinstance(fails.error, UnreadableMedia)


@pytest.mark.parametrize(
    ("task", "generator", "role"),
    [(task, name, "image") for task, name, _ in ON_PICTURE]
    + [(Task.TALKING_HEAD, "talking-head", "image")],
)
def test_a_picture_of_one_pixel(tmp_path, task, generator, role) -> None:
    one = RawMedia(Kind.IMAGE, frames=Replay(lambda: iter([np.zeros((1, 1, 3), np.uint8)])),
                   frame_count=1, width=1, height=1)  # fmt: skip
    media.encode(one, tmp_path / "one.png")
    role = "portrait" if generator == "talking-head" else role
    request = asked(
        task, generator, "hello", inputs={role: media.probe(tmp_path / "one.png")}, parameters=BOX
        if generator == "cinemagraph" else {},
    )  # fmt: skip
    with pytest.raises((UsageError, UnreadableMedia, MissingExtra)) as caught:
        list(plugins.load("generators", generator).generate(request).frames or ())
    assert len(str(caught.value)) > 20


def test_eight_hours_of_speech_are_refused_before_they_are_decoded(tmp_path) -> None:
    """A sparse file: a WAV header and 8 hours of zeros that take no room on the disk."""
    rate, seconds = 8000, 8 * 3600
    path = tmp_path / "long.wav"
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + rate * seconds * 2, b"WAVE", b"fmt ", 16,
                       1, 1, rate, rate * 2, 2, 16, b"data", rate * seconds * 2)  # fmt: skip
    path.write_bytes(head)
    os.truncate(path, len(head) + rate * seconds * 2)
    portrait = tmp_path / "p.png"
    media.encode(testing.still(256, 256), portrait)

    def speak() -> None:
        inputs = {"portrait": media.probe(portrait), "voice": media.probe(path)}
        face = {"face": "0.35,0.4,0.65,0.4,0.5,0.55,0.4,0.7,0.6,0.7"}
        request = asked(Task.TALKING_HEAD, "talking-head", inputs=inputs, parameters=face)
        plugins.load("generators", "talking-head").generate(request)

    with pytest.raises((UnreadableMedia, UsageError), match=r"28800|8:00:00|8 h|3600|at most"):
        speak()


# ---------------------------------------------------------------- stopping, no room


@pytest.mark.parametrize("after", [0, 2, 7])
@pytest.mark.parametrize(
    ("task", "generator", "prompt"),
    [(task, name, UNDERSTOOD[name]) for task, name in FROM_WORDS] + ON_VIDEO + ON_PICTURE,
)
def test_cancel(workspace, tmp_path, files, task, generator, prompt, after) -> None:
    inputs = {}
    if (task, generator, prompt) in ON_VIDEO:
        inputs = {"video": media.probe(files / "clip.mp4")}
    elif (task, generator, prompt) in ON_PICTURE:
        inputs = {"image": media.probe(files / "picture.png")}
    masked = generator in ("inpaint", "cinemagraph")
    request = asked(
        task, generator, prompt, inputs=inputs, parameters=BOX if masked else {},
        **({} if inputs else {"width": 192, "height": 192}),
    )  # fmt: skip
    polls = iter(range(1_000_000))
    after = 0 if task is Task.TEXT_TO_IMAGE else after  # a still may be a single step
    fails(workspace, request, tmp_path, cancelled=lambda: next(polls) >= after)
    assert isinstance(fails.error, Cancelled)


def test_full_disk(tmp_path) -> None:
    """A file may grow to 32 KiB only: the encoder's write fails as on a full disk."""
    out, state = tmp_path / "out", tmp_path / "home"
    out.mkdir()
    line = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, 1 << 15));"
        "from avsafe.cli import main; sys.argv = ['avsafe', *sys.argv[1:]]; main()"
    )
    environment = os.environ | {"AVSAFE_HOME": str(state)}
    prepare = subprocess.run(
        [sys.executable, "-c", "from avsafe.home import Home\nfrom avsafe.workspace import "
         "open_workspace\nwith open_workspace(Home.default()): pass"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert prepare.returncode == 0, prepare.stderr
    done = subprocess.run(
        [sys.executable, "-c", line, "generate", "text-to-video", "--prompt", "a red ball bouncing",
         "--duration", "2", "--size", "256x256", "-o", str(out / "clip.mp4")],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "error" in done.stderr.lower()
    assert list(out.iterdir()) == []
    assert list((state / "staging").iterdir()) == []
