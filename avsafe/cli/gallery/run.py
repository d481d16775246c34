"""Making the gallery: every work through the gate, then verified, looked at and listened to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe import gate, media, testing
from avsafe.cli.gallery.plan import REFUSED, Entry
from avsafe.errors import AvsafeError, Denied
from avsafe.home import Home
from avsafe.policy import local_principal
from avsafe.types import GenerationRequest, InputMedia, Label, Progress, RawMedia, Release
from avsafe.verify import verify
from avsafe.workspace import Lookup, Workspace, open_workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHOTS = 6  # frames of the strip below a clip
STRIP_HEIGHT = 128
SILENT_DBFS = -50.0  # a work that should sound lies above
DARK, FLAT = 6.0, 3.0  # of 255: mean and spread below which a picture counts as black or empty
STILL = 0.15  # of 255: mean change between the shots below which a clip does not move


@dataclass(frozen=True)
class Seen:
    """What was measured on a released file. Levels in dBFS, pictures in steps of 255."""

    brightness: float | None  # None: no pictures
    spread: float | None
    change: float | None  # None: a still, or no pictures
    level_dbfs: float | None  # RMS; None: no sound
    peak_dbfs: float | None
    silent_share: float | None  # of 100 ms windows under -60 dBFS
    wave: tuple[float, ...] = ()  # envelope, 0 to 1
    duration_s: float = 0.0


@dataclass(frozen=True)
class Work:
    """One row of the page."""

    entry: Entry
    file: str | None = None
    release: Release | None = None
    label: str = ""
    evidence: str = ""
    seen: Seen | None = None
    reason: str = ""  # why there is no file
    wrong: tuple[str, ...] = field(default=())  # what a person would not accept

    @property
    def cpu_s(self) -> float:
        return self.release.cost["total_cpu_s"] if self.release else 0.0


def make(entries: Iterable[Entry], out: Path, progress: Progress) -> Iterator[Work]:
    """Make the works into ``out`` one by one, in a state folder of their own that is gone after.

    A work that cannot be made is a row with its reason. The last one is what the gate refuses.
    """
    chosen = list(entries)
    with tempfile.TemporaryDirectory(prefix="avsafe-gallery-") as folder:
        home = Home(Path(folder))
        with open_workspace(home) as workspace:
            for number, entry in enumerate(chosen):
                progress(number / len(chosen), entry.key)
                yield _work(entry, out, workspace)
            yield _refused(Path(folder), workspace)
        progress(1.0, "done")


def _work(entry: Entry, out: Path, workspace: Workspace) -> Work:
    target = out / f"{entry.key}{entry.suffix}"
    target.unlink(missing_ok=True)
    try:
        inputs = tuple(
            InputMedia(media.probe(_made(out, key)), role) for role, key in entry.inputs.items()
        )
        release = gate.generate(_request(entry, inputs), target, workspace)
    except AvsafeError as error:
        return Work(entry, reason=str(error))
    verdict = verify(target, Lookup(workspace.home))
    telling = next((e.summary for e in verdict.evidence if e.status == "present"), "")
    raw = media.decode(target, trusted=True)
    seen = look(raw, out / f"{entry.key}.jpg")
    return Work(
        entry, target.name, release, str(verdict.label), telling, seen,
        wrong=tuple(_wrong(entry, seen, str(verdict.label))),
    )  # fmt: skip


def _made(out: Path, key: str) -> Path:
    found = [path for path in (out / f"{key}.mp4", out / f"{key}.png") if path.is_file()]
    if not found:
        raise AvsafeError(f"Its input {key!r} was not made.")
    return found[0]


def _request(entry: Entry, inputs: tuple[InputMedia, ...]) -> GenerationRequest:
    return GenerationRequest(
        principal=local_principal(),
        task=entry.task,
        generator=entry.generator,
        prompt=entry.prompt,
        inputs=inputs,
        seed=entry.seed,
        width=entry.side,
        height=entry.side,
        duration_s=entry.duration_s,
        parameters=entry.parameters,
    )


def _refused(folder: Path, workspace: Workspace) -> Work:
    """A voice that nobody vouches for: the gate must say no, and leave nothing behind."""
    portrait, voice, target = folder / "s.png", folder / "s.wav", folder / "never.mp4"
    media.encode(testing.still(256, 256), portrait)
    media.encode(testing.sound_only(3), voice)
    inputs = (
        InputMedia(media.probe(portrait), "portrait"), InputMedia(media.probe(voice), "voice"),
    )  # fmt: skip
    try:
        gate.generate(_request(REFUSED, inputs), target, workspace)
    except Denied as error:
        left = ("it left a file",) if target.exists() else ()
        return Work(REFUSED, label="denied", reason=str(error), wrong=left)
    return Work(REFUSED, label="released", wrong=("the gate should have denied it",))


def _wrong(entry: Entry, seen: Seen, label: str) -> Iterator[str]:
    if label not in (Label.SYNTHETIC_DECLARED, Label.SYNTHETIC_RECOVERED):
        yield f"verify says {label}"
    if seen.brightness is not None and seen.brightness < DARK:
        yield "black"
    if seen.spread is not None and seen.spread < FLAT:
        yield "empty"
    if seen.change is not None and seen.change < STILL:
        yield "does not move"
    if entry.sounds and (seen.level_dbfs is None or seen.level_dbfs < SILENT_DBFS):
        yield "silent"
    if seen.peak_dbfs is not None and seen.peak_dbfs > -0.01:
        yield "clipped"


def look(raw: RawMedia, strip: Path) -> Seen:
    """Measure a work, and write a strip of its frames as JPEG."""
    sound = _heard(raw) if raw.samples is not None else {}
    level, peak, silent = (sound.get(name) for name in ("level", "peak", "silent"))
    wave: tuple[float, ...] = sound.get("wave", ())
    if raw.frames is None:
        return Seen(None, None, None, level, peak, silent, wave, sound.get("seconds", 0.0))
    import cv2
    import numpy as np

    count = raw.frame_count or 1
    wanted = sorted({round(i * (count - 1) / (SHOTS - 1)) for i in range(SHOTS)})
    shots = [frame for i, frame in enumerate(raw.frames) if i in wanted]
    small = [
        cv2.resize(
            frame,
            (round(STRIP_HEIGHT * frame.shape[1] / frame.shape[0]), STRIP_HEIGHT),
            interpolation=cv2.INTER_AREA,
        )
        for frame in shots
    ]
    ok, data = cv2.imencode(
        ".jpg", np.concatenate(small, axis=1)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82]
    )
    if ok:
        strip.write_bytes(data.tobytes())
    values = np.stack(small).astype(np.float32)
    moves = [float(np.abs(b - a).mean()) for a, b in pairwise(values)]
    rate = raw.frame_rate
    return Seen(
        brightness=float(values.mean()),
        spread=float(values.std()),
        change=max(moves) if rate and moves else None,
        level_dbfs=level,
        peak_dbfs=peak,
        silent_share=silent,
        wave=wave,
        duration_s=float(count / rate) if rate else 0.0,
    )


def _heard(raw: RawMedia) -> dict[str, Any]:
    import numpy as np

    mono = np.concatenate([block.mean(axis=0) for block in raw.samples or ()] or [np.zeros(1)])
    window = max(1, raw.rate_hz // 10)
    padded = np.pad(mono, (0, -len(mono) % window)).reshape(-1, window)
    levels = _dbfs(np.sqrt((padded.astype(np.float64) ** 2).mean(axis=1)))
    parts = np.array_split(np.abs(mono), 160)
    return {
        "level": float(_dbfs(np.sqrt((mono.astype(np.float64) ** 2).mean()))),
        "peak": float(_dbfs(np.abs(mono).max())),
        "silent": float((levels < -60).mean()),
        "seconds": len(mono) / raw.rate_hz,
        "wave": tuple(float(part.max()) if len(part) else 0.0 for part in parts),
    }


def _dbfs(value: Any) -> NDArray[np.float64]:
    import numpy as np

    out: NDArray[np.float64] = 20 * np.log10(np.maximum(value, 1e-6))
    return out
