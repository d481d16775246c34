"""What one reading of one file may cost; every reader of a file of others takes these."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from avsafe.errors import UsageError

GIB = 1 << 30


@dataclass(frozen=True)
class Limits:
    """Bounds for one file: what the pre-scan allows, and what the reading process may use.

    Raise one by name: ``replace(Limits(), cpu_s=600)``. A file over a limit of the first group
    raises ``MediaTooLarge``; a process over one of the second raises ``LimitExceeded``.
    """

    # of the file, checked before and while decoding
    max_file_bytes: int = 16 * GIB
    max_pixels: int = 8192 * 4320  # one 8K frame (DCI), 106 MB as RGB
    max_duration_s: float = 3600.0
    max_frame_rate: float = 240.0
    max_boxes: int = 10_000  # top-level; 100,000 hang naive readers for 150 s (quadratic)
    max_nested_boxes: int = 30_000  # a fragmented hour holds about 20,000
    max_depth: int = 32  # boxes within boxes; a C2PA manifest needs about 10
    max_streams: int = 16
    max_channels: int = 64
    max_rate_hz: int = 384_000
    # of the process that reads it
    cpu_s: int = 120
    wall_s: float = 300.0  # time that the caller waits; a slow consumer does not count
    pixels_at_once: int = 8_000_000_000  # in all frames: both once more (``for_work``)
    most_times: int = 15  # both at the most: half an hour of CPU time
    memory_bytes: int = 4 * GIB  # address space, not resident memory
    output_bytes: int = 512 << 20  # of one JSON result or one set of features

    def __post_init__(self) -> None:
        for item in fields(self):
            if not getattr(self, item.name) > 0:
                raise UsageError(f"Limits.{item.name} must be greater than zero.")

    def for_work(self, pixels: float) -> Limits:
        """These limits with the time that so many decoded pixels may take, within ``most_times``.

        15 ns of CPU time for each pixel: four times what 1080p H.264 takes, with every mark read.

        >>> ten_minutes = 600 * 30 * 1920 * 1080
        >>> [Limits().for_work(pixels).cpu_s for pixels in (0, ten_minutes, 10**12)]
        [120, 680, 1800]
        """
        times = min(float(self.most_times), 1.0 + max(0.0, pixels) / self.pixels_at_once)
        return replace(self, cpu_s=int(self.cpu_s * times), wall_s=self.wall_s * times)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Limits:
        return cls(**value)
