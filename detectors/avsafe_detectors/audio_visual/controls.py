"""``python -m avsafe_detectors.audio_visual.controls --media DIR --protocol DIR``: media of which
nothing may be said, through ``audio-visual`` and ``talking``, by the whole path.

Control sets that programs draw (``avsafe_detectors.benign``), the films of ``real_general``, and
two speaking faces under sounds that are no speech. Rows are added to DIR/audio-visual.parquet and
DIR/talking.parquet, in place of those that were there.

Legend: a key is "set: name", "scene: name" or "over a face: sound".
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from avsafe.errors import AvsafeError
from avsafe.types import Detector, Evidence, EvidenceStatus, Kind
from avsafe_detectors.audio_visual.protocol import write

log = logging.getLogger(__name__)
CELL = "control: benign sets"
SPEAKERS = ("grid_bbaf2n.mpg", "retalking_2.mp4")
SOUNDS = ("drums", "plucked", "chords", "birds", "engine", "white-noise", "tone", "silence")


def films(media: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Key and file of each control; files that are drawn lie in ``folder`` until the next one."""
    from avsafe.media import EncodeSpec, decode, encode
    from avsafe_detectors.benign import SETS

    drawn = folder / "control.mp4"
    for name, control in SETS.items():
        if control.kind is Kind.VIDEO and control.damage is None:
            encode(control.raw(1, seconds=4.0), drawn, EncodeSpec(crf=23))
            yield f"set: {name}", drawn
    for film in sorted((media / "real_general").glob("*")):
        yield f"scene: {film.stem}", film
    for speaker in SPEAKERS:
        speaking = decode(media / "real_talking" / speaker, trusted=True)
        frames = list(speaking.frames or ())
        seconds = len(frames) / float(speaking.frame_rate or 25)
        for sound in SOUNDS:
            other = SETS[sound].raw(2, seconds=seconds)
            made = replace(speaking, frames=frames, samples=list(other.samples or ()),
                           rate_hz=other.rate_hz, channels=other.channels)  # fmt: skip
            encode(made, drawn, EncodeSpec(crf=23))
            yield f"over a face: {sound} ({Path(speaker).stem})", drawn


def judged(film: Path) -> Mapping[str, Evidence]:
    """Evidence of both detectors. Raises the children of ``UnreadableMedia``."""
    from avsafe.media.features import examine
    from avsafe_detectors.audio_visual import AudioVisual
    from avsafe_detectors.talking import Talking

    detectors: tuple[Detector, ...] = (AudioVisual(), Talking())
    targets = {name: target for one in detectors for name, target in one.extractors.items()}
    media, found = examine(film, {Kind.VIDEO: targets}, trusted=True)
    return {one.name: one.judge(found, media) for one in detectors}


def entry(detector: str, key: str, evidence: Evidence) -> dict[str, Any]:
    """A row of the protocol."""
    abstained = evidence.status is EvidenceStatus.ABSTAINED
    nothing = float("nan")
    return {
        "detector": detector, "cell": CELL, "condition": "as is", "unit": key,
        "source": key, "group": key.partition(":")[0], "synthetic": False,
        "score": nothing if abstained else float(evidence.details["score"]),
        "probability": nothing if abstained else evidence.probability,
        "abstained": str(evidence.details["reason"]) if abstained else "",
        "flagged": evidence.status is EvidenceStatus.PRESENT,
    }  # fmt: skip


def added(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Put rows into a protocol file, in place of its own of this cell."""
    import pyarrow.parquet as pq

    kept = [row for row in pq.read_table(path).to_pylist() if row["cell"] != CELL]
    write(path, [*kept, *rows])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m avsafe_detectors.audio_visual.controls",
                                     description=(__doc__ or "").split("\n\n")[0])  # fmt: skip
    parser.add_argument("--media", type=Path, required=True, help="folder of media")
    parser.add_argument("--protocol", type=Path, required=True, help="folder of protocol files")
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    rows: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for key, film in films(given.media, Path(folder)):
            try:
                said = judged(film)
            except AvsafeError as error:
                log.info("%s: %s", key, error)
                continue
            for name, evidence in said.items():
                rows.setdefault(name, []).append(entry(name, key, evidence))
                log.info("%s, %s: %s", key, name, evidence.summary)
    for name, own in rows.items():
        added(given.protocol / f"{name}.parquet", own)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
