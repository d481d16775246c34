"""Robustness, quality and cost of the audio mark, over real and synthesised sound.

    python benchmarks/watermark_audio.py --media ../shared/media --out reports/watermark_audio
    python benchmarks/watermark_audio.py --false-positives 20000 --media ... --out ...

Every row is one cut of one host after one attack, through the same classes that the gate and
``avsafe verify`` use: marked with AudioWatermarker.embedder, attacked, analysed by the extractor,
decoded by detect. "exact" means that all 32 bits came back; a wrong payload would be counted as
``wrong``. CPU is ``time.process_time`` of one process. PESQ needs ``pip install pesq``.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from avsafe.errors import CannotMark
from avsafe.types import Kind, RawMedia
from avsafe.watermark import audio_chips, audio_detect
from avsafe.watermark.audio import AudioWatermarker
from avsafe.watermark.audio_features import LevelMeter

Sound = NDArray[np.float32]  # (c, n)
Host = tuple[str, Sound, int]  # name, samples, rate
KEY = bytes(range(32))
PAYLOAD = 0xDEADBEEF
REAL = (
    "real_general/difffoley_drum.mp4",
    "real_general/difffoley_gun.mp4",
    "real_general/foley_vgg_0.mp4",
    "real_general/foley_vgg_1.mp4",
    "real_general/vggsound_0B4dYTMsgHA_000130.mp4",
    "real_general/videollama_applause.mp4",
    "real_general/videollava_1.mp4",
    "real_talking/dfrf_french.mp4",
    "real_talking/latentsync_1.mp4",
    "real_talking/liveportrait_d10.mp4",
    "real_talking/liveportrait_d6.mp4",
    "real_talking/sadtalker_aoc.mp4",
    "synthetic_loopy/loopy_sing_2.mp4",
)

# ---------------------------------------------------------------- hosts


def load(source: Path | io.BytesIO) -> tuple[Sound, int]:
    with av.open(str(source) if isinstance(source, Path) else source) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("fltp")
        blocks = [
            part.to_ndarray()
            for frame in container.decode(stream)
            for part in resampler.resample(frame)
        ]
        return np.clip(np.hstack(blocks), -1, 1).astype(np.float32), stream.rate


def speech_like(seconds: float, rate: int, seed: int) -> Sound:
    """Vowels with moving pitch and formants, fricatives and pauses; mono."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    parts = []
    while sum(map(len, parts)) < seconds * rate:
        n = int(rate * rng.uniform(0.08, 0.28))
        kind = rng.choice(["vowel", "fricative", "pause"], p=[0.65, 0.2, 0.15])
        rise = np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.02 * rate))
        if kind == "pause":
            parts.append(rng.normal(0, 3e-4, n))
            continue
        if kind == "fricative":
            noise = np.diff(rng.normal(0, 0.05, n + 1))
            parts.append(noise * rise)
            continue
        pitch = np.linspace(*rng.uniform(95, 190, 2), n) * (
            1 + 0.01 * rng.normal(0, 1, n).cumsum() / rate
        )
        phase = np.cumsum(pitch) / rate
        wave = (phase % 1.0 < pitch / rate).astype(float) + rng.normal(0, 0.01, n)
        for centre, width in zip(
            rng.uniform((300, 900, 2200, 3300), (800, 2200, 3000, 4200)),
            (80, 110, 160, 220),
            strict=True,
        ):
            radius = np.exp(-np.pi * width / rate)
            wave = (
                lfilter(
                    [1 - radius],
                    [1, -2 * radius * np.cos(2 * np.pi * centre / rate), radius**2],
                    wave,
                )
                + 0.15 * wave
            )
        parts.append(0.3 * wave / np.abs(wave).max() * rise)
    return np.concatenate(parts)[None, : int(seconds * rate)].astype(np.float32)


