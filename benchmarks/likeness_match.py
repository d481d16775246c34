"""How often the networks of ``avsafe.embedders`` take two people for one, or one for two.

    python benchmarks/likeness_match.py [--media ../shared/media] [--modality face|voice]

A clip of somebody talking is one person; the same person in another clip is named in ``SAME``.
Somebody is enrolled with one picture (or one recording) and asked about with others: of the same
clip some seconds later, of another clip, and damaged as uploads are. Reported at both bounds of the
network, with the number of pairs of clips: looks are not independent, so a pair of people counts
once, by its worst look.

Few people, most of them well lit and facing the camera: the figures show what the bounds do, not
what a service will see.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

FOLDERS = ("real_talking", "synthetic_talking", "synthetic_loopy")
SAME = {"retalking_3": "sadtalker_aoc"}  # clip -> the clip that shows the same person
LEFT_OUT = ("loopy_nonhuman_1",)
LOOKS, APART_S = 4, 1.0
SOUND_S = 5.0  # of speech for each recording


def person_of(name: str) -> str:
    return SAME.get(name, name)


def damaged(frame: Any) -> dict[str, Any]:
    """The picture as it may come back: small, coarse, mirrored, dark, turned."""
    from PIL import Image, ImageOps

    picture = Image.fromarray(frame)
    coarse = io.BytesIO()
    picture.save(coarse, "JPEG", quality=25)
    width, height = picture.size
    small = picture.resize((max(1, width // 3), max(1, height // 3))).resize(picture.size)
    return {
        "as it is": frame,
        "JPEG at 25": np.asarray(Image.open(coarse).convert("RGB")),
        "a third of the size": np.asarray(small),
        "mirrored": np.asarray(ImageOps.mirror(picture)),
        "half as bright": np.asarray(picture.point(lambda v: v // 2)),
        "turned by 12 degrees": np.asarray(picture.rotate(12)),
    }


def faces(paths: list[Path]) -> dict[str, list[dict[str, Any]]]:
    """Clip -> looks -> damage -> vector, of frames that show one face."""
    from avsafe import media
    from avsafe_metrics.people.dlib_face import vectors

    found: dict[str, list[dict[str, Any]]] = {}
    for path in paths:
        looks: list[dict[str, Any]] = []
        raw = media.decode(path, trusted=True, max_duration_s=LOOKS * APART_S)
        step = max(1, round(float(raw.frame_rate or 25) * APART_S))
        for frame in itertools.islice(raw.frames or (), 0, step * LOOKS, step):
            frame = np.array(frame)
            kinds = damaged(frame) if not looks else {"as it is": frame}
            seen = {name: list(vectors(one)) for name, one in kinds.items()}
            if len(seen["as it is"]) == 1:
                looks.append({name: v[0] for name, v in seen.items() if len(v) == 1})
        if looks:
            found[path.stem] = looks
    return found


def voices(paths: list[Path]) -> dict[str, list[dict[str, Any]]]:
    """Clip -> pieces of sound -> damage -> vector, of pieces with a second of speech."""
    from avsafe import media
    from avsafe.errors import Unscorable
    from avsafe_metrics.people.resemblyzer_voice import vector

    found: dict[str, list[dict[str, Any]]] = {}
    for path in paths:
        raw = media.decode(path, trusted=True)
        if raw.samples is None:
            continue
        x = np.concatenate([block.mean(axis=0) for block in raw.samples])
        size = int(SOUND_S * raw.rate_hz)
        pieces = [x[i : i + size] for i in range(0, min(len(x), LOOKS * size), size)]
        looks = []
        for piece in pieces:
            noise = np.random.default_rng(0).normal(0, 1, piece.size).astype(np.float32)
            power = float(np.sqrt(np.mean(piece**2))) / 10  # 20 dB below
            kinds = {"as it is": piece, "with noise at 20 dB": piece + power * noise,
                     "a tenth as loud": piece / 10}  # fmt: skip
            try:
                looks.append({n: vector(np.float32(one), raw.rate_hz) for n, one in kinds.items()})
            except Unscorable:
                continue
        if looks:
            found[path.stem] = looks
    return found


def report(found: dict[str, list[dict[str, Any]]], same: float, other: float) -> dict[str, Any]:
    """Shares with intervals."""
    from avsafe.bench.statistics import wilson

    def share(distances: list[float], bound: float, above: bool) -> dict[str, Any]:
        k = sum(d >= bound if above else d < bound for d in distances)
        low, high = wilson(k, len(distances))
        return {"k": k, "n": len(distances), "share": round(k / max(1, len(distances)), 4),
                "interval": [round(low, 4), round(high, 4)]}  # fmt: skip

    def apart(a: Any, b: Any) -> float:
        return float(np.linalg.norm(a - b))

    within: dict[str, list[float]] = {}
    across: list[float] = []
    between: list[tuple[float, str, str]] = []
    for looks in found.values():
        for later in looks[1:]:
            for kind, v in later.items():
                within.setdefault(kind, []).append(apart(looks[0]["as it is"], v))
        for kind, v in looks[0].items():
            if kind != "as it is":
                within.setdefault(kind, []).append(apart(looks[0]["as it is"], v))
    for one, two in itertools.combinations(found, 2):
        pairs = [apart(a["as it is"], b["as it is"]) for a in found[one] for b in found[two]]
        if person_of(one) == person_of(two):
            across += pairs
        else:
            between.append((min(pairs), one, two))
    worst = [d for d, _, _ in between]
    return {
        "people": len({person_of(name) for name in found}),
        "clips": len(found),
        "looks": sum(map(len, found.values())),
        "bounds": {"same_below": same, "other_above": other},
        "two people taken for one": share(worst, same, False),
        "two people not told apart": share(worst, other, False),
        "one person not recognised": {k: share(v, same, True) for k, v in within.items()},
        "one person taken for two": {k: share(v, other, True) for k, v in within.items()},
        "in another clip, not recognised": share(across, same, True) if across else None,
        "nearest strangers": [[round(d, 3), one, two] for d, one, two in sorted(between)[:8]],
        "quantiles within": [round(float(q), 3) for q in np.quantile(
            within.get("as it is", [0.0]), [0.5, 0.9, 0.99])],
        "quantiles between": [round(float(q), 3) for q in np.quantile(worst, [0.01, 0.1, 0.5])],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--media", type=Path, default=Path("../shared/media"))
    parser.add_argument("--modality", choices=("face", "voice"), default="face")
    given = parser.parse_args()
    paths = [
        path
        for folder in FOLDERS
        for path in sorted((given.media / folder).glob("*.m*"))
        if path.stem not in LEFT_OUT
    ]
    if given.modality == "face":
        from avsafe_metrics.people.dlib_face import DlibFace as Network

        found = faces(paths)
    else:
        from avsafe_metrics.people.resemblyzer_voice import (
            ResemblyzerVoice as Network,  # type: ignore[assignment]
        )

        found = voices(paths)
    info = Network.info
    print(json.dumps(report(found, info.same_below, info.other_above), indent=1))


if __name__ == "__main__":
    main()
