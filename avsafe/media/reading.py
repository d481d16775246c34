"""From a file to frames at a constant rate and samples at their own rate, from one time zero.

Legend: a frame is ``(h, w, 3)`` uint8 RGB, upright; a block of samples ``(c, n)`` float32, -1..1.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe.errors import MissingStream
from avsafe.media.limits import Limits
from avsafe.types import Kind, RawMedia

if TYPE_CHECKING:
    from avsafe.types import Frame, Samples

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a decoding pass will give; made from the timestamps of all packets."""

    kind: Kind
    width: int = 0
    height: int = 0
    rate: Fraction | None = None
    frame_count: int | None = None
    zero_s: float = 0.0  # the time in the file that becomes 0
    rate_hz: int = 0
    channels: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"rate": None if self.rate is None else str(self.rate)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Plan:
        rate = value["rate"]
        return cls(
            **{
                **value,
                "kind": Kind(value["kind"]),
                "rate": None if rate is None else Fraction(rate),
            }
        )


def decode(
    path: Path | str,
    *,
    trusted: bool = False,
    limits: Limits | None = None,
    max_duration_s: float | None = None,
) -> RawMedia:
    """A file as frames and samples, decoded on demand; every ``iter()`` starts a new pass.

    Frames come at a constant rate: a file with variable timestamps has frames repeated or left out
    by time, and ``details["resampled"]`` says so. Sound and picture keep their offset: silence is
    put before a late sound, the first frame is held before a late picture. Memory does not grow
    with the length of the clip.

    ``trusted=True`` decodes in this process: only for a file that we wrote ourselves. Otherwise
    each pass runs in a limited process (see ``avsafe.media.sandbox``). ``max_duration_s`` reads
    only the beginning.

    Raises the children of ``UnreadableMedia``.

    >>> raw = decode("clip.mp4")  # doctest: +SKIP
    >>> sum(1 for _ in raw.frames)  # doctest: +SKIP
    250
    """
    from avsafe.media.structure import prescan

    path = Path(path).absolute()
    limits = limits or Limits()
    prescan(path, limits)
    if trusted:
        from avsafe.media.survey import make_plan

        plan = make_plan(path, limits, max_duration_s)
    else:
        from avsafe.media import sandbox

        plan = Plan.from_json(
            sandbox.call(
                "avsafe.media.survey:plan_json",
                {"path": str(path), "limits": limits.as_json(), "max_duration_s": max_duration_s},
                limits=limits,
            )
        )
    passes = _Pass(path, plan, trusted, limits, max_duration_s)
    return RawMedia(
        kind=plan.kind,
        frames=_Frames(passes) if plan.width else None,
        frame_rate=plan.rate,
        frame_count=plan.frame_count,
        width=plan.width,
        height=plan.height,
        samples=_Samples(passes) if plan.rate_hz else None,
        rate_hz=plan.rate_hz,
        channels=plan.channels,
        details=plan.details,
    )


def need_frames(raw: RawMedia, name: str) -> RawMedia:
    """The same media, or ``MissingStream`` when it has no pictures."""
    if raw.frames is None:
        raise MissingStream(
            f"{name} has no video stream (found: audio at {raw.rate_hz} Hz, {raw.channels} "
            "channels). Pass a file with pictures."
        )
    return raw


def need_samples(raw: RawMedia, name: str) -> RawMedia:
    """The same media, or ``MissingStream`` when it has no sound."""
    if raw.samples is None:
        raise MissingStream(
            f"{name} has no audio stream (found: {raw.kind} of {raw.width} x {raw.height} pixels). "
            "Pass a file with sound."
        )
    return raw


@dataclass(frozen=True)
class _Pass:
    path: Path
    plan: Plan
    trusted: bool
    limits: Limits
    max_duration_s: float | None

    def run(self, *, frames: bool) -> Iterator[Any]:
        if self.trusted:
            from avsafe.media.decoder import NO_PICTURES, RGB, events

            for event in events(
                self.path,
                self.plan,
                self.limits,
                self.max_duration_s,
                pictures=RGB if frames else NO_PICTURES,
                samples=not frames,
            ):
                for _ in range(event.count):
                    yield event.data
            return
        from avsafe.media import sandbox

        kwargs = {
            "path": str(self.path),
            "plan": self.plan.as_json(),
            "limits": self.limits.as_json(),
            "max_duration_s": self.max_duration_s,
            "frames": frames,
        }
        with sandbox.stream(
            "avsafe.media.decoder:stream",
            kwargs,
            limits=self.limits,
            item_bytes=3 * self.limits.max_pixels + 4096,  # one frame and its header
        ) as messages:
            for message in messages:
                data = message.arrays["data"]
                self._check(data, frames)
                count = int(message.header.get("count", 1))
                for left in range(count, 0, -1):
                    yield data if left == 1 else data.copy()

    def _check(self, data: Any, frames: bool) -> None:
        from avsafe.errors import SandboxFailure

        if frames:
            good = data.shape == (self.plan.height, self.plan.width, 3) and data.dtype == "uint8"
        else:
            good = (
                data.ndim == 2 and data.shape[0] == self.plan.channels and data.dtype == "float32"
            )
        if not good:
            raise SandboxFailure(
                f"The decoding process of {self.path.name} sent {data.dtype} {data.shape}, which "
                "is not what it had announced. The file may have taken it over; do not trust it."
            )


class _Frames:
    def __init__(self, passes: _Pass) -> None:
        self._passes = passes

    def __iter__(self) -> Iterator[Frame]:
        return self._passes.run(frames=True)


class _Samples:
    def __init__(self, passes: _Pass) -> None:
        self._passes = passes

    def __iter__(self) -> Iterator[Samples]:
        return self._passes.run(frames=False)