def music_like(seconds: float, rate: int, seed: int, air: float = 0.0) -> Sound:
    """Chords of decaying partials and a short hi-hat, stereo; ``air``: rms of breath and room noise
    relative to the peak. Without it, all between the partials is empty: a hard host."""
    rng = np.random.default_rng(seed)
    n = int(seconds * rate)
    out = np.zeros((2, n))
    beat = int(0.4 * rate)
    for start in range(0, n, beat):
        length = min(2 * beat, n - start)
        t = np.arange(length) / rate
        for note in rng.choice([0, 3, 5, 7, 10, 12], 3, replace=False):
            base = 220 * 2 ** (note / 12)
            for partial in range(1, 13):
                if base * partial < 0.45 * rate:
                    tone = np.sin(2 * np.pi * base * partial * (1 + 1e-4 * partial) * t)
                    out[:, start : start + length] += (
                        tone * np.exp(-t * (2 + partial)) / partial * rng.uniform(0.5, 1, (2, 1))
                    )
        hat = rng.normal(0, 0.15, min(beat // 4, n - start))
        out[:, start : start + len(hat)] += hat * np.exp(-np.arange(len(hat)) / (0.02 * rate))
    out = 0.5 * out / np.abs(out).max() + 0.5 * air * rng.normal(0, 1, out.shape)
    return np.clip(out, -1, 1).astype(np.float32)


def hosts(media: Path | None, seconds: float = 13.0) -> list[Host]:
    """Synthesised hosts, and real ones where the folder is there."""
    made: list[Host] = [
        ("made/speech_16k", speech_like(seconds, 16_000, 1), 16_000),
        ("made/speech_44k", speech_like(seconds, 44_100, 2), 44_100),
        ("made/tones_44k", music_like(seconds, 44_100, 3), 44_100),
        ("made/music_48k", music_like(seconds, 48_000, 4, air=0.01), 48_000),
    ]
    if media is None:
        return made
    return made + [(name, *load(media / name)) for name in REAL if (media / name).is_file()]


# ---------------------------------------------------------------- attacks

Attack = Callable[[Sound, int], tuple[Sound, int]]


def coded(codec: str, bit_rate: int, container: str, out_rate: int | None = None) -> Attack:
    def attack(sound: Sound, rate: int) -> tuple[Sound, int]:
        layout = "stereo" if len(sound) == 2 else "mono"
        buffer = io.BytesIO()
        with av.open(buffer, "w", format=container) as output:
            stream = output.add_stream(codec, rate=out_rate or rate)
            stream.bit_rate = bit_rate
            stream.layout = layout
            stream.codec_context.open(strict=False)
            resampler = av.AudioResampler(
                stream.format, layout, out_rate or rate, stream.codec_context.frame_size or 1024
            )
            whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), "fltp", layout)
            whole.sample_rate = rate
            whole.pts = 0
            for frame in [*resampler.resample(whole), *resampler.resample(None)]:
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        buffer.seek(0)
        return load(buffer)

    return attack


def resampled(to_hz: int) -> Attack:
    def attack(sound: Sound, rate: int) -> tuple[Sound, int]:
        return _ratio(sound, to_hz / rate), to_hz

    return attack


def _ratio(sound: Sound, ratio: float) -> Sound:
    from fractions import Fraction

    from scipy.signal import resample_poly

    exact = Fraction(ratio).limit_denominator(2000)
    return np.asarray(resample_poly(sound, exact.numerator, exact.denominator, axis=1), np.float32)


def sped(factor: float) -> Attack:
    """Played ``factor`` times too fast: pitch and tempo."""
    return lambda sound, rate: (_ratio(sound, 1 / factor), rate)


def tempo(factor: float) -> Attack:
    """``factor`` times faster at the same pitch: FFmpeg's atempo."""

    def attack(sound: Sound, rate: int) -> tuple[Sound, int]:
        layout = "stereo" if len(sound) == 2 else "mono"
        graph = av.filter.Graph()
        source = graph.add_abuffer(sample_rate=rate, format="fltp", layout=layout)
        stretch = graph.add("atempo", str(factor))
        planar = graph.add("aformat", f"sample_fmts=fltp:channel_layouts={layout}")
        sink = graph.add("abuffersink")
        source.link_to(stretch)
        stretch.link_to(planar)
        planar.link_to(sink)
        graph.configure()
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), "fltp", layout)
        frame.sample_rate = rate
        frame.pts = 0
        source.push(frame)
        source.push(None)
        parts = []
        while True:
            try:
                parts.append(sink.pull().to_ndarray())
            except (av.error.BlockingIOError, av.error.EOFError):
                break
        return np.hstack(parts).astype(np.float32), rate

    return attack


