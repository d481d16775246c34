"""What is promised of the marks, and whether a run kept it.

A floor is met when the measured share or mean reaches it; the interval stands beside it, so that a
floor met by luck can be told from one met with margin. Rows that failed count against the number
expected, never as recovered or lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from avsafe.bench.statistics import wilson
from avsafe.sharding.rows import Row
from avsafe.types import Kind

_TOLERANCE_S = 0.06  # a clip of 75 frames at 25/s, cut by a frame, is still one of 3 s


@dataclass(frozen=True)
class Floor:
    """``floor`` of the clips of ``least_s`` or more must keep every bit through every attack."""

    kind: Kind
    attacks: tuple[str, ...]
    floor: float
    least_s: float


FLOORS = (
    Floor(
        Kind.VIDEO,
        (
            "h264_crf28", "resize_360", "crop_10", "crop_30", "letterbox", "fps_24", "trim_3s",
        ),
        0.98,
        3.0,
    ),
    Floor(Kind.VIDEO, ("h264_crf35",), 0.95, 5.0),
    Floor(Kind.VIDEO, ("rotate_5", "social", "narrow", "wide"), 0.90, 3.0),
    Floor(Kind.VIDEO, ("h264_crf40",), 0.60, 3.0),
    Floor(Kind.VIDEO, ("screenshot_png",), 0.60, 3.0),
    Floor(
        Kind.AUDIO,
        (
            "mp3_64k", "aac_64k", "resample_16k", "resample_8k", "noise_20db",
            "speed_plus_5", "speed_minus_5", "tempo_plus_5", "tempo_minus_5",
        ),
        0.95,
        10.0,
    ),
    Floor(
        Kind.AUDIO,
        (
            "mp3_64k.5s", "aac_64k.5s", "resample_16k.5s", "resample_8k.5s", "noise_20db.5s",
            "speed_plus_5.5s", "speed_minus_5.5s", "tempo_plus_5.5s", "tempo_minus_5.5s",
        ),
        0.80,
        5.0,
    ),
)  # fmt: skip


def group(row: Mapping[str, Any], least_s: float) -> bool:
    """Whether a row's release lasts at least so long (a cut frame is forgiven).

    >>> group({"duration_s": 4.96}, 5.0), group({"duration_s": 4.5}, 5.0)
    (True, False)
    """
    return float(row.get("duration_s") or 0.0) >= least_s - _TOLERANCE_S


def check(rows: Sequence[Row], kind: Kind) -> list[dict[str, Any]]:
    """One line for every floor and attack of a kind that was measured."""
    lines = []
    for floor in FLOORS:
        if floor.kind is not kind:
            continue
        for attack in floor.attacks:
            asked = [row for row in rows if row["attack"] == attack]
            scored = [r for r in asked if r["status"] == "ok" and group(r, floor.least_s)]
            # a process that died left no duration behind: it counts in every group
            failed = [
                r for r in asked if r["status"] == "failed"
                and (r.get("duration_s") is None or group(r, floor.least_s))
            ]  # fmt: skip
            if not scored and not failed:
                continue
            k, n = sum(bool(row["exact"]) for row in scored), len(scored) + len(failed)
            low, high = wilson(k, n)
            lines.append(
                {
                    "what": attack, "least_s": floor.least_s, "floor": floor.floor, "value": k / n,
                    "low": low, "high": high, "k": k, "n": n, "met": k / n >= floor.floor,
                }
            )  # fmt: skip
    return lines


# name of the measure, its floor, and how the clips become one number
QUALITY: dict[Kind, tuple[tuple[str, str, float, Callable[[Sequence[float]], float]], ...]] = {
    Kind.VIDEO: (
        ("psnr_db", "mean PSNR, dB", 44.0, lambda v: sum(v) / len(v)),
        ("psnr_db", "PSNR of the worst clip, dB", 42.0, min),
    ),
    Kind.IMAGE: (
        ("psnr_db", "mean PSNR, dB", 44.0, lambda v: sum(v) / len(v)),
        ("psnr_db", "PSNR of the worst picture, dB", 42.0, min),
    ),
    Kind.AUDIO: (("pesq_wb", "mean PESQ, wide band", 4.2, lambda v: sum(v) / len(v)),),
}


def check_quality(rows: Sequence[Row], kind: Kind) -> list[dict[str, Any]]:
    """One line for every quality floor of a kind; ``rows`` are of the kind ``quality``."""
    lines = []
    for name, what, floor, gather in QUALITY[kind]:
        values = [float(row[name]) for row in rows if row.get(name) is not None]
        if values:
            value = gather(values)
            lines.append(
                {"what": what, "floor": floor, "value": value, "n": len(values),
                 "met": value >= floor}
            )  # fmt: skip
    return lines
