"""What a mark does to picture and sound before any codec: marked against unmarked.

Legend: frames are (h, w, 3) uint8 RGB; sound is (c, n) float32.

PSNR and flicker are computed here; SSIM (Wang et al. 2004) and VIF (Sheikh and Bovik 2006) by
FFmpeg's filters; VMAF by the FFmpeg program that the package imageio-ffmpeg brings, where it is
installed; PESQ wide band (ITU-T P.862.2) by the package pesq.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from avsafe.bench.clips import Sound
from avsafe.types import Frame, Samples

_MOST_FRAMES = 48  # for the perceptual measures: two seconds say enough, and VIF is slow


def picture_quality(
    original: Sequence[Frame], marked: Sequence[Frame], rate: Fraction
) -> dict[str, Any]:
    """``psnr_db`` (mean over frames), ``psnr_least_db``, ``ssim``, ``vif``, ``vmaf``, ``flicker``.

    ``vif`` is the mean over FFmpeg's four scales. ``flicker`` is the mean absolute change, from
    frame to frame, of what the mark adds, in levels: 0 for a still pattern. ``missing`` names what
    could not be computed, and why.
    """
    psnr = [psnr_db(a, b) for a, b in zip(original, marked, strict=True)]
    found: dict[str, Any] = {"psnr_db": float(np.mean(psnr)), "psnr_least_db": float(min(psnr))}
    found["flicker"] = _flicker(original, marked)
    missing: dict[str, str] = {}
    a, b = original[:_MOST_FRAMES], marked[:_MOST_FRAMES]
    for name, measure in (("ssim", _ssim), ("vif", _vif), ("vmaf", _vmaf)):
        try:
            found[name] = measure(a, b, rate)
        except (RuntimeError, OSError, ImportError, ValueError) as error:
            missing[name] = f"{type(error).__name__}: {error}"
    return found | ({"missing": missing} if missing else {})


def psnr_db(original: Frame, marked: Frame) -> float:
    """Over all three channels; an unchanged frame counts 100 dB.

    >>> round(psnr_db(np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 1, np.uint8)), 2)
    48.13
    """
    difference = original.astype(np.int16) - marked
    error = float(np.mean(difference.astype(np.float32) ** 2))
    return min(100.0, 10 * float(np.log10(255.0**2 / max(error, 1e-12))))


def _flicker(original: Sequence[Frame], marked: Sequence[Frame]) -> float:
    changes = []
    before = None
    for a, b in zip(original, marked, strict=True):
        added = b[..., 1].astype(np.int16) - a[..., 1]  # green stands for luma
        if before is not None:
            changes.append(float(np.abs(added - before).mean()))
        before = added
    return float(np.mean(changes)) if changes else 0.0


def _ssim(original: Sequence[Frame], marked: Sequence[Frame], rate: Fraction) -> float:
    return float(np.mean([float(m["lavfi.ssim.Y"]) for m in _compared("ssim", original, marked)]))


def _vif(original: Sequence[Frame], marked: Sequence[Frame], rate: Fraction) -> float:
    some = slice(0, None, 6)
    return float(
        np.mean(
            [
                float(m[f"lavfi.vif.scale.{scale}"])
                for m in _compared("vif", original[some], marked[some])
                for scale in range(4)
            ]
        )
    )


def _compared(name: str, original: Sequence[Frame], marked: Sequence[Frame]) -> list[Any]:
    """The metadata that a two-input filter of FFmpeg writes on every frame."""
    import av
    import av.filter

    height, width = original[0].shape[:2]
    if name not in av.filter.filters_available:
        raise RuntimeError(f"this FFmpeg has no filter {name}")
    graph: Any = av.filter.Graph()
    sources = [
        graph.add_buffer(width=width, height=height, format="yuv444p", time_base=Fraction(1, 25))
        for _ in range(2)
    ]
    judge = graph.add(name)
    for place, source in enumerate((sources[1], sources[0])):  # marked first, then the reference
        source.link_to(judge, 0, place)
    sink = graph.add("buffersink")
    judge.link_to(sink)
    graph.configure()
    found = []
    for index, pair in enumerate(zip(marked, original, strict=True)):
        for source, frame in zip((sources[1], sources[0]), pair, strict=True):
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            image = image.reformat(format="yuv444p")
            image.pts, image.time_base = index, Fraction(1, 25)
            source.push(image)
        found.append(dict(sink.pull().metadata))
    return found


def _vmaf(original: Sequence[Frame], marked: Sequence[Frame], rate: Fraction) -> float:
    """VMAF v0.6.1 of the luma, mean over frames (0..100)."""
    import imageio_ffmpeg

    program = imageio_ffmpeg.get_ffmpeg_exe()
    height, width = (side // 2 * 2 for side in original[0].shape[:2])
    with tempfile.TemporaryDirectory() as folder:
        for name, frames in (("marked", marked), ("original", original)):
            with (Path(folder) / name).open("wb") as out:
                for frame in frames:
                    out.write(np.ascontiguousarray(frame[:height, :width]).tobytes())
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate)]
        graph = "[0]format=yuv420p[a];[1]format=yuv420p[b];"
        graph += "[a][b]libvmaf=log_fmt=json:log_path=vmaf.json:n_threads=1"
        command = [program, "-v", "error", *raw, "-i", "marked", *raw, "-i", "original"]
        command += ["-lavfi", graph, "-f", "null", "-"]
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.decode(errors="replace").strip()[-200:])
        found = json.loads((Path(folder) / "vmaf.json").read_text())
    return float(found["pooled_metrics"]["vmaf"]["mean"])


def sound_quality(original: Sound, marked: Samples) -> dict[str, Any]:
    """``snr_db`` and ``pesq_wb`` (1..4.64); ``missing`` names what could not be computed."""
    before = original.samples.astype(np.float64)
    added = float(((marked - before) ** 2).mean())
    power = float((before**2).mean())
    found: dict[str, Any] = {
        "snr_db": min(120.0, 10 * float(np.log10(max(power, 1e-20) / max(added, 1e-20))))
    }
    try:
        found["pesq_wb"] = _pesq(original, marked)
    except Exception as error:  # pesq raises its own kinds, e.g. for silence
        found["missing"] = {"pesq_wb": f"{type(error).__name__}: {error}"}
    return found


def _pesq(original: Sound, marked: Samples) -> float:
    from fractions import Fraction as Ratio

    from pesq import pesq
    from scipy.signal import resample_poly

    ratio = Ratio(16_000, original.rate_hz)
    pair = [
        resample_poly(one.mean(axis=0), ratio.numerator, ratio.denominator)
        for one in (original.samples, marked)
    ]
    return float(pesq(16_000, pair[0], pair[1], "wb"))