def noisy(snr_db: float) -> Attack:
    def attack(sound: Sound, rate: int) -> tuple[Sound, int]:
        power = float(np.mean(np.square(sound, dtype=np.float64)))
        noise = np.random.default_rng(5).normal(
            0, np.sqrt(power / 10 ** (snr_db / 10)), sound.shape
        )
        return np.clip(sound + noise, -1, 1).astype(np.float32), rate

    return attack


def chain(*attacks: Attack) -> Attack:
    def attack(sound: Sound, rate: int) -> tuple[Sound, int]:
        for step in attacks:
            sound, rate = step(sound, rate)
        return sound, rate

    return attack


AAC_192 = coded("aac", 192_000, "mp4")
ATTACKS: dict[str, Attack] = {
    "none": lambda sound, rate: (sound, rate),
    "aac 192k": AAC_192,
    "aac 192k, then 128k": chain(AAC_192, coded("aac", 128_000, "mp4")),
    "aac 192k, then 64k": chain(AAC_192, coded("aac", 64_000, "mp4")),
    "aac 192k, then mp3 128k": chain(AAC_192, coded("libmp3lame", 128_000, "mp3")),
    "aac 192k, then mp3 64k": chain(AAC_192, coded("libmp3lame", 64_000, "mp3")),
    "aac 192k, then mp3 32k": chain(AAC_192, coded("libmp3lame", 32_000, "mp3", 24_000)),
    "aac 192k, then opus 24k": chain(AAC_192, coded("libopus", 24_000, "ogg", 48_000)),
    "resample 16 kHz": resampled(16_000),
    "resample 8 kHz": resampled(8_000),
    "noise 20 dB": noisy(20.0),
    "speed +5 %": sped(1.05),
    "speed -5 %": sped(1 / 1.05),
    "tempo +5 %": tempo(1.05),
    "tempo -5 %": tempo(0.95),
    "speed +3.2 %, aac 64k": chain(sped(1.032), coded("aac", 64_000, "mp4")),
}
# all partials and little else: the limit of the method, counted apart
HARD = ("made/tones_44k", "made/music_48k")
CUTS_S = (10.0, 5.0)  # trimmed to this many seconds, from 1.37 s on, before the attack

# ---------------------------------------------------------------- measurements


def embed(sound: Sound, rate: int, attempt: int = 0) -> tuple[Sound, float, float]:
    """Marked sound, SNR, CPU seconds. Raises CannotMark."""
    raw = RawMedia(kind=Kind.AUDIO, samples=[sound], rate_hz=rate, channels=len(sound))
    begin = time.process_time()
    embedder = AudioWatermarker().embedder(raw, PAYLOAD, KEY, attempt=attempt)
    blocks = [embedder.samples(sound[:, i : i + 4096]) for i in range(0, sound.shape[1], 4096)]
    marked = np.hstack([*blocks, embedder.flush()])
    mark = embedder.mark()
    return marked, mark.snr_db or 0.0, time.process_time() - begin


def features(sound: Sound, rate: int) -> dict[str, NDArray[Any]]:
    meter = LevelMeter(rate)
    for i in range(0, sound.shape[1], 4096):
        meter.feed(sound[:, i : i + 4096])
    return meter.finish()


def pesq_wb(clean: Sound, marked: Sound, rate: int) -> float | None:
    try:
        from pesq import pesq
    except ImportError:
        return None
    pair = [_ratio(s.mean(axis=0, keepdims=True), 16_000 / rate)[0] for s in (clean, marked)]
    return float(pesq(16_000, *pair, "wb"))


