"""Do the metrics of sound follow a damage that is known? Ladders of damages on real and spoken
sound, parity with the packages that others keep, and cost.

    python benchmarks/sound_metrics.py --media ../shared/media --out reports/sound_metrics
    python benchmarks/sound_metrics.py ... --speakers FOLDER   # FOLDER/speaker/*.flac, for the AUC

Every step of a ladder is the same seconds of a clip, damaged and measured in one pass as a
benchmark does, the undamaged sound beside it as reference. For each clip and metric Spearman's
correlation of the step with the value is taken over the steps that gave a number. Peers are
compared where they are installed: pyloudnorm, speechmos, resemblyzer, pystoi, pesq, jiwer.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from avsafe import media
from avsafe.bench.clips import Sound
from avsafe.bench.watermark import recode
from avsafe.bench.watermark.recode import Codec
from avsafe.bench.watermark.sound_damage import gain, noise
from avsafe.errors import Unscorable
from avsafe.media.replay import Replay
from avsafe.metering import measure
from avsafe.types import Kind, Metric, RawMedia, Sample
from avsafe_metrics.sound.bandwidth import Bandwidth
from avsafe_metrics.sound.clipping import Clipping
from avsafe_metrics.sound.dc_offset import DcOffset
from avsafe_metrics.sound.dnsmos import Dnsmos
from avsafe_metrics.sound.loudness import Loudness, LoudnessMeter, integrated
from avsafe_metrics.sound.mel_cepstral_distortion import MelCepstralDistortion
from avsafe_metrics.sound.noise_floor import NoiseFloor
from avsafe_metrics.sound.onsets import Onsets
from avsafe_metrics.sound.pesq import Pesq
from avsafe_metrics.sound.silence import Silence
from avsafe_metrics.sound.speaker_similarity import SpeakerSimilarity
from avsafe_metrics.sound.spectral_distance import SpectralDistance
from avsafe_metrics.sound.speech_snr import SpeechSnr
from avsafe_metrics.sound.stoi import Stoi
from avsafe_metrics.sound.true_peak import TruePeak

SECONDS = 5.0  # DNSMOS repeats a shorter sound until it fills 9 s: one window of this
SPEECH = (
    "real_talking/dfrf_french.mp4",
    "real_talking/grid_bbaf2n.mpg",
    "real_talking/retalking_1.mp4",
    "synthetic_talking/omnihuman_video_div4.mp4",
)
SCENES = (
    "real_general/difffoley_drum.mp4",
    "real_general/videollama_applause.mp4",
    "real_general/videollama_dog_barking.mp4",
)
SPOKEN = (
    ("en-gb", "The train to the north leaves at nine. Please keep your ticket until the end."),
    ("de", "Der Zug nach Norden fährt um neun. Bitte behalten Sie die Karte bis zum Ende."),
)
ORDER = (
    "espeak_en-gb", "difffoley_drum", "retalking_1", "videollama_applause", "dfrf_french",
    "videollama_dog_barking", "omnihuman_video_div4", "espeak_de", "grid_bbaf2n",
)  # fmt: skip
EACH = 5  # utterances of each speaker
NONE = -1e6  # the strength of no damage
Step = tuple[float, Callable[[Sound], Sound]]  # how strong, and what is done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--speakers", type=Path)
    parser.add_argument("--clips", type=int, default=len(ORDER), help="climb only so many")
    parser.add_argument("--parts", default="ladders,parity,speakers")
    options = parser.parse_args()
    metrics: dict[str, Metric] = {
        metric.info.name: metric
        for metric in (
            Loudness(), TruePeak(), Clipping(), Silence(), NoiseFloor(), Bandwidth(), DcOffset(),
            Onsets(), SpectralDistance(), MelCepstralDistortion(), Dnsmos(), Pesq(), Stoi(),
            SpeechSnr(), SpeakerSimilarity(),
        )
    }  # fmt: skip
    for metric in metrics.values():
        metric.prepare()
    clips = {Path(name).stem: cut(options.media / name) for name in (*SPEECH, *SCENES)}
    clips |= {f"espeak_{voice}": said(voice, text) for voice, text in SPOKEN}
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "figures.json"
    figures: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}

    def keep() -> None:
        file.write_text(json.dumps(figures, indent=1) + "\n")
        (options.out / "report.md").write_text(page(figures))

    figures["seconds_of_each"] = SECONDS
    figures["weights"] = {k: v for m in metrics.values() for k, v in m.digests().items()}
    if "ladders" in options.parts:
        for found in climb(clips, metrics, options.clips):
            figures |= found
            keep()
    if "parity" in options.parts:
        figures["parity"] = parity(clips, metrics)
        keep()
    if "speakers" in options.parts:
        similar = metrics["speaker_similarity"]
        figures["speakers"] = {"halves": halves(options.media, similar)}
        if options.speakers:
            figures["speakers"]["utterances"] = utterances(options.speakers, similar)
        keep()


def climb(
    clips: Mapping[str, Sound], metrics: dict[str, Metric], count: int
) -> Iterator[dict[str, Any]]:
    """All ladders on each clip; figures over the clips so far, after each."""
    rows: list[dict[str, Any]] = []
    cpu: dict[str, float] = defaultdict(float)
    seconds: dict[str, float] = defaultdict(float)
    done: list[str] = []
    for name in ORDER[:count]:
        clean = clips[name]
        untouched = play(metrics, clean, clean)
        for ladder, steps in ladders().items():
            everything = [(NONE, untouched)]
            everything += [(at, play(metrics, damage(clean), clean)) for at, damage in steps]
            for strength, measured in everything:
                for metric, found in measured.items():
                    for column, value in found.values.items():
                        rows.append({"clip": name, "ladder": ladder, "strength": strength,
                                     "column": column, "value": value})  # fmt: skip
                    if any(isinstance(value, float) for value in found.values.values()):
                        cpu[metric] += found.cpu_s
                        seconds[metric] += clean.duration_s
        done.append(name)
        print(name, flush=True)
        scenes = [clip for clip in done if clip in scenes_named()]
        yield {
            "clips": {"speech": [clip for clip in done if clip not in scenes], "scenes": scenes},
            "ladders": {n: [s for s, _ in steps] for n, steps in ladders().items()},
            "follows": follows(rows),
            "medians": medians(rows),
            "snr": snr_error(rows),
            "cpu_s_per_minute": {
                m: round(60 * cpu[m] / seconds[m], 2) for m in metrics if seconds[m]
            },
        }


# ---------------------------------------------------------------- sounds


def cut(path: Path, seconds: float = SECONDS) -> Sound:
    raw = media.decode(path, max_duration_s=seconds)
    blocks = list(raw.samples or ())
    return Sound(np.concatenate(blocks, axis=1)[:, : round(seconds * raw.rate_hz)], raw.rate_hz)


def said(voice: str, text: str) -> Sound:
    """Speech by espeak-ng, over a quiet room: digital silence is no pause of a recording."""
    import soundfile

    wav = subprocess.run(
        ["espeak-ng", "-v", voice, "--stdout", text], capture_output=True, check=True
    ).stdout
    samples, rate_hz = soundfile.read(io.BytesIO(wav), dtype="float32")
    n = round(SECONDS * rate_hz)
    samples = np.pad(samples[:n], (0, max(0, n - samples.size)))
    room = 3e-4 * np.random.default_rng(0).standard_normal(n)
    return Sound((0.5 * samples + room)[None].astype(np.float32), rate_hz)


def raw_of(sound: Sound) -> RawMedia:
    step = sound.rate_hz // 4
    blocks = [sound.samples[:, i : i + step] for i in range(0, sound.samples.shape[1], step)]
    return RawMedia(
        Kind.AUDIO, samples=Replay(lambda: iter(blocks)), rate_hz=sound.rate_hz,
        channels=sound.samples.shape[0],
    )  # fmt: skip


def play(metrics: Mapping[str, Metric], sound: Sound, reference: Sound) -> Any:
    beside = {"reference": media.replayed(raw_of(reference))}
    return measure(metrics, Sample("memory", {}), media.replayed(raw_of(sound)), beside)


# ---------------------------------------------------------------- ladders


def ladders() -> dict[str, list[Step]]:
    """Each from the least damage to the most; strength grows with the damage. The undamaged sound
    is the first step of each, at ``NONE``."""
    tops = [10 ** (-drop / 20) for drop in (3, 9, 18)]
    return {
        "noise": [(-snr, noise(snr)) for snr in (30, 20, 10, 0)],
        "mp3": [(-kbps, coded(recode.mp3(kbps))) for kbps in (128, 64, 32)],
        "aac": [(-kbps, coded(recode.aac(kbps))) for kbps in (128, 64, 32)],
        "opus": [(-kbps, coded(recode.opus(kbps))) for kbps in (64, 24, 8)],
        "clipping": [(-top, clipped(top)) for top in tops],
        "low-pass": [(-hz, low_pass(hz)) for hz in (8000, 4000, 2000)],
        "gaps": [(share, gaps(share)) for share in (0.05, 0.15, 0.4)],
        "gain": [(-db, gain(db)) for db in (-3, -10, -24)],
    }


def coded(codec: Codec) -> Callable[[Sound], Sound]:
    """Through a file of that codec and back, cut to the length it had."""

    def damage(sound: Sound) -> Sound:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"sound{codec.suffix}"
            recode.write_sound(sound, codec, path)
            raw = media.decode(path, trusted=True)
            samples = np.concatenate(list(raw.samples or ()), axis=1)
        n = round(sound.samples.shape[1] * raw.rate_hz / sound.rate_hz)
        samples = np.pad(samples[:, :n], ((0, 0), (0, max(0, n - samples.shape[1]))))
        return Sound(samples.astype(np.float32), raw.rate_hz)

    return damage


def clipped(top: float) -> Callable[[Sound], Sound]:
    """Cut off at that share of the sound's own peak, then raised to it again."""

    def damage(sound: Sound) -> Sound:
        level = top * float(np.abs(sound.samples).max())
        return Sound((np.clip(sound.samples, -level, level) / top).astype(np.float32),
                     sound.rate_hz)  # fmt: skip

    return damage


