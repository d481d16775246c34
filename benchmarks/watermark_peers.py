"""Our picture and sound marks beside other tools: cost, quality and robustness on the same clips.

    python -m venv peers && peers/bin/pip install -e . 'torch>=2.6,<2.14' torchaudio librosa \\
        'setuptools<81' resemble-perth invisible-watermark blind-watermark onnxruntime
    OMP_NUM_THREADS=1 peers/bin/python benchmarks/watermark_peers.py \\
        --media ../shared/media --out reports/watermark_peers [--clips 4] [--sounds 6]

An environment of its own, since the tools bring other versions of OpenCV and setuptools; what is
not importable is named "not installed" in the table. ``torchaudio`` must be built for the installed
torch; without it, Perth runs by our adapter (the same weights, the same scores within 1e-6).

CPU is ``time.process_time`` around embedding and detection alone, not coding or reading, after one
call that is not counted; one thread each. Slow tools get fewer clips and frames: ``n`` says how
many. Tools that know single pictures mark each frame and vote over them; ours accumulates. The
report is written after each tool. Perth's scores of unmarked sound: ``perth_null.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import av
import cv2  # noqa: TID253
import numpy as np
from peer_tools import (
    FRAMES,
    RATE,
    Blind,
    Found,
    Frames,
    Invisible,
    Ours,
    OurSound,
    PerthItself,
    PictureTool,
    Sound,
)

from avsafe.errors import AvsafeError

WIDTH, HEIGHT = 960, 540
SOUND_S = 8.0
SUFFIXES = (".mp4", ".mkv", ".mov", ".mpg", ".webm")
CLIPS = (  # of the folder of public clips; any other folder gives its first ones
    "real_general/ask_baseball.mp4",
    "real_talking/sadtalker_aoc.mp4",
    "real_general/intel_asl_night.mkv",
    "synthetic_other/sora_tokyo.mp4",
    "real_general/cotracker_bear.mp4",
    "real_general/c2pa_video1_nomanifest.mp4",
    "real_general/foley_vgg_1.mp4",
    "real_general/videollava_1.mp4",
)
PACKAGES = ("invisible-watermark", "blind-watermark", "resemble-perth", "onnxruntime", "torch")

# ---------------------------------------------------------------- media


def read_frames(path: Path) -> Frames:
    with av.open(str(path)) as container:
        frames = []
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="rgb24")
            frames.append(cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))
            if len(frames) == FRAMES:
                break
    return frames


def read_sound(source: Path | io.BytesIO) -> tuple[Sound, int]:
    with av.open(str(source) if isinstance(source, Path) else source) as container:
        if not container.streams.audio:
            return np.zeros((1, 0), np.float32), 0
        resampler = av.AudioResampler("fltp", "mono", 44100)
        blocks = [
            part.to_ndarray()
            for frame in container.decode(audio=0)
            for part in resampler.resample(frame)
        ]
    sound = np.hstack(blocks) if blocks else np.zeros((1, 0), np.float32)
    return np.clip(sound, -1, 1).astype(np.float32), 44100


def h264(frames: Frames, crf: int) -> Frames:
    buffer = io.BytesIO()
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    with av.open(buffer, "w", format="mp4") as container:
        options = {"crf": str(crf), "preset": "medium"}
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in frames:
            cut = np.ascontiguousarray(picture[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(cut, format="rgb24")))
        container.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def jpeg(frames: Frames, quality: int) -> Frames:
    out = []
    for frame in frames:
        _, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        out.append(np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]))
    return out


def crop(frames: Frames) -> Frames:
    """5 % off every edge: 10 % of each side length."""
    height, width = frames[0].shape[:2]
    y, x = height // 20, width // 20
    return [np.ascontiguousarray(frame[y : height - y, x : width - x]) for frame in frames]


def smaller(frames: Frames) -> Frames:
    size = (round(frames[0].shape[1] * 360 / frames[0].shape[0]), 360)
    return [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]


PICTURE_ATTACKS: dict[str, Callable[[Frames], Frames]] = {
    "none": list,
    "CRF 23": lambda frames: h264(frames, 23),
    "CRF 28": lambda frames: h264(frames, 28),
    "CRF 35": lambda frames: h264(frames, 35),
    "360p + CRF 28": lambda frames: h264(smaller(frames), 28),
    "crop 10 %": crop,
    "JPEG 75": lambda frames: jpeg(frames, 75),
}


def coded(sound: Sound, rate: int, codec: str, container: str) -> Sound:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.bit_rate, stream.layout = 64_000, "mono"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), "fltp", "mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format, "mono", rate, frame_size=stream.frame_size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(part))
        out.mux(stream.encode())
    buffer.seek(0)
    return read_sound(buffer)[0]


def noisy(sound: Sound, rate: int) -> Sound:
    noise = np.random.default_rng(0).standard_normal(sound.shape)
    level = np.sqrt(float(np.mean(sound**2)) / 100)  # 20 dB below
    return np.clip(sound + level * noise, -1, 1).astype(np.float32)


def faster(sound: Sound, rate: int) -> Sound:
    """Played 5 % too fast, pitch and tempo together."""
    from scipy.signal import resample_poly

    return np.clip(resample_poly(sound, 20, 21, axis=1), -1, 1).astype(np.float32)


SOUND_ATTACKS: dict[str, Callable[[Sound, int], Sound]] = {
    "none": lambda sound, rate: sound,
    "MP3 64k": lambda sound, rate: coded(sound, rate, "libmp3lame", "mp3"),
    "AAC 64k": lambda sound, rate: coded(sound, rate, "aac", "mp4"),
    "noise 20 dB": noisy,
    "speed + 5 %": faster,
}

# ---------------------------------------------------------------- measuring


@dataclass
class Row:
    tool: str
    bits: int = 0
    n: str = ""
    embed: float = 0.0  # CPU ms a frame, or a second of sound
    detect: float = 0.0
    quality_db: float = 0.0
    results: dict[str, list[Found]] = field(default_factory=dict)
    unmarked: list[Found] = field(default_factory=list)
    note: str = ""

    def cell(self, attack: str) -> str:
        found = self.results.get(attack, [])
        if not found:
            return "-"
        text = f"{sum(f.exact for f in found)}/{len(found)}"
        rates = [f.accuracy for f in found if f.accuracy is not None]
        if len(rates) == len(found):
            text += f" ({np.mean(rates):.2f})"
        return text


def psnr(one: Frames, other: Frames) -> float:
    pairs = zip(one, other, strict=True)
    return float(np.mean([cv2.PSNR(a, np.ascontiguousarray(b)) for a, b in pairs]))


def measure_pictures(name: str, make: Callable[[], PictureTool], clips: list[Frames]) -> Row:
    row = Row(name)
    try:
        tool = make()
    except (ImportError, AvsafeError) as error:
        return Row(name, note=f"not installed ({error})")
    row.bits = tool.bits
    embed_s = detect_s = 0.0
    embedded = detected = 0
    quality = []
    rng = np.random.default_rng(5)
    tool.detect(tool.embed(clips[0][:2], 1), 1)  # what is loaded on first use
    for whole in clips[: tool.clips]:
        frames = whole[: tool.frames]
        payload = int.from_bytes(rng.bytes(8), "big") >> (64 - tool.bits)
        began = time.process_time()
        marked = tool.embed(frames, payload)
        embed_s += time.process_time() - began
        embedded += len(frames)
        quality.append(psnr(frames, marked))
        for attack, change in PICTURE_ATTACKS.items():
            attacked = change(marked)
            began = time.process_time()
            row.results.setdefault(attack, []).append(tool.detect(attacked, payload))
            if attack == "none":
                detect_s += time.process_time() - began
                detected += len(attacked)
        row.unmarked.append(tool.detect(frames, payload))
    row.n = f"{min(len(clips), tool.clips)} x {min(tool.frames, FRAMES)} frames"
    row.embed, row.detect = 1000 * embed_s / embedded, 1000 * detect_s / detected
    row.quality_db = float(np.mean(quality))
    return row


def measure_sound(name: str, make: Callable[[], Any], sounds: list[tuple[Sound, int]]) -> Row:
    row = Row(name)
    try:
        tool = make()
    except (ImportError, OSError, AvsafeError) as error:
        return Row(name, note=f"not installed ({error})")
    row.bits = tool.bits
    embed_s = detect_s = seconds = 0.0
    quality = []
    refused = 0
    rng = np.random.default_rng(6)
    with contextlib.suppress(AvsafeError):  # what is loaded on first use
        tool.detect(tool.embed(*sounds[0], 0), sounds[0][1], 0)
    for sound, rate in sounds:
        payload = int(rng.integers(0, 1 << tool.bits)) if tool.bits else 0
        began = time.process_time()
        try:
            marked = tool.embed(sound, rate, payload)
        except AvsafeError:
            refused += 1
            continue
        embed_s += time.process_time() - began
        error = float(np.mean((marked - sound) ** 2))
        quality.append(10 * np.log10(float(np.mean(sound**2)) / max(error, 1e-15)))
        for attack, change in SOUND_ATTACKS.items():
            attacked = change(marked, rate)
            began = time.process_time()
            row.results.setdefault(attack, []).append(tool.detect(attacked, rate, payload))
            if attack == "none":
                detect_s += time.process_time() - began
                seconds += sound.shape[1] / rate
        row.unmarked.append(tool.detect(sound, rate, payload))
    row.n = f"{len(sounds) - refused} x {SOUND_S:g} s" + (f", {refused} refused" if refused else "")
    if quality:
        row.embed, row.detect = 1000 * embed_s / seconds, 1000 * detect_s / seconds
        row.quality_db = float(np.mean(quality))
    return row


# ---------------------------------------------------------------- report


def table(rows: list[Row], attacks: Sequence[str], unit: str, quality: str) -> Iterator[str]:
    ours = rows[0] if rows else Row("")
    yield (
        f"| tool | payload | n | {quality}, dB | embed, CPU ms a {unit} | against ours "
        f"| detect, CPU ms a {unit} | against ours | "
        + " | ".join(attacks)
        + " | unmarked: found |"
    )
    yield "|" + "---|" * (9 + len(attacks))
    for row in rows:
        if row.note:
            yield f"| {row.tool} | {row.note} |" + " |" * (7 + len(attacks))
            continue
        cells = " | ".join(row.cell(attack) for attack in attacks)
        false = f"{sum(f.present for f in row.unmarked)}/{len(row.unmarked)}"
        says = row.tool.startswith(("video", "audio", "perth"))
        yield (
            f"| {row.tool} | {row.bits} bits | {row.n} | {row.quality_db:.1f} "
            f"| {row.embed:.3g} | {times(row.embed, ours.embed)} "
            f"| {row.detect:.3g} | {times(row.detect, ours.detect)} "
            f"| {cells} | {false if says else 'no test'} |"
        )


def times(one: float, ours: float) -> str:
    return f"{one / ours:.2g} x" if ours else "-"


def versions() -> Iterator[str]:
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield f"{package} {metadata.version(package)}"


def as_json(row: Row) -> dict[str, Any]:
    return {
        "tool": row.tool,
        "note": row.note,
        "bits": row.bits,
        "n": row.n,
        "embed_cpu_ms": row.embed,
        "detect_cpu_ms": row.detect,
        "quality_db": row.quality_db,
        "results": {a: [vars(f) for f in found] for a, found in row.results.items()},
        "unmarked": [vars(f) for f in row.unmarked],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--media", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=4, help="how many clips at most")
    parser.add_argument("--sounds", type=int, default=6, help="how many sounds at most")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    files = sorted(p for p in arguments.media.rglob("*") if p.suffix in SUFFIXES)
    named = [arguments.media / clip for clip in CLIPS if (arguments.media / clip).is_file()]
    clips = [read_frames(path) for path in (named or files)[: arguments.clips]]
    with_sound: list[tuple[Sound, int]] = []
    for path in dict.fromkeys([*named, *files]):
        if len(with_sound) == arguments.sounds:
            break
        sound, rate = read_sound(path)
        if rate and sound.shape[1] >= SOUND_S * rate and float(np.abs(sound).max()) > 0.01:
            with_sound.append((sound[:, : round(SOUND_S * rate)], rate))
    pictures: list[tuple[str, Callable[[], PictureTool]]] = [
        ("video (ours)", Ours),
        ("video (ours), 4 frames", lambda: Ours(4)),
        ("invisible-watermark dwtDct", lambda: Invisible("dwtDct", 8, 4)),
        ("invisible-watermark dwtDctSvd", lambda: Invisible("dwtDctSvd", 4, 4)),
        ("invisible-watermark rivaGan", lambda: Invisible("rivaGan", 4, 2)),
        ("blind-watermark", Blind),
    ]
    sound_tools: list[tuple[str, Callable[[], Any]]] = [
        ("audio (ours)", lambda: OurSound("audio")),
        ("perth, its own package", PerthItself),
        ("perth, our adapter", lambda: OurSound("perth")),
    ]

    def waiting(*done: list[Row]) -> list[str]:
        seen = {row.tool for rows in done for row in rows}
        return [name for name, _ in [*sound_tools, *pictures] if name not in seen]

    picture_rows: list[Row] = []
    sound_rows: list[Row] = []
    for name, build in sound_tools if with_sound else ():
        sound_rows.append(measure_sound(name, build, with_sound))
        write(arguments.out, picture_rows, sound_rows, waiting(picture_rows, sound_rows))
        print(f"{time.process_time():.0f} s", name, sound_rows[-1].note or "done", flush=True)
    for name, make in pictures if clips else ():  # the slow ones take minutes
        picture_rows.append(measure_pictures(name, make, clips))
        write(arguments.out, picture_rows, sound_rows, waiting(picture_rows, sound_rows))
        print(f"{time.process_time():.0f} s", name, picture_rows[-1].note or "done", flush=True)


def write(out: Path, pictures: list[Row], sounds: list[Row], waiting: Sequence[str]) -> None:
    minutes = time.process_time() / 60
    lines = [
        "# Our marks beside other tools",
        "",
        "`benchmarks/watermark_peers.py` says how it is measured. A cell is how many clips gave "
        "back every bit (for Perth: yes), and in brackets the mean share of right bits after "
        "voting where a tool always answers; ours answers with every bit or not at all. 0.50 is "
        "chance. With this few clips a cell tells all from nothing, not 90 % from 100 %.",
        "",
        f"Pictures, {WIDTH}x{HEIGHT}, H.264 by x264 medium; ours spreads its bits over the frames:",
        "",
        *table(pictures, list(PICTURE_ATTACKS), "frame", "PSNR"),
        "",
        f"Sound, mono 44.1 kHz, {SOUND_S:g} s:",
        "",
        *table(sounds, list(SOUND_ATTACKS), "second", "SNR"),
        "",
        "Tools without a test answer with bits for any picture, marked or not. A higher PSNR or "
        "SNR is less change, not always less seen or heard. Perth's package says yes above 0.5, "
        "our adapter above its measured threshold; of its false alarms `perth_null.json` says "
        "more. Not run: VideoSeal, TrustMark and AudioSeal, whose weights are in no package.",
        "",
        f"Versions: {', '.join(versions())}. The whole run took {minutes:.1f} CPU-minutes.",
    ]
    if waiting:
        lines += ["", f"The run has not come to: {', '.join(waiting)}."]
    data: dict[str, Any] = {
        "waiting": list(waiting),
        "cpu_minutes": round(minutes, 2),
        "versions": list(versions()),
        "pictures": [as_json(row) for row in pictures],
        "sound": [as_json(row) for row in sounds],
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.md").write_text("\n".join(lines) + "\n", "utf-8")
    (out / "figures.json").write_text(json.dumps(data, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
