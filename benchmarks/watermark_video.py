"""Measure the video mark on real clips: quality, survival, cost, false positives.

    python benchmarks/watermark_video.py --media FOLDER… [--seconds 5] [--limit N] [--extra]
    python benchmarks/watermark_video.py --media FOLDER… --images
    python benchmarks/watermark_video.py --media FOLDER… --false-positives 20000

Every clip is decoded, marked, coded with x264 (CRF 18, preset medium: the release) and coded again
as each row says; the mark is then searched blind (scale, shift, mirror) with the right key. Costs
are CPU-seconds of one thread. Results go to reports/watermark_video/ as JSON and Markdown: numbers
only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import av
import numpy as np

from avsafe.types import Frame, Kind, RawMedia
from avsafe.watermark import locate
from avsafe.watermark.image import ImageWatermarker
from avsafe.watermark.residual import NAMES, TileExtractor
from avsafe.watermark.tile import tile_of_key
from avsafe.watermark.video import VideoWatermarker

KEY = hashlib.sha256(b"benchmark key").digest()
WRONG_KEY = hashlib.sha256(b"another key").digest()
SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi")


def clips(folders: list[Path], limit: int | None) -> list[Path]:
    found = sorted(p for f in folders for p in f.iterdir() if p.suffix.lower() in SUFFIXES)
    if limit is not None and limit < len(found):  # spread over the folders
        found = [found[i] for i in np.linspace(0, len(found) - 1, limit).astype(int)]
    return found


def decode(path: Path, seconds: float | None = None) -> tuple[list[Frame], Fraction]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        rate = stream.average_rate or Fraction(25)
        most = None if seconds is None else round(seconds * rate)
        frames: list[Frame] = []
        for frame in container.decode(stream):
            frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == most:
                break
    return frames, rate


def encode(
    frames: list[Frame], rate: Fraction, path: Path, crf: int, size: tuple[int, int] | None = None
) -> None:
    height, width = (side - side % 2 for side in frames[0].shape[:2])
    out_width, out_height = size or (width, height)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = out_width, out_height, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "medium"}
        stream.codec_context.thread_count = 1
        for frame in frames:
            even = np.ascontiguousarray(frame[:height, :width])
            picture = av.VideoFrame.from_ndarray(even, format="rgb24")
            container.mux(stream.encode(picture.reformat(out_width, out_height, "yuv420p")))
        container.mux(stream.encode())


def attacks(
    frames: list[Frame], extra: bool
) -> Iterator[tuple[str, list[Frame], int, tuple[int, int] | None]]:
    """Row name, frames to code, CRF, output size."""
    yield "H.264 CRF 28", frames, 28, None
    if not extra:
        return
    height, width = frames[0].shape[:2]
    scale = 360 / min(height, width)
    small = (round(width * scale / 2) * 2, round(height * scale / 2) * 2)
    yield "360p + CRF 28", frames, 28, small
    yield "H.264 CRF 35", frames, 35, None
    for share in (0.1, 0.3):
        y, x = round(height * share / 2), round(width * share / 2)
        cut = [frame[y : height - y, x : width - x] for frame in frames]
        yield f"crop {share:.0%} + CRF 28", cut, 28, None
    yield "mirror + CRF 28", [frame[:, ::-1] for frame in frames], 28, None
    yield "last fifth + CRF 28", frames[-max(1, len(frames) // 5) :], 28, None


def look(frames: list[Frame], key: bytes, payload: int | None) -> dict[str, Any]:
    """Extract and detect; ``exact`` says whether all 64 bits are right."""
    started = time.process_time()
    extractor = TileExtractor()
    for frame in frames:
        extractor.frame(frame, 0.0)
    features = extractor.finish()
    extracted = time.process_time()
    found = VideoWatermarker().detect(features, key)
    return {
        "present": found.present,
        "exact": payload is not None and found.payload == payload,
        "p_value": found.p_value,
        "sync_z": found.details.get("sync_z"),
        "correlation": found.details.get("correlation"),
        "extract_cpu_ms_per_frame": 1e3 * (extracted - started) / len(frames),
        "detect_cpu_s": time.process_time() - extracted,
    }


def one_clip(
    path: Path, seconds: float | None, attempt: int, extra: bool, folder: Path
) -> dict[str, Any]:
    frames, rate = decode(path, seconds)
    height, width = frames[0].shape[:2]
    payload = int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:8], "big")
    raw = RawMedia(Kind.VIDEO, frames, rate, len(frames), width, height)
    rows: dict[str, Any] = {
        "original, right key": look(frames, KEY, None),
        "original, wrong key": look(frames, WRONG_KEY, None),
    }
    started = time.process_time()
    embedder = VideoWatermarker().embedder(raw, payload, KEY, attempt=attempt)
    marked = [embedder.frame(frame) for frame in frames]
    cost = 1e3 * (time.process_time() - started) / len(frames)
    errors = [
        float(np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2))
        for a, b in zip(frames, marked, strict=True)
    ]
    lowest = 10 * np.log10(255**2 / max(max(errors), 1e-6))
    del frames
    release, again = folder / "release.mp4", folder / "again.mp4"
    encode(marked, rate, release, 18)
    del marked
    released, _ = decode(release)
    rows["release (CRF 18), remux"] = look(released, KEY, payload)
    rows["marked, wrong key"] = look(released, WRONG_KEY, None)
    for name, pictures, crf, size in attacks(released, extra):
        encode(pictures, rate, again, crf, size)
        rows[name] = look(decode(again)[0], KEY, payload)
    return {
        "clip": path.name,
        "size": f"{width}x{height}",
        "frames": len(released),
        "duration_s": round(len(released) / float(rate), 2),
        "psnr_db": round(embedder.mark().psnr_db or 0.0, 2),
        "psnr_lowest_frame_db": round(float(lowest), 2),
        "embed_cpu_ms_per_frame": round(cost, 2),
        "rows": rows,
    }


def table(results: list[dict[str, Any]], settings: dict[str, Any]) -> str:
    names = list(dict.fromkeys(name for result in results for name in result["rows"]))
    long = [result for result in results if result["duration_s"] >= 2.99]
    lines = [
        "# Video mark: survival, quality, cost",
        "",
        f"{len(results)} clips ({len(long)} of 3 s or more); settings: {json.dumps(settings)}.",
        "PSNR: mean square error over RGB, marked against unmarked 8-bit frames, before coding.",
        "",
        "| what was done | detected | 64 bits exact | exact, clips >= 3 s |",
        "|---|---|---|---|",
    ]
    for name in names:
        have = [result["rows"][name] for result in results if name in result["rows"]]
        longer = [result["rows"][name] for result in long if name in result["rows"]]
        lines.append(
            f"| {name} | {sum(r['present'] for r in have)} of {len(have)} "
            f"| {sum(r['exact'] for r in have)} "
            f"| {sum(r['exact'] for r in longer)} of {len(longer)} |"
        )
    psnr = [result["psnr_db"] for result in results]
    lines += [
        "",
        f"PSNR {min(psnr):.2f} to {max(psnr):.2f} dB, median {np.median(psnr):.2f}; lowest frame "
        f"{min(result['psnr_lowest_frame_db'] for result in results):.2f} dB.",
        "",
        "| clip | size | s | PSNR dB | lowest frame | embed ms/frame | "
        + " | ".join(n for n in names if "original" not in n)
        + " |",
        "|---" * (6 + len([n for n in names if "original" not in n])) + "|",
    ]
    for result in results:
        cells = [
            f"{'exact' if row['exact'] else 'present' if row['present'] else '-'}"
            f" (z {row['sync_z']:.1f})"
            for name, row in result["rows"].items()
            if "original" not in name
        ]
        lines.append(
            f"| {result['clip']} | {result['size']} | {result['duration_s']} | {result['psnr_db']} "
            f"| {result['psnr_lowest_frame_db']} | {result['embed_cpu_ms_per_frame']} | "
            + " | ".join(cells)
            + " |"
        )
    return "\n".join(lines) + "\n"


def images(paths: list[Path]) -> dict[str, Any]:
    """The first frame of every clip as an image: PNG, and JPEG of several qualities."""
    import cv2

    exact: dict[str, list[bool]] = {}
    psnr: list[float] = []
    false = 0
    for path in paths:
        picture = decode(path, 0.05)[0][0]
        height, width = picture.shape[:2]
        raw = RawMedia(Kind.IMAGE, [picture], None, 1, width, height)
        embedder = ImageWatermarker().embedder(raw, 2**63 + 12345, KEY)
        bgr = embedder.frame(picture)[..., ::-1]
        psnr.append(embedder.mark().psnr_db or 0.0)
        false += look([picture], KEY, None)["present"]
        for name, suffix, options in (
            ("PNG", ".png", []),
            *((f"JPEG {q}", ".jpg", [cv2.IMWRITE_JPEG_QUALITY, q]) for q in (95, 85, 75, 60)),
        ):
            _, data = cv2.imencode(suffix, bgr, options)
            back = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
            side = "512 pixels and more" if min(height, width) >= 512 else "under 512 pixels"
            row = look([np.ascontiguousarray(back)], KEY, 2**63 + 12345)
            exact.setdefault(f"{name}, {side}", []).append(row["exact"])
    return {
        "exact": {name: f"{sum(rows)} of {len(rows)}" for name, rows in exact.items()},
        "psnr_db": {"lowest": round(min(psnr), 2), "median": round(float(np.median(psnr)), 2)},
        "detected_on_unmarked": false,
    }


def false_positives(
    paths: list[Path], trials: int, first: int, seconds: float
) -> Iterator[dict[str, Any]]:
    """Wrong keys on unmarked hosts, the full blind search each time; yields every 500 trials."""
    spectra: list[locate.Spectrum] = []
    for path in paths:
        extractor = TileExtractor()
        for frame in decode(path, seconds)[0]:
            extractor.frame(frame, 0.0)
        spectra.append(locate.Spectrum(extractor.finish()["residual.0"]))
    z, sync_p, correlation, passes, detections, attempts = [], [], [], 0, 0, 0
    started = time.process_time()
    for trial in range(first, first + trials):
        tile = tile_of_key.__wrapped__(hashlib.sha256(b"trial %d" % trial).digest())
        reading = locate.read(spectra[trial % len(spectra)], tile)
        z.append(reading.peak.z)
        sync_p.append(reading.sync_p_value)
        correlation.append(reading.decoded.correlation)
        attempts += reading.attempts
        passes += reading.decoded.crc_ok
        detections += reading.accepted
        if len(z) % 500 and len(z) < trials:
            continue
        yield {
            "hosts": len(spectra),
            "first_trial": first,
            "trials": len(z),
            "attempts_to_decode": attempts,
            "crc_passes": passes,
            "detections": detections,
            "bound_95_percent_per_search": 3 / len(z) if detections == 0 else None,
            "bound_by_theory_per_search": locate.MOST_ATTEMPTS * 2.0**-32,
            "bound_by_theory_per_file": len(NAMES) * locate.MOST_ATTEMPTS * 2.0**-32,
            "hypotheses_per_search": reading.hypotheses,
            "sync_z_quantiles": {
                str(q): round(float(np.quantile(z, q)), 3) for q in (0.01, 0.5, 0.99, 0.999, 1.0)
            },
            "sync_p_value_at_most": {
                str(p): float(np.mean(np.array(sync_p) <= p)) for p in (0.1, 0.01, 0.001)
            },
            "correlation_quantiles": {
                str(q): round(float(np.quantile(correlation, q)), 4) for q in (0.5, 0.99, 1.0)
            },
            "cpu_s": round(time.process_time() - started, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--media", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, default=Path("reports/watermark_video"))
    parser.add_argument("--name", default="survival", help="file name of the report")
    parser.add_argument("--seconds", type=float, default=None, help="only the beginning of clips")
    parser.add_argument("--limit", type=int, default=None, help="number of clips")
    parser.add_argument("--attempt", type=int, default=0)
    parser.add_argument("--extra", action="store_true", help="more ways of coding, crops, mirror")
    parser.add_argument("--images", action="store_true", help="first frames as PNG and JPEG")
    parser.add_argument("--false-positives", type=int, default=0, metavar="TRIALS")
    parser.add_argument("--first-trial", type=int, default=0, help="go on after earlier trials")
    options = parser.parse_args()
    import cv2

    cv2.setNumThreads(1)
    paths = clips(options.media, options.limit)
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {
        "seconds": options.seconds,
        "attempt": options.attempt,
        "machine": platform.machine(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "av": av.__version__,
    }
    if options.images:
        text = json.dumps({"settings": settings} | images(paths), indent=1) + "\n"
        (options.out / "images.json").write_text(text)
        print(text)
        return
    if options.false_positives:
        trials = false_positives(
            paths, options.false_positives, options.first_trial, options.seconds or 2.0
        )
        for result in trials:  # the report grows while the trials run
            text = json.dumps({"settings": settings} | result, indent=1) + "\n"
            (options.out / "false_positives.json").write_text(text)
        print(text)
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            result = one_clip(path, options.seconds, options.attempt, options.extra, Path(folder))
            results.append(result)
            row = {name: r["exact"] or r["present"] for name, r in result["rows"].items()}
            print(result["clip"], result["psnr_db"], row, flush=True)
    body = {"settings": settings, "clips": results}
    (options.out / f"{options.name}.json").write_text(json.dumps(body, indent=1) + "\n")
    (options.out / f"{options.name}.md").write_text(table(results, settings))
    print(table(results, settings))


if __name__ == "__main__":
    main()
