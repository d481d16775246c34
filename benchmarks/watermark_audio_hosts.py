"""Hosts and attacks of the audio mark's benchmark.

Legend: ``c`` channels, ``n`` samples. Real hosts are data files that stay where they are; the two
halves share no source: parameters are chosen on ``CHOSEN_ON``, figures are quoted on ``HELD_OUT``.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]  # (c, n)
Host = tuple[str, Sound, int]  # name, samples, rate
SECONDS = 14.0  # of each host that are used

CHOSEN_ON = (
    "real_general/difffoley_drum.mp4",
    "real_general/foley_vgg_0.mp4",
    "real_general/videollama_applause.mp4",
    "real_talking/latentsync_1.mp4",
    "real_talking/liveportrait_d10.mp4",
    "real_talking/sadtalker_aoc.mp4",
    "talking_crops/loopy_diverse_3.ogg",
    "talking_crops/loopy_diverse_7.ogg",
    "talking_crops/loopy_sing_1.ogg",
    "talking_crops/omnihuman_v1_5_vis_d-13.ogg",
    "talking_crops/omnihuman_video_div1.ogg",
    "talking_crops/omnihuman_video_div3.ogg",
    "talking_crops/omnihuman_video_hands1.ogg",
    "talking_crops/omnihuman_video_talk1.ogg",
    "made/speech_16k",
    "made/tones_44k",
)
HELD_OUT = (
    "c2pa/sample1.wav",
    "real_general/difffoley_gun.mp4",
    "real_general/foley_vgg_1.mp4",
    "real_general/vggsound_0B4dYTMsgHA_000130.mp4",
    "real_general/videollava_1.mp4",
    "real_talking/dfrf_french.mp4",
    "real_talking/liveportrait_d6.mp4",
    "synthetic_faces/synctalk_demo.mp4",
    "synthetic_talking/omnihuman_v1_5_vis_b-7.mp4",
    "talking_crops/loopy_diverse_4.ogg",
    "talking_crops/loopy_main_1.ogg",
    "talking_crops/loopy_main_4.ogg",
    "talking_crops/loopy_side_1.ogg",
    "talking_crops/loopy_sing_2.ogg",
    "talking_crops/loopy_sing_4.ogg",
    "talking_crops/loopy_sing_5.ogg",
    "talking_crops/omnihuman_v1_5_vis_d-3.ogg",
    "talking_crops/omnihuman_v1_5_vis_d-9.ogg",
    "talking_crops/omnihuman_video_div2.ogg",
    "talking_crops/omnihuman_video_div5.ogg",
    "talking_crops/omnihuman_video_div7.ogg",
    "talking_crops/omnihuman_video_hands2.ogg",
    "talking_crops/omnihuman_video_talk3.ogg",
    "talking_crops/omnihuman_video_talk4.ogg",
    "made/speech_44k",
    "made/music_48k",
)
# all partials and little else: the limit of the method, counted apart
HARD = ("made/tones_44k", "made/music_48k")


def hosts(media: Path | None, names: tuple[str, ...]) -> list[Host]:
    """The named hosts; real ones only where the folder has them. At most 14 s of each."""
    found: list[Host] = []
    for name in names:
        if name.startswith("made/"):
            found.append((name, *_made(name)))
        elif media is not None and (media / name).is_file():
            sound, rate = load(media / name)
            found.append((name, sound[:, : int(SECONDS * rate)], rate))
    return found


def _made(name: str) -> tuple[Sound, int]:
    rate = {"16k": 16_000, "44k": 44_100, "48k": 48_000}[name[-3:]]
    if name == "made/tones_44k":
        return music_like(SECONDS, rate, 3), rate
    if name == "made/music_48k":
        return music_like(SECONDS, rate, 4, air=0.01), rate
    return speech_like(SECONDS, rate, 1 if rate == 16_000 else 2), rate


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


def released(sound: Sound, rate: int) -> tuple[Sound, int]:
    """What the gate writes: AAC at 192 kbit/s."""
    return coded("aac", 192_000, "mp4")(sound, rate)


def echoed(sound: Sound, rate: int) -> tuple[Sound, int]:
    """Two reflections: 80 ms at -6 dB, 190 ms at -10 dB."""
    result = sound.copy()
    for delay_s, level in ((0.08, 0.5), (0.19, 0.3)):
        delay = int(delay_s * rate)
        result[:, delay:] += level * sound[:, :-delay]
    return np.clip(result, -1, 1), rate


def low_passed(cutoff_hz: float) -> Attack:
    def attack(sound: Sound, rate: int) -> tuple[Sound, int]:
        from scipy.signal import butter, sosfilt

        if cutoff_hz >= rate / 2:
            return sound, rate
        return sosfilt(butter(8, cutoff_hz, fs=rate, output="sos"), sound).astype(np.float32), rate

    return attack


def gained(decibels: float) -> Attack:
    return lambda sound, rate: (np.clip(sound * np.float32(10 ** (decibels / 20)), -1, 1), rate)


def clipped(sound: Sound, rate: int) -> tuple[Sound, int]:
    """Everything beyond a quarter of the peak is cut off."""
    limit = 0.25 * float(np.abs(sound).max())
    return np.clip(sound, -limit, limit), rate


def pitched(semitones: float) -> Attack:
    """Shifted in pitch at the same length: played faster, then stretched back."""
    factor = 2 ** (semitones / 12)
    return chain(sped(factor), tempo(1 / factor))


def with_music(below_db: float) -> Attack:
    def attack(sound: Sound, rate: int) -> tuple[Sound, int]:
        music = music_like(sound.shape[1] / rate + 0.1, rate, 77, air=0.003)
        music = np.resize(music[:, : sound.shape[1]], sound.shape)
        scale = np.sqrt(np.mean(sound**2) / np.mean(music**2) / 10 ** (below_db / 10))
        return np.clip(sound + np.float32(scale) * music, -1, 1), rate

    return attack


# after the release, which is AAC at 192 kbit/s
ATTACKS: dict[str, Attack] = {
    "none": lambda sound, rate: (sound, rate),
    "mp3 128k": coded("libmp3lame", 128_000, "mp3"),
    "mp3 64k": coded("libmp3lame", 64_000, "mp3"),
    "mp3 32k": coded("libmp3lame", 32_000, "mp3", 24_000),
    "aac 128k": coded("aac", 128_000, "mp4"),
    "aac 64k": coded("aac", 64_000, "mp4"),
    "aac 32k": coded("aac", 32_000, "mp4"),
    "opus 24k": coded("libopus", 24_000, "ogg", 48_000),
    "resample 16 kHz": resampled(16_000),
    "resample 8 kHz": resampled(8_000),
    "noise 20 dB": noisy(20.0),
    "noise 10 dB": noisy(10.0),
    "echo": echoed,
    "low-pass 4 kHz": low_passed(4_000.0),
    "gain -12 dB": gained(-12.0),
    "gain +6 dB": gained(6.0),
    "clipping": clipped,
    "speed +5 %": sped(1.05),
    "speed -5 %": sped(0.95),
    "speed +10 %": sped(1.10),
    "speed -10 %": sped(0.90),
    "tempo +5 %": tempo(1.05),
    "tempo -5 %": tempo(0.95),
    "tempo +10 %": tempo(1.10),
    "tempo -10 %": tempo(0.90),
    "pitch +1 semitone": pitched(1.0),
    "pitch -1 semitone": pitched(-1.0),
    "music 10 dB below": with_music(10.0),
    "music 0 dB below": with_music(0.0),
    "speed +3.2 %, then aac 64k": chain(sped(1.032), coded("aac", 64_000, "mp4")),
}
