"""Edits of time: each turns a clip into a clip, pictures and sound together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, cast

import numpy as np

from avsafe.errors import UsageError
from avsafe.types import Frame
from avsafe_generators.edit.clip import F32, Clip, Pair
from avsafe_generators.edit.stretch import stretched

MAX_SECONDS_OUT = 120.0
_HELD = 256 * 2**20  # bytes of frames that playing backwards may hold


def trim(
    clip: Clip,
    start_s: float = 0.0,
    end_s: float | None = None,
    last_s: float | None = None,
    drop_last_s: float | None = None,
) -> Clip:
    """A part of the clip, by seconds; at least one frame."""
    rate = float(clip.rate)
    if last_s is not None:
        start_s = max(0.0, clip.seconds - last_s)
    if drop_last_s is not None:
        end_s = clip.seconds - drop_last_s
    start, stop = round(start_s * rate), clip.count if end_s is None else round(end_s * rate)
    stop = min(stop, clip.count)
    if start >= stop:
        raise UsageError(
            f"The clip lasts {clip.seconds:.2f} s; nothing is left of it from {start_s:g} s to "
            f"{end_s if end_s is not None else clip.seconds:g} s. Ask for a part inside it."
        )
    return _part(clip, start, stop)


def _part(clip: Clip, start: int, stop: int) -> Clip:
    def sound() -> F32:
        assert clip.sound is not None  # noqa: S101
        return clip.sound()[:, clip.samples_at(start) : clip.samples_at(stop)]

    return replace(
        clip,
        pairs=lambda: islice(clip.pairs(), start, stop),
        count=stop - start,
        sound=sound if clip.sound else None,
    )


def reverse(clip: Clip) -> Clip:
    """Backwards. Holds at most 256 MiB of frames: a longer clip is read again for every part."""
    size = max(8, _HELD // (clip.width * clip.height * 7))

    def pairs() -> Iterator[Pair]:
        for stop in range(clip.count, 0, -size):
            yield from reversed(list(islice(clip.pairs(), max(0, stop - size), stop)))

    def sound() -> F32:
        assert clip.sound is not None  # noqa: S101
        whole = _fitted(clip.sound(), clip.samples_at(clip.count))
        return np.ascontiguousarray(whole[:, ::-1])

    return replace(clip, pairs=pairs, sound=sound if clip.sound else None)


def speed(clip: Clip, factor: float) -> Clip:
    """Slower (below 1) with frames between drawn along the optical flow, or faster with frames left
    out. The sound keeps its pitch."""
    count = max(1, round(clip.count / factor))
    _refuse_long(count / float(clip.rate))

    def pairs() -> Iterator[Pair]:
        source = clip.pairs()
        first = next(source)
        second, at, flows = next(source, None), 0, None
        for number in range(count):
            time = min(number * factor, clip.count - 1.0)
            if factor >= 1:
                time = float(round(time))
            while at < int(time) and second is not None:
                first, second, at, flows = second, next(source, None), at + 1, None
            share = time - at
            if share < 1e-3 or second is None:
                yield first
                continue
            if flows is None:
                flows = _flows(first[0], second[0])
            yield _between(first, second, share, flows)

    def sound() -> F32:
        assert clip.sound is not None  # noqa: S101
        made = stretched(clip.sound(), factor, clip.rate_hz)
        return _fitted(made, round(count / float(clip.rate) * clip.rate_hz))

    return replace(clip, pairs=pairs, count=count, sound=sound if clip.sound else None)


def _flows(one: Frame, other: Frame) -> tuple[F32, F32, bool]:
    import cv2

    flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    scale = min(1.0, 640 / max(one.shape[:2]))
    size = (max(16, round(one.shape[1] * scale)), max(16, round(one.shape[0] * scale)))
    greys = [
        cv2.resize(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        for f in (one, other)
    ]
    there, back = flow.calc(greys[0], greys[1], None), flow.calc(greys[1], greys[0], None)
    difference = np.abs(greys[0].astype(np.int16) - greys[1])
    moved = _at(greys[1], there, 1.0).astype(np.int16)
    # a cut, a flash: what the flow doesn't explain is not drawn between but shown in turn
    broken = float(np.abs(moved - greys[0]).mean()) > 25 or float(difference.mean()) > 60
    whole = one.shape[1::-1]
    factor = np.array([whole[0] / size[0], whole[1] / size[1]], np.float32)
    grown = [cv2.resize(f, whole, interpolation=cv2.INTER_LINEAR) * factor for f in (there, back)]
    return grown[0], grown[1], broken


def _at(picture: Any, flow: F32, share: float) -> Any:
    import cv2

    height, width = flow.shape[:2]
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(
        picture, xs + share * flow[..., 0], ys + share * flow[..., 1], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip


def _between(one: Pair, other: Pair, share: float, flows: tuple[F32, F32, bool]) -> Pair:
    """The picture at a share of the way: both neighbours brought there, weighted by how well the
    flow there and the flow back agree, and by nearness."""
    there, back, broken = flows
    if broken:
        return one if share < 0.5 else other
    early = _at(one[0], there, -share).astype(np.float32)
    late = _at(other[0], back, -(1 - share)).astype(np.float32)
    trust = [
        1 / (1 + np.square(flow + _at(against, flow, 1.0)).sum(-1))
        for flow, against in ((there, back), (back, there))
    ]
    early_weight = ((1 - share) * _at(trust[0], there, -share) + 1e-4)[..., None]
    late_weight = (share * _at(trust[1], back, -(1 - share)) + 1e-4)[..., None]
    mixed = (early * early_weight + late * late_weight) / (early_weight + late_weight)
    mask = one[1] if share < 0.5 else other[1]
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8), mask


def loop(clip: Clip, times: int) -> Clip:
    """The clip several times in a row."""
    _refuse_long(clip.seconds * times)

    def pairs() -> Iterator[Pair]:
        for _ in range(times):
            yield from clip.pairs()

    def sound() -> F32:
        assert clip.sound is not None  # noqa: S101
        return np.tile(_fitted(clip.sound(), clip.samples_at(clip.count)), (1, times))

    return replace(clip, pairs=pairs, count=clip.count * times, sound=sound if clip.sound else None)


def boomerang(clip: Clip) -> Clip:
    """Forwards, then backwards."""
    _refuse_long(clip.seconds * 2)
    back = reverse(clip)

    def pairs() -> Iterator[Pair]:
        yield from clip.pairs()
        yield from back.pairs()

    def sound() -> F32:
        assert clip.sound is not None  # noqa: S101
        whole = _fitted(clip.sound(), clip.samples_at(clip.count))
        return np.concatenate([whole, whole[:, ::-1]], 1)

    return replace(clip, pairs=pairs, count=clip.count * 2, sound=sound if clip.sound else None)


def freeze(clip: Clip, at: str = "end", seconds: float = 1.0) -> Clip:
    """The first or the last frame held; silence meanwhile."""
    held = max(1, round(seconds * float(clip.rate)))
    _refuse_long(clip.seconds + seconds)

    def pairs() -> Iterator[Pair]:
        last: Pair | None = None
        for last in clip.pairs():
            if at == "start":
                yield from (last for _ in range(held))
                yield last
                break
            yield last
        else:
            if last is not None:
                yield from (last for _ in range(held))
            return
        yield from islice(clip.pairs(), 1, None)

    def sound() -> F32:
        assert clip.sound is not None  # noqa: S101
        whole = _fitted(clip.sound(), clip.samples_at(clip.count))
        silence = np.zeros((clip.channels, clip.samples_at(held)), np.float32)
        return np.concatenate([silence, whole] if at == "start" else [whole, silence], 1)

    return replace(clip, pairs=pairs, count=clip.count + held, sound=sound if clip.sound else None)


def fade(clip: Clip, into: bool, seconds: float = 1.0, colour: str = "black") -> Clip:
    """From or to a colour, the sound from or to silence; other frames stay as they are."""
    length = max(1, min(clip.count, round(seconds * float(clip.rate))))
    tone = 255.0 if colour == "white" else 0.0

    def pairs() -> Iterator[Pair]:
        for number, (frame, mask) in enumerate(clip.pairs()):
            place = number if into else clip.count - 1 - number
            if place >= length:
                yield frame, mask
                continue
            share = place / length
            faded = tone + share * (frame.astype(np.float32) - tone)
            yield np.clip(faded + 0.5, 0, 255).astype(np.uint8), mask

    def sound() -> F32:
        assert clip.sound is not None  # noqa: S101
        total = clip.samples_at(clip.count)
        whole = _fitted(clip.sound(), total).copy()  # the last frame's end is the sound's
        n = min(total, clip.samples_at(length))
        up = np.linspace(0, 1, n, dtype=np.float32)
        if into:
            whole[:, :n] *= up
        elif n:
            whole[:, -n:] *= up[::-1]
        return whole

    return replace(clip, pairs=pairs, sound=sound if clip.sound else None)


def volume(clip: Clip, factor: float) -> Clip:
    """Louder or softer; what would leave -1..1 is bent back smoothly above 0.8."""

    def sound() -> F32:
        assert clip.sound is not None  # noqa: S101
        loud = clip.sound() * np.float32(factor)
        over = np.abs(loud) > 0.8
        bent = np.sign(loud) * (0.8 + 0.2 * np.tanh((np.abs(loud) - 0.8) / 0.2))
        return cast(F32, np.where(over, bent, loud).astype(np.float32))

    return replace(clip, sound=sound) if clip.sound else clip


def mute(clip: Clip) -> Clip:
    return replace(clip, sound=None, rate_hz=0, channels=0)


def _fitted(sound: F32, n: int) -> F32:
    """Exactly n samples: cut, or silence at the end."""
    if sound.shape[1] >= n:
        return sound[:, :n]
    return np.pad(sound, ((0, 0), (0, n - sound.shape[1])))


def _refuse_long(seconds: float) -> None:
    if seconds > MAX_SECONDS_OUT:
        raise UsageError(
            f"The edited clip would last {seconds:.0f} s; at most {MAX_SECONDS_OUT:g} s are made. "
            "Trim it first, or ask for less."
        )