def low_pass(cut_hz: float) -> Callable[[Sound], Sound]:
    """A steep filter (512 taps at 48 kHz) without delay."""

    def damage(sound: Sound) -> Sound:
        from scipy.signal import fftconvolve, firwin

        taps = 2 * round(256 * sound.rate_hz / 48000) + 1
        kernel = firwin(taps, min(cut_hz, 0.45 * sound.rate_hz), fs=sound.rate_hz,
                        window=("kaiser", 9.0))  # fmt: skip
        out = fftconvolve(sound.samples, kernel[None], mode="same", axes=1)
        return Sound(np.clip(out, -1, 1).astype(np.float32), sound.rate_hz)

    return damage


def gaps(share: float) -> Callable[[Sound], Sound]:
    """Drop-outs of 60 ms, at places of their own, silent to the sample."""

    def damage(sound: Sound) -> Sound:
        length = round(0.06 * sound.rate_hz)
        out = sound.samples.copy()
        places = np.random.default_rng(3).permutation(out.shape[1] // length)
        for place in places[: round(share * places.size)]:
            out[:, place * length : (place + 1) * length] = 0
        return Sound(out, sound.rate_hz)

    return damage


# ---------------------------------------------------------------- figures


def follows(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Ladder -> column -> mean Spearman over clips, least share of one sign, how many clips."""
    from scipy.stats import spearmanr

    grouped: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = defaultdict(dict)
    for row in rows:
        if isinstance(row["value"], float):
            place = grouped[row["ladder"], row["column"]].setdefault(row["clip"], [])
            place.append((row["strength"], row["value"]))
    out: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for (ladder, column), by_clip in grouped.items():
        found = []
        for pairs in by_clip.values():
            if len(pairs) < 4:
                continue
            strengths, values = np.array(pairs).T
            constant = np.ptp(values) < 1e-9
            found.append(0.0 if constant else float(spearmanr(strengths, values)[0]))
        if found:
            mean = float(np.mean(found))
            same = float(np.mean(np.sign(found) == np.sign(mean)))
            out[ladder][column] = {
                "spearman": round(mean, 3), "same_sign": round(same, 3), "clips": len(found)
            }  # fmt: skip
    return out


def medians(rows: list[dict[str, Any]]) -> dict[str, dict[str, list[float | None]]]:
    """Ladder -> column -> median over clips at each step; None where no clip has a number."""
    out: dict[str, dict[str, list[float | None]]] = defaultdict(dict)
    order: dict[str, list[float]] = defaultdict(list)
    grouped: dict[tuple[str, str, float], list[float]] = defaultdict(list)
    for row in rows:
        if row["strength"] not in order[row["ladder"]]:
            order[row["ladder"]].append(row["strength"])
        if isinstance(row["value"], float):
            grouped[row["ladder"], row["column"], row["strength"]].append(row["value"])
    for ladder, strengths in order.items():
        for column in sorted({row["column"] for row in rows}):
            values = [grouped.get((ladder, column, strength)) for strength in strengths]
            out[ladder][column] = [round(float(np.median(v)), 4) if v else None for v in values]
    return out


def snr_error(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    """The estimate on the noise ladder, as the median over clips, by the true ratio."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        known = row["ladder"] == "noise" and row["strength"] > NONE
        if known and row["column"] == "speech_snr" and isinstance(row["value"], float):
            found[f"{-row['strength']:g} dB"].append(row["value"])
    return {
        name: [round(float(q), 1) for q in np.percentile(values, [0, 50, 100])] + [len(values)]
        for name, values in found.items()
    }


def mono16k(sound: Sound) -> np.ndarray:
    from avsafe.metering import Mono

    mono = Mono(sound.rate_hz)
    mono.take(sound.samples)
    return mono.whole()


def parity(clips: Mapping[str, Sound], metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Largest difference from the packages of others, over the clips."""
    out: dict[str, dict[str, Any]] = {}

    def compare(
        name: str, package: str, pairs: Callable[[], Iterator[tuple[float, float]]]
    ) -> None:
        if find_spec(package) is None:
            out[name] = {"against": package, "difference": "not installed"}
            return
        both = list(pairs())
        worst = max(abs(a - b) for a, b in both)
        out[name] = {"against": package, "difference": worst, "clips": len(both)}

    def loudness() -> Iterator[tuple[float, float]]:
        import pyloudnorm

        for sound in clips.values():
            n = sound.samples.shape[1] // (sound.rate_hz // 10) * (sound.rate_hz // 10)
            meter = LoudnessMeter(sound.rate_hz)
            meter.samples(sound.samples[:, :n], sound.rate_hz, "clip")
            peer = pyloudnorm.Meter(sound.rate_hz, filter_class="DeMan")
            yield integrated(meter.powers()), peer.integrated_loudness(sound.samples[:, :n].T)

    speech = [mono16k(sound) for name, sound in clips.items() if name not in scenes_named()]
    damaged = [mono16k(noise(10)(s)) for n, s in clips.items() if n not in scenes_named()]

    def mos() -> Iterator[tuple[float, float]]:
        from speechmos import dnsmos

        for x in speech:
            peer = dnsmos.run(np.clip(x, -1, 1), 16000)
            found = metrics["dnsmos"].score(np.clip(x, -1, 1))
            for own, other in (("overall", "ovrl_mos"), ("signal", "sig_mos"),
                               ("background", "bak_mos"), ("p808", "p808_mos")):  # fmt: skip
                yield found[own], float(peer[other])

    def embeddings() -> Iterator[tuple[float, float]]:
        import resemblyzer

        from avsafe_metrics.sound.vad import Voice, spoken

        encoder, voice = resemblyzer.VoiceEncoder("cpu", verbose=False), Voice()
        for x in speech:
            try:
                own = metrics["speaker_similarity"].embedding(x)
            except Unscorable:
                continue
            heard = resemblyzer.normalize_volume(spoken(x, voice.mask(x)), -30, increase_only=True)
            yield float(np.abs(own - encoder.embed_utterance(heard)).max()), 0.0

    def intelligible() -> Iterator[tuple[float, float]]:
        import pystoi

        from avsafe_metrics.sound.stoi import stoi

        for x, y in zip(damaged, speech, strict=True):
            for extended in (False, True):
                yield (stoi(x, y, extended=extended),
                       float(pystoi.stoi(y, x, 16000, extended=extended)))  # fmt: skip

    def perceived() -> Iterator[tuple[float, float]]:
        import pesq

        from avsafe_metrics.sound.pesq import pesq_mos

        for x, y in zip(damaged, speech, strict=True):
            yield pesq_mos(x, y, "wide"), pesq.pesq(16000, y, x, "wb")
            yield pesq_mos(x, y, "narrow"), pesq.pesq(16000, y, x, "nb")

    def words() -> Iterator[tuple[float, float]]:
        import jiwer

        from avsafe_metrics.sound.wer import edits

        rng = np.random.default_rng(0)
        for _ in range(500):
            a, b = ([str(w) for w in rng.integers(0, 5, rng.integers(1, 15))] for _ in range(2))
            yield edits(a, b).errors / len(a), jiwer.wer(" ".join(a), " ".join(b))

    compare("loudness.integrated, LU", "pyloudnorm", loudness)
    compare("dnsmos, MOS", "speechmos", mos)
    compare("speaker embedding", "resemblyzer", embeddings)
    compare("stoi, estoi", "pystoi", intelligible)
    compare("pesq, MOS", "pesq", perceived)
    compare("wer", "jiwer", words)
    return out


def scenes_named() -> set[str]:
    return {Path(name).stem for name in SCENES}


def auc(same: list[float], other: list[float]) -> dict[str, Any]:
    a, b = np.array(same), np.array(other)
    share = float((a[:, None] > b[None]).mean() + 0.5 * (a[:, None] == b[None]).mean())
    values = np.unique(np.concatenate([a, b]))
    wrong = [max(float((a < v).mean()), float((b >= v).mean())) for v in values]
    best = int(np.argmin(wrong))
    return {
        "auc": round(share, 4), "equal_error": round(wrong[best], 4),
        "at": round(float(values[best]), 3), "same_pairs": a.size, "other_pairs": b.size,
        "same_5_50_percentile": [round(float(q), 3) for q in np.percentile(a, [5, 50])],
        "other_50_95_percentile": [round(float(q), 3) for q in np.percentile(b, [50, 95])],
    }  # fmt: skip


def halves(folder: Path, metric: Any) -> dict[str, Any]:
    """First against second half of a recording, and halves of different recordings."""
    found: dict[str, list[np.ndarray]] = {}
    for path in sorted(folder.glob("talking_crops/*.ogg")):
        if "sing" in path.stem:
            continue
        x = mono16k(cut(path, 12.0))
        try:
            parts = (x[: x.size // 2].copy(), x[x.size // 2 :].copy())
            found[path.stem] = [metric.embedding(part) for part in parts]
        except Unscorable:
            continue
    same = [float(a @ b) for a, b in found.values()]
    other = [  # two clips of one maker may be of one person
        float(found[a][0] @ found[b][1])
        for a, b in itertools.permutations(found, 2)
        if a.split("_")[0] != b.split("_")[0]
    ]
    return auc(same, other) | {"recordings": len(found)}


def utterances(folder: Path, metric: Any) -> dict[str, Any]:
    """Utterances of one speaker, and of different ones."""
    found: list[tuple[str, np.ndarray]] = []
    left_out = 0
    paths = sorted(p for p in folder.glob("*/*") if p.suffix in {".flac", ".wav", ".ogg"})
    by_speaker = [list(group) for _, group in itertools.groupby(paths, lambda path: path.parent)]
    for path in itertools.chain(*(group[:EACH] for group in by_speaker)):
        try:
            found.append((path.parent.name, metric.embedding(mono16k(cut(path, 12.0)))))
        except Unscorable:
            left_out += 1
    same, other = [], []
    for (a, x), (b, y) in itertools.combinations(found, 2):
        (same if a == b else other).append(float(x @ y))
    speakers = len({name for name, _ in found})
    return auc(same, other) | {"speakers": speakers, "left_out": left_out}


# ---------------------------------------------------------------- page


def page(figures: dict[str, Any]) -> str:
    speech, scenes = figures["clips"]["speech"], figures["clips"]["scenes"]
    lines = [
        "# Metrics of sound: what follows what",
        "",
        f"{len(speech)} clips of speech, {len(scenes)} of other sound, "
        f"{figures['seconds_of_each']:g} s of each. Numbers are made by "
        "`benchmarks/sound_metrics.py`; all of them are in figures.json.",
        "",
        "## Spearman's correlation of damage and value",
        "Mean over clips of the correlation within each clip; in brackets the share of clips with "
        "that sign and the number of clips. +1: the value grows with the damage.",
        "",
        "| column | " + " | ".join(figures["ladders"]) + " |",
        "|---|" + "---|" * len(figures["ladders"]),
    ]
    columns = sorted({c for found in figures["follows"].values() for c in found})
    for column in columns:
        cells = []
        for ladder in figures["ladders"]:
            one = figures["follows"].get(ladder, {}).get(column)
            cells.append(
                f"{one['spearman']:+.2f} ({one['same_sign']:.0%}, {one['clips']})" if one else "-"
            )
        lines.append(f"| {column} | " + " | ".join(cells) + " |")
    lines += ["", "## Medians at each step"]
    for ladder, strengths in figures["ladders"].items():
        lines += [
            "",
            f"### {ladder}",
            "| column | " + " | ".join(["none", *(f"{abs(s):g}" for s in strengths)]) + " |",
            "|---|" + "---|" * (len(strengths) + 1),
        ]
        for column, values in sorted(figures["medians"][ladder].items()):
            cells = ["-" if value is None else f"{value:.4g}" for value in values]
            lines.append(f"| {column} | " + " | ".join(cells) + " |")
    lines += ["", "## speech_snr against the true ratio", "Least, median, largest, clips.", ""]
    lines += [f"- {name}: {', '.join(map(str, v))}" for name, v in figures["snr"].items()]
    if "parity" in figures:
        lines += parity_lines(figures["parity"])
    lines += ["", "## Speakers"]
    for name, one in figures.get("speakers", {}).items():
        lines.append(f"- {name}: " + ", ".join(f"{k} {v}" for k, v in one.items()))
    lines += ["", "## CPU-seconds per minute of sound", "| metric | CPU-s |", "|---|---|"]
    lines += [f"| {name} | {value:g} |" for name, value in figures["cpu_s_per_minute"].items()]
    return "\n".join(lines) + "\n"


def parity_lines(found: dict[str, Any]) -> list[str]:
    lines = [
        "",
        "## Parity",
        "| what | against | largest difference | values |",
        "|---|---|---|---|",
    ]
    for name, one in found.items():
        difference = one["difference"]
        shown = difference if isinstance(difference, str) else f"{difference:.2g}"
        lines.append(f"| {name} | {one['against']} | {shown} | {one.get('clips', '')} |")
    return lines


if __name__ == "__main__":
    main()
