"""One pass of a clip through any number of metrics.

1. every metric is told the clip, and may say that it has no number for it
2. pieces come from one decoding pass; the file beside (reference or source) plays in step
3. what several metrics need (faces, mono sound at 16 kHz) is gathered once
4. every metric is asked for its columns

A metric that raises ``Unscorable`` gives its reason and sees no more; so does one that fails, whose
reason names the error. The other metrics go on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import (
    AvsafeError,
    MissingExtra,
    UnreadableMedia,
    Unscorable,
)
from avsafe.media.playing import Piece, Playing
from avsafe.media.view import View
from avsafe.types import Clip, Frame, Gathered, Meter, Metric, MetricInfo, Picture, Sample, Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.faces import FaceTrack

_log = logging.getLogger(__name__)
MONO_HZ = 16_000
FAILED = "the metric failed"  # how the reason begins where a metric broke


@dataclass
class Measured:
    """What one metric found: a value or a reason for each column, and for a set metric features."""

    values: dict[str, Value] = field(default_factory=dict)
    features: dict[str, NDArray[Any]] = field(default_factory=dict)
    cpu_s: float = 0.0  # in this metric's own calls; shared work is not in it


def forms_of(infos: Iterable[MetricInfo]) -> tuple[Picture, ...]:
    """In which forms the pass must give pictures to these metrics.

    >>> forms_of([])
    ()
    """
    wants = {want for info in infos for want in info.wants}
    forms: list[Picture] = []
    if wants & {"rgb", "faces"}:
        forms.append("rgb")
    if "luma" in wants:
        forms.append("luma")
    return tuple(forms)


def wants_sound(infos: Iterable[MetricInfo]) -> bool:
    return any({"sound", "mono16k"} & set(info.wants) for info in infos)


def measure(
    metrics: Mapping[str, Metric],
    sample: Sample,
    clip: Playing,
    beside: Mapping[str, Playing | str] | None = None,
) -> dict[str, Measured]:
    """All metrics on one clip, decoded once; ``beside`` has the files that play in step, by role,
    or the reason why one cannot be played.

    Errors of the clip itself (``UnreadableMedia``) are raised; errors of a metric, or of the file
    beside, are reasons of the metrics that they concern.

    >>> from avsafe.testing import textured_clip
    >>> from avsafe.media import replayed
    >>> measure({}, Sample("a", {}), replayed(textured_clip(0.2)))
    {}
    """
    found = {name: Measured() for name in metrics}
    runs: list[_Run] = []
    given = dict(beside or {})
    playable = {role: other for role, other in given.items() if not isinstance(other, str)}
    for name, metric in metrics.items():
        run = _Run(name, metric, found[name])
        run.open(sample, clip, given)
        if run.alive:
            runs.append(run)
    roles = {run.info.beside for run in runs if run.info.beside}
    infos = [run.info for run in runs]
    shared = _Shared(clip, any("faces" in info.wants for info in infos),
                     any("mono16k" in info.wants for info in infos))  # fmt: skip
    followers = {
        role: _Follower(
            role, playable[role],
            _Shared(playable[role],
                    any("faces" in i.wants and i.beside == role for i in infos),
                    any("mono16k" in i.wants and i.beside == role for i in infos)),
        )
        for role in roles
    }  # fmt: skip
    try:
        _play(clip, runs, shared, followers)
    finally:
        for follower in followers.values():
            follower.close()
    for run in runs:
        other = followers.get(run.info.beside)
        run.finish(shared, other.shared if other else None)
    return found


def _play(
    clip: Playing, runs: list[_Run], shared: _Shared, followers: Mapping[str, _Follower]
) -> None:
    previous: View | None = None
    for piece in clip:
        alive = [run for run in runs if run.alive]
        if not alive:
            return
        if piece.block is not None:
            shared.hear(piece.block)
            for run in alive:
                run.samples(piece, clip.shape.rate_hz, "clip")
            continue
        view = View(shared.frame_count, piece.time_s, piece.rgb, piece.luma, previous)
        shared.see(view, piece.rgb)
        beside: dict[str, View | None] = {}
        for role, follower in followers.items():
            beside[role] = _in_step(follower, alive, piece.time_s)
        for run in alive:
            run.frame(view, beside.get(run.info.beside))
        view.forget_past()
        previous = view
    for follower in followers.values():
        _in_step(follower, [run for run in runs if run.alive], None)


def _in_step(follower: _Follower, runs: list[_Run], time_s: float | None) -> View | None:
    """The file beside, up to a time or to its end. Where it breaks, only the metrics that want it
    end."""
    try:
        if time_s is not None:
            return follower.until(time_s, runs)
        follower.rest(runs)
    except UnreadableMedia as error:
        follower.close()
        for run in runs:
            if run.alive and run.info.beside == follower.role:
                run.end(f"its {follower.role} cannot be played: {error}")
    return None


class _Run:
    """One metric on this clip."""

    def __init__(self, name: str, metric: Metric, found: Measured) -> None:
        self.name, self._metric, self._found = name, metric, found
        self.info = metric.info
        self.alive = False
        self._meter: Meter | None = None
        self._sees = bool({"rgb", "luma", "faces"} & set(self.info.wants))
        self._hears = "sound" in self.info.wants

    def open(self, sample: Sample, clip: Playing, beside: Mapping[str, Playing | str]) -> None:
        other = beside.get(self.info.beside)
        reason = _lacks(self.info, sample, clip, other)
        if reason is not None:
            self.end(reason)
            return
        self.alive = True
        shape = other.shape if isinstance(other, Playing) else None
        self._meter = self._call(
            lambda: self._metric.open(Clip(sample, clip.shape, shape, clip.media))
        )

    def frame(self, view: View, beside: View | None) -> None:
        meter = self._meter
        if self._sees and meter is not None:
            self._call(lambda: meter.frame(view, beside))

    def samples(self, piece: Piece, rate_hz: int, role: str) -> None:
        meter, block = self._meter, piece.block
        if self._hears and meter is not None and block is not None:
            self._call(lambda: meter.samples(block, rate_hz, role))

    def finish(self, shared: _Shared, other: _Shared | None) -> None:
        meter = self._meter
        if not self.alive or meter is None:
            return
        if self._sees and not shared.frame_count:
            self.end("the clip has no frame that can be decoded")
            return
        if "faces" in self.info.wants:
            problem = shared.no_faces or (other.no_faces if other else None)
            if problem is not None:
                self.end(problem)
                return
        self._call(lambda: self._take(meter.finish(shared.gathered(other))))

    def _take(self, given: Mapping[str, Any]) -> None:
        """What a meter gave: numbers and reasons of a clip, features for a set."""
        values: dict[str, Value] = {}
        for column in self.info.columns:
            value = given.get(column.name, "the metric gave no value")
            if self.info.scope == "clip" or (column.name in given and isinstance(value, str)):
                values[self.info.score_name(column)] = _checked(value)
        self._found.values.update(values)
        if self.info.scope == "set":
            arrays = {name: a for name, a in given.items() if isinstance(a, np.ndarray)}
            self._found.features.update(arrays)

    def _call(self, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        try:
            return work()
        except Unscorable as error:
            self.end(str(error))
        except Exception as error:  # one metric that breaks takes no other with it
            _log.debug("%s failed", self.name, exc_info=True)
            said = str(error) if isinstance(error, AvsafeError) else repr(error)
            self.end(f"{FAILED}: {said}"[:500])
        finally:
            self._found.cpu_s += time.process_time() - began
        return None

    def end(self, reason: str) -> None:
        """The metric sees no more; its columns have this reason."""
        self.alive, self._meter = False, None
        for column in self.info.columns:
            self._found.values[self.info.score_name(column)] = reason


def _lacks(
    info: MetricInfo, sample: Sample, clip: Playing, other: Playing | str | None
) -> str | None:
    """Why a metric cannot be asked about this clip; None when it can."""
    wants, shape = set(info.wants), clip.shape
    if wants & {"rgb", "luma", "faces"} and not shape.width:
        return "the clip has no pictures"
    if wants & {"sound", "mono16k"} and not shape.rate_hz:
        return "the clip has no sound"
    if info.beside and other is None:
        return f"the clip has no {info.beside}"
    if info.beside and isinstance(other, str):
        return other
    if info.beside and isinstance(other, Playing):
        if wants & {"rgb", "luma", "faces"} and not other.shape.width:
            return f"the {info.beside} has no pictures"
        if wants & {"sound", "mono16k"} and not other.shape.rate_hz:
            return f"the {info.beside} has no sound"
    for text in info.texts:
        given = sample.text if text == "prompt" else sample.texts.get(text, "")
        if not given.strip():
            return f"the clip has no {text.replace('_', ' ')}"
    return None


def _checked(value: Any) -> Value:
    if isinstance(value, str):
        return value
    number = float(value)
    return number if np.isfinite(number) else f"the value is {number}"


class _Follower:
    """A file that plays in step: for each time of the clip, the frame that it shows then."""

    def __init__(self, role: str, playing: Playing, shared: _Shared) -> None:
        self.role, self._rate_hz, self.shared = role, playing.shape.rate_hz, shared
        self._pieces: Iterator[Piece] | None = iter(playing)
        rate = playing.shape.frame_rate
        self._half_s = 0.5 / float(rate) if rate else 0.0
        self._ahead: Piece | None = None
        self._view: View | None = None
        self._still = playing.shape.frame_rate is None

    def until(self, time_s: float, runs: list[_Run]) -> View | None:
        """The frame shown at ``time_s``; None after the end of the file. A picture stands still."""
        while self._pieces is not None:
            piece = self._ahead or next(self._pieces, None)
            self._ahead = None
            if piece is None:
                self._pieces = None
                break
            if piece.block is not None:
                self._hear(piece, runs)
            elif self._view is None or piece.time_s <= time_s + self._half_s:
                self._show(piece)
            else:
                self._ahead = piece
                break
        ended = self._pieces is None and not self._still
        if ended and self._view is not None:
            over_s = self._view.time_s + 2 * self._half_s - 1e-6  # its last frame is shown so long
            if time_s >= over_s:
                return None
        return self._view

    def rest(self, runs: list[_Run]) -> None:
        """The sound that is left; no frame of the clip is beside its frames."""
        for piece in self._pieces or ():
            if piece.block is not None:
                self._hear(piece, runs)

    def close(self) -> None:
        close = getattr(self._pieces, "close", None)
        self._pieces = None
        if close is not None:
            close()

    def _hear(self, piece: Piece, runs: list[_Run]) -> None:
        if piece.block is not None:
            self.shared.hear(piece.block)
        for run in runs:
            if run.info.beside == self.role:
                run.samples(piece, self._rate_hz, self.role)

    def _show(self, piece: Piece) -> None:
        before = self._view
        if before is not None:
            before.forget_past()
        self._view = View(self.shared.frame_count, piece.time_s, piece.rgb, piece.luma, before)
        self.shared.see(self._view, piece.rgb)


class _Shared:
    """What is gathered once for all metrics of one file."""

    def __init__(self, playing: Playing, faces: bool, mono: bool) -> None:
        self.frame_count = 0
        self.no_faces: str | None = None  # why nothing is known of faces
        self._tracker: Any = None
        self._track: FaceTrack | None = None
        self._mono = Mono(playing.shape.rate_hz) if mono and playing.shape.rate_hz else None
        if faces and playing.shape.width:
            self._following(lambda: self._start(playing.shape.frame_rate or 1))

    def see(self, view: View, rgb: Frame | None) -> None:
        self.frame_count += 1
        if self._tracker is not None and rgb is not None:
            self._following(lambda: self._tracker.take(rgb))

    def _start(self, rate: Fraction | int) -> None:
        from avsafe.faces import Tracker

        self._tracker = Tracker(rate)

    def _following(self, step: Callable[[], None]) -> None:
        """Faces are for some metrics only: where they cannot be followed, the others go on."""
        try:
            step()
        except Exception as error:
            _log.debug("faces", exc_info=True)
            self._tracker = None
            if isinstance(error, AvsafeError) and not isinstance(error, MissingExtra):
                self.no_faces = f"its faces cannot be followed: {error}"[:500]
            else:  # tried again by the next run
                self.no_faces = f"{FAILED}: its faces cannot be followed: {error!r}"[:500]

    def hear(self, block: NDArray[np.float32]) -> None:
        if self._mono is not None:
            self._mono.take(block)

    def gathered(self, other: _Shared | None) -> Gathered:
        return Gathered(
            frame_count=self.frame_count,
            faces=self.faces(),
            mono16k=self.mono(),
            beside_mono16k=other.mono() if other else None,
            beside_faces=other.faces() if other else None,
        )

    def faces(self) -> FaceTrack | None:
        if self._track is None and self._tracker is not None:
            self._track = self._tracker.finish()
        return self._track

    def mono(self) -> NDArray[np.float32] | None:
        return None if self._mono is None else self._mono.whole()


class Mono:
    """Blocks ``(c, n)`` at any rate as one mono sound at 16 kHz: the mean of the channels,
    resampled by FFmpeg's swresample. 64 kB a second.

    >>> import numpy as np
    >>> mono = Mono(48000)
    >>> mono.take(np.zeros((2, 48000), np.float32))
    >>> mono.whole().shape
    (16000,)
    """

    def __init__(self, rate_hz: int) -> None:
        import av

        self._rate_hz = rate_hz
        self._resampler = None
        if rate_hz != MONO_HZ:
            self._resampler = av.AudioResampler("flt", "mono", MONO_HZ)
        self._parts: list[NDArray[np.float32]] = []
        self._taken = 0
        self._whole: NDArray[np.float32] | None = None

    def take(self, block: NDArray[np.float32]) -> None:
        mixed = np.ascontiguousarray(block.mean(axis=0, dtype=np.float32))
        self._taken += mixed.size
        if self._resampler is None:
            self._parts.append(mixed)
            return
        import av

        frame = av.AudioFrame.from_ndarray(mixed[None], "flt", "mono")
        frame.sample_rate = self._rate_hz
        self._keep(self._resampler.resample(frame))

    def _keep(self, frames: Iterable[Any]) -> None:
        for frame in frames:
            self._parts.append(np.asarray(frame.to_ndarray(), np.float32)[0])

    def whole(self) -> NDArray[np.float32]:
        """(n,) float32; as long as the sound, to the sample."""
        if self._whole is None:
            if self._resampler is not None and self._taken:
                self._keep(self._resampler.resample(None))
            joined = np.concatenate([np.zeros(0, np.float32), *self._parts])
            n = round(self._taken * MONO_HZ / self._rate_hz)
            self._whole = np.pad(joined[:n], (0, max(0, n - joined.size)))
            self._parts.clear()
        return self._whole