def robustness(media: Path | None, out: Path) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    quality: list[dict[str, Any]] = []
    for name, sound, rate in hosts(media):
        sound = sound[:, : int(13 * rate)]
        try:
            marked, snr_db, cpu_s = embed(sound, rate)
        except CannotMark as error:
            quality.append({"host": name, "refused": str(error)})
            continue
        length_s = sound.shape[1] / rate
        quality.append(
            {
                "host": name,
                "seconds": round(length_s, 2),
                "rate_hz": rate,
                "channels": len(sound),
                "snr_db": snr_db,
                "pesq_wb": pesq_wb(sound, marked, rate),
                "embed_rtf": cpu_s / length_s,
            }
        )
        for cut_s in CUTS_S:
            first = max(0, min(int(1.37 * rate), sound.shape[1] - int(cut_s * rate)))
            cut = marked[:, first : first + int(cut_s * rate)]
            if cut.shape[1] < 0.75 * cut_s * rate:
                continue
            for attack_name, attack in ATTACKS.items():
                attacked, attacked_rate = attack(cut, rate)
                begin = time.process_time()
                found_features = features(attacked, attacked_rate)
                middle = time.process_time()
                found = audio_detect.detect(found_features, KEY)
                end = time.process_time()
                rows.append(
                    {
                        "host": name,
                        "cut_s": cut_s,
                        "attack": attack_name,
                        "exact": found.present and found.payload == PAYLOAD,
                        "wrong": found.present and found.payload != PAYLOAD,
                        "p_value": found.p_value,
                        "sync_z": found.details.get("sync_z"),
                        "correlation": found.details.get("correlation"),
                        "extract_s": round(middle - begin, 4),
                        "detect_s": round(end - middle, 4),
                    }
                )
        print(name, "done", flush=True)
    with (out / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    table = {
        attack: {
            f"{group} {cut:.0f} s": _share(
                [
                    row
                    for row in rows
                    if (row["attack"], row["cut_s"]) == (attack, cut)
                    and (row["host"] in HARD) == (group == "hard")
                ]
            )
            for group in ("usual", "hard")
            for cut in CUTS_S
        }
        for attack in ATTACKS
    }
    cpu = {
        "extract_rtf": float(np.median([row["extract_s"] / row["cut_s"] for row in rows])),
        "detect_first_offset_s": float(np.median([r["detect_s"] for r in rows if _quick(r)])),
        "detect_whole_grid_s": float(np.median([r["detect_s"] for r in rows if _slow(r)])),
    }
    wrong = sum(row["wrong"] for row in rows)
    return {"exact": table, "wrong": wrong, "cpu_of_10_s": cpu, "quality": quality}


def _quick(row: dict[str, Any]) -> bool:
    return bool(row["cut_s"] == 10.0 and row["attack"] == "none" and row["exact"])


def _slow(row: dict[str, Any]) -> bool:
    return bool(row["cut_s"] == 10.0 and not row["exact"])


def _share(rows: list[dict[str, Any]]) -> str:
    return f"{sum(r['exact'] for r in rows)} of {len(rows)}"


def false_positives(media: Path | None, trials: int) -> dict[str, Any]:
    """Wrong keys: each trial is a full search with a fresh key, on unmarked hosts, on noise, and on
    hosts that carry another key's mark. Counts marks found, and compares how often the sync
    p-value falls below a limit with the limit itself: the bound must hold."""
    rng = np.random.default_rng(6)
    named = hosts(media)
    named.append(("made/noise", rng.normal(0, 0.1, (1, 160_000)).astype(np.float32), 16_000))
    named += [
        (f"marked/{name}", embed(sound[:, : 10 * rate], rate)[0], rate)
        for name, sound, rate in named
        if name in ("made/speech_44k", "real_general/foley_vgg_1.mp4")
    ]
    z: list[float] = []
    p: list[float] = []
    found = 0
    for index, (_, sound, rate) in enumerate(named):
        seconds = 10 if index % 2 else 5
        prepared = audio_detect.Prepared(features(sound[:, : seconds * rate], rate))
        for _ in range(-(-trials // len(named))):
            result = audio_detect.search(prepared, rng.bytes(32))
            found += result.present
            z.append(float(result.details["sync_z"]))
            p.append(result.p_value)
    measured = {limit: float(np.mean(np.array(p) <= limit)) for limit in (0.5, 0.1, 0.01, 0.001)}
    return {
        "trials": len(p),
        "hosts": len(named),
        "marks_found": found,
        "largest_sync_z": max(z),
        "mean_of_largest_z": float(np.mean(z)),
        "share_with_sync_p_at_most": measured,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--false-positives", type=int, default=0, metavar="TRIALS")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.false_positives:
        result = false_positives(options.media, options.false_positives)
        name = "false_positives.json"
    else:
        result = robustness(options.media, options.out)
        name = "robustness.json"
    result["algorithm"] = audio_chips.ALGORITHM
    (options.out / name).write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
