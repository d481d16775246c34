"""The tools of ``watermark_peers.py`` behind one interface: ours, and what else is installed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avsafe import plugins, testing
from avsafe.types import Kind, RawMedia

Frames = list[NDArray[np.uint8]]  # (h, w, 3) RGB
Sound = NDArray[np.float32]  # (c, n)
FRAMES = 50  # two seconds
RATE = Fraction(25)
KEY = bytes(range(32))


@dataclass
class Found:
    present: bool
    exact: bool
    accuracy: float | None  # of the payload bits; None when the tool does not say


class PictureTool(Protocol):
    bits: int
    clips: int
    frames: int

    def embed(self, frames: Frames, payload: int) -> Frames: ...

    def detect(self, frames: Frames, payload: int) -> Found: ...


def bits_of(payload: int, n: int) -> NDArray[np.int64]:
    return np.array([payload >> i & 1 for i in range(n)])


class Ours:
    """``plugins.load("watermarkers", "video")``, as the gate and ``avsafe verify`` use it."""

    clips = 8

    def __init__(self, frames: int = FRAMES) -> None:
        self.marker = plugins.load("watermarkers", "video")
        self.bits, self.frames = self.marker.payload_bits, frames

    def _raw(self, frames: Frames) -> RawMedia:
        height, width = frames[0].shape[:2]
        return RawMedia(Kind.VIDEO, frames, RATE, len(frames), width, height)

    def embed(self, frames: Frames, payload: int) -> Frames:
        embedder = self.marker.embedder(self._raw(frames), payload, KEY)
        return [np.asarray(embedder.frame(frame)) for frame in frames]

    def detect(self, frames: Frames, payload: int) -> Found:
        extractor = plugins.load_object(self.marker.extractor)()
        features = testing.extract(extractor, self._raw(frames))
        found = self.marker.detect(features, KEY)
        exact = found.present and found.payload == payload
        return Found(found.present, exact, None)


class Invisible:
    """invisible-watermark: 32 bits in every frame, voted."""

    bits = 32

    def __init__(self, method: str, clips: int, frames: int) -> None:
        from imwatermark import WatermarkDecoder, WatermarkEncoder

        self.method, self.clips, self.frames = method, clips, frames
        self.encoder, self.decoder = WatermarkEncoder(), WatermarkDecoder("bits", self.bits)
        if method == "rivaGan":
            self._load_on_one_thread()

    @staticmethod
    def _load_on_one_thread() -> None:
        """Its own loader takes all cores, and threads that wait for work count as CPU time."""
        import imwatermark
        import onnxruntime
        from imwatermark.rivaGan import RivaWatermark

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        folder = Path(imwatermark.__file__).parent
        for part in ("encoder", "decoder"):
            session = onnxruntime.InferenceSession(str(folder / f"rivagan_{part}.onnx"), options)
            setattr(RivaWatermark, part, session)

    def embed(self, frames: Frames, payload: int) -> Frames:
        self.encoder.set_watermark("bits", bits_of(payload, self.bits).tolist())
        return [
            np.ascontiguousarray(self.encoder.encode(frame[..., ::-1].copy(), self.method))[
                ..., ::-1
            ].astype(np.uint8)
            for frame in frames
        ]

    def detect(self, frames: Frames, payload: int) -> Found:
        votes = [
            np.asarray(self.decoder.decode(frame[..., ::-1].copy(), self.method), float)
            for frame in frames
        ]
        return voted(np.mean(votes, axis=0), payload, self.bits)


class Blind:
    """blind-watermark: 32 bits in every frame, voted."""

    bits, clips, frames = 32, 4, 2

    def __init__(self) -> None:
        from blind_watermark import bw_notes

        bw_notes.close()
        import blind_watermark

        self.module = blind_watermark

    def embed(self, frames: Frames, payload: int) -> Frames:
        out = []
        for frame in frames:
            marker = self.module.WaterMark(password_img=1, password_wm=1)
            marker.read_img(img=frame[..., ::-1].copy())
            marker.read_wm(bits_of(payload, self.bits).astype(bool), mode="bit")
            marked = np.clip(np.rint(marker.embed()), 0, 255).astype(np.uint8)
            out.append(np.ascontiguousarray(marked[..., ::-1]))
        return out

    def detect(self, frames: Frames, payload: int) -> Found:
        votes = []
        for frame in frames:
            marker = self.module.WaterMark(password_img=1, password_wm=1)
            picture = frame[..., ::-1].copy()
            found = marker.extract(embed_img=picture, wm_shape=self.bits, mode="bit")
            votes.append(np.asarray(found, float))
        return voted(np.mean(votes, axis=0), payload, self.bits)


def voted(mean: NDArray[Any], payload: int, n: int) -> Found:
    right = (mean > 0.5) == (bits_of(payload, n) == 1)
    return Found(True, bool(right.all()), float(right.mean()))


class OurSound:
    """``plugins.load("watermarkers", NAME)``: ``audio``, or an adapter."""

    def __init__(self, name: str) -> None:
        self.marker = plugins.load("watermarkers", name)
        self.bits = self.marker.payload_bits

    def _raw(self, sound: Sound, rate: int) -> RawMedia:
        blocks = [sound[:, i : i + 4410] for i in range(0, sound.shape[1], 4410)]
        return RawMedia(Kind.AUDIO, samples=blocks, rate_hz=rate, channels=len(sound))

    def embed(self, sound: Sound, rate: int, payload: int) -> Sound:
        raw = self._raw(sound, rate)
        embedder = self.marker.embedder(raw, payload, KEY)
        blocks = [embedder.samples(block) for block in raw.samples or ()]
        marked = np.hstack([*blocks, embedder.flush()])
        embedder.mark()
        return marked

    def detect(self, sound: Sound, rate: int, payload: int) -> Found:
        extractor = plugins.load_object(self.marker.extractor)()
        features = testing.extract(extractor, self._raw(sound, rate))
        found = self.marker.detect(features, KEY)
        exact = found.present and (not self.bits or found.payload == payload)
        return Found(found.present, exact, None)


class PerthItself:
    """resemble-perth by its own package; present above 0.5, no payload."""

    bits = 0

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import perth
        if perth.PerthImplicitWatermarker is None:
            raise ImportError("perth's network cannot be imported (torchaudio, librosa)")
        self.marker = perth.PerthImplicitWatermarker()

    def embed(self, sound: Sound, rate: int, payload: int) -> Sound:
        marked = self.marker.apply_watermark(sound[0], sample_rate=rate)
        return np.asarray(marked, np.float32)[None, : sound.shape[1]]

    def detect(self, sound: Sound, rate: int, payload: int) -> Found:
        score = float(self.marker.get_watermark(sound[0], sample_rate=rate, round=False))
        return Found(score > 0.5, score > 0.5, None)
