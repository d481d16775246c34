"""Sounds to train the sound classes on: from Debian packages, synthesised here, and --media.

Legend: a sound is (n,) float32 mono at ``rate_hz``. Its *source* is the package (the speaker, where
there are several), or the way it was synthesised; all of a source stands in one fold.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import UsageError
from avsafe_detectors.domain.picture_data import _places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F32 = NDArray[np.float32]
    Sound = tuple[F32, int]
else:
    F32 = Sound = Any

PACKAGES = (
    "asterisk-core-sounds-en-g722", "asterisk-core-sounds-fr-g722", "asterisk-core-sounds-it-g722",
    "asterisk-core-sounds-ru-g722", "festvox-ru", "klettres-data", "ktuberling-data",
    "tuxpaint-stamps-default", "colobot-common-sounds", "sound-theme-freedesktop", "supertux-data",
    "wesnoth-1.16-data", "hedgewars-data", "frozen-bubble-data", "singularity-music",
    "asc-music", "xmoto-data", "wesnoth-1.16-music", "extremetuxracer-data", "lincity-ng-data",
    "endless-sky-data", "scorched3d-data", "bzflag-data", "torcs-data",
)  # fmt: skip
LENGTH_S = 6.0


@dataclass(frozen=True)
class Heard:
    """One sound: ``open`` gives it. ``label`` is a class of ``classes.SOUNDS``."""

    unit: str
    source: str
    label: str
    open: Callable[[], Sound]


# (label, source, place below usr/share, pattern, most, files joined to one sound)
_FOLDERS: tuple[tuple[str, str, str, str, int, int], ...] = (
    ("speech", "asterisk en", "asterisk/sounds/en_US*", "**/*.g722", 60, 3),
    ("speech", "asterisk fr", "asterisk/sounds/fr_CA*", "**/*.g722", 60, 3),
    ("speech", "asterisk it f", "asterisk/sounds/it_IT_f*", "**/*.wav", 40, 3),
    ("speech", "asterisk it m", "asterisk/sounds/it_IT_m*", "**/*.g722", 40, 3),
    ("speech", "asterisk ru", "asterisk/sounds/ru_RU*", "**/*.g722", 60, 3),
    ("speech", "festvox ru", "festival/voices/russian/*", "wav/*.wav", 60, 1),
    ("speech", "tuxpaint words en", "tuxpaint/stamps", "**/*_desc.ogg", 60, 3),
    ("speech", "tuxpaint words fr", "tuxpaint/stamps", "**/*_desc_fr.ogg", 40, 3),
    ("speech", "tuxpaint words es", "tuxpaint/stamps", "**/*_desc_es.ogg", 40, 3),
    ("speech", "tuxpaint words ru", "tuxpaint/stamps", "**/*_desc_ru.ogg", 40, 3),
    ("speech", "tuxpaint words ro", "tuxpaint/stamps", "**/*_desc_ro.ogg", 40, 3),
    ("speech", "ktuberling fr", "ktuberling/sounds/fr", "*.wav", 30, 3),
    ("speech", "ktuberling de", "ktuberling/sounds/de", "*.ogg", 30, 3),
    ("speech", "ktuberling it", "ktuberling/sounds/it", "*.wav", 30, 3),
    ("speech", "klettres es", "klettres/es", "syllab/*.ogg", 30, 4),
    ("speech", "klettres it", "klettres/it", "syllab/*.ogg", 30, 4),
    ("speech", "klettres ru", "klettres/ru", "syllab/*.ogg", 30, 4),
    ("speech", "klettres uk", "klettres/uk", "syllab/*.ogg", 30, 4),
    ("speech", "klettres ml", "klettres/ml", "syllab/*.ogg", 30, 4),
    ("speech", "klettres pt_BR", "klettres/pt_BR", "syllab/*.ogg", 30, 4),
    ("music", "supertux music", "games/supertux2/music", "**/*.ogg", 40, 1),
    ("music", "wesnoth music", "games/wesnoth/1.16/data/core/music", "*.ogg", 50, 1),
    ("music", "hedgewars music", "games/hedgewars/Data/Music", "*.ogg", 30, 1),
    ("music", "frozen-bubble music", "games/frozen-bubble/snd", "*zik*.ogg", 10, 1),
    ("music", "singularity music", "games/singularity/music", "**/*.ogg", 20, 1),
    ("music", "asc music", "games/asc/music", "*.mp3", 5, 1),
    ("music", "xmoto music", "games/xmoto/Textures/Musics", "*.ogg", 10, 1),
    ("music", "etr music", "games/etr/music", "*.ogg", 20, 1),
    ("music", "lincity music", "games/lincity-ng/music", "**/*.ogg", 20, 1),
    ("music", "colobot music", "games/colobot/music", "*.ogg", 20, 1),
    ("effects", "colobot sounds", "games/colobot/sounds", "*.wav", 90, 1),
    ("effects", "freedesktop", "sounds/freedesktop/stereo", "*.oga", 40, 1),
    ("effects", "supertux sounds", "games/supertux2/sounds", "**/*.wav", 60, 1),
    ("effects", "wesnoth sounds", "games/wesnoth/1.16/data/core/sounds", "**/*.ogg", 120, 1),
    ("effects", "endless-sky sounds", "games/endless-sky/sounds", "*.wav", 60, 1),
    ("effects", "scorched3d sounds", "games/scorched3d", "**/*.wav", 60, 1),
    ("effects", "bzflag sounds", "games/bzflag", "**/*.wav", 40, 1),
    ("effects", "torcs sounds", "games/torcs", "**/*.wav", 40, 1),
    ("effects", "hedgewars sounds", "games/hedgewars/Data/Sounds", "*.ogg", 60, 1),
)


def packaged(roots: list[Path], seed: int = 0) -> Iterator[Heard]:
    """Sounds of packages. Raises UsageError where a package lacks."""
    rng = np.random.default_rng(seed)
    for label, source, folder, pattern, most, joined in _FOLDERS:
        head, _, tail = folder.rpartition("/")
        places = [p for base in _places(roots, head) for p in sorted(base.glob(tail))]
        files = [f for p in places for f in sorted(p.glob(pattern)) if f.is_file()]
        if not files:
            raise UsageError(f"No {pattern} in usr/share/{folder}. Install: {' '.join(PACKAGES)}")
        order = rng.permutation(len(files))
        for i in range(min(most, max(1, len(files) // joined))):
            part = [files[j] for j in order[i * joined : (i + 1) * joined]]
            yield Heard(f"{source}/{part[0].stem}", source, label, partial(joining, part))


def mixed(roots: list[Path], seed: int = 6) -> Iterator[Heard]:
    """Voices over quieter music: speech. The source is the voice's."""
    rng = np.random.default_rng(seed)
    every = list(packaged(roots))
    music = [h for h in every if h.label == "music"]
    for source in dict.fromkeys(h.source for h in every if h.label == "speech"):
        own = [h for h in every if h.source == source]
        for i in range(4):
            voice, under = own[int(rng.integers(len(own)))], music[int(rng.integers(len(music)))]
            quieter_db = float(rng.uniform(5, 20))
            opened = partial(_over, voice, under, quieter_db)
            yield Heard(f"{voice.unit} over music {i}", source, "speech", opened)


def _over(voice: Heard, under: Heard, quieter_db: float) -> Sound:
    samples, rate = voice.open()
    music = resampled(*under.open(), rate)
    music = np.resize(music[len(music) // 4 :], len(samples))
    share = _level(samples) / max(1e-9, _level(music)) * 10 ** (-quieter_db / 20)
    return np.asarray(samples + share * music, np.float32), rate


def _level(samples: F32) -> float:
    return float(np.sqrt(np.square(samples).mean()))


def joining(files: list[Path]) -> Sound:
    """Files one after another, with pauses of 0.15 s."""
    parts: list[F32] = []
    rate = 0
    for file in files:
        samples, own = read(file)
        if rate and own != rate:
            samples = resampled(samples, own, rate)
        rate = rate or own
        parts += [samples, np.zeros(round(0.15 * rate), np.float32)]
    return np.concatenate(parts), rate


def read(file: Path, most_s: float = 40.0) -> Sound:
    """(n,) mono. Our own test media, decoded in this process."""
    import av

    kind = "g722" if file.suffix == ".g722" else None
    blocks: list[F32] = []
    count = 0
    with av.open(str(file), format=kind) as container:
        rate = 0
        resampler = av.AudioResampler(format="fltp", layout="mono")
        for frame in container.decode(audio=0):
            rate = frame.sample_rate
            for out in resampler.resample(frame):
                blocks.append(out.to_ndarray()[0])
                count += len(blocks[-1])
            if count > most_s * rate:
                break
    if not blocks:
        raise UsageError(f"{file} holds no sound.")
    return np.concatenate(blocks), rate


def resampled(samples: F32, rate: int, to: int) -> F32:
    from math import gcd

    from scipy.signal import resample_poly

    if rate == to:
        return samples
    common = gcd(rate, to)
    found: F32 = resample_poly(samples, to // common, rate // common).astype(np.float32)
    return found


# ---------------------------------------------------------------- synthesised


def synthesised(seed: int = 5) -> Iterator[Heard]:
    """Tones, noises and small pieces of music; the source is the way it was made."""
    rng = np.random.default_rng(seed)
    for source, make in (("sine", _sine), ("sweep", _sweep), ("dtmf", _dtmf), ("beeps", _beeps),
                         ("square", _square), ("tremolo", _tremolo)):  # fmt: skip
        for i in range(24):
            kept = make(np.random.default_rng(rng.integers(1 << 30)))
            yield Heard(f"{source}/{i}", source, "tone", _given(kept))
    for source in ("white", "pink", "brown", "hum", "band", "wind", "shaped", "crackle", "steps"):
        for i in range(24):
            kept = _noise(np.random.default_rng(rng.integers(1 << 30)), source)
            yield Heard(f"{source}/{i}", f"noise {source}", "noise", _given(kept))
    for i in range(30):
        kept = _drums(np.random.default_rng(rng.integers(1 << 30)))
        yield Heard(f"drums/{i}", "drums", "music", _given(kept))
    for i in range(30):
        kept = _calls(np.random.default_rng(rng.integers(1 << 30)))
        yield Heard(f"calls/{i}", "calls", "effects", _given(kept))
    for i in range(40):
        kept = _piece(np.random.default_rng(rng.integers(1 << 30)))
        yield Heard(f"piece/{i}", "pieces", "music", _given(kept))


def _given(samples: F32) -> Callable[[], Sound]:
    return partial(_kept, (samples, 16000))


def _kept(sound: Sound) -> Sound:
    return sound


def _time(length_s: float = LENGTH_S) -> NDArray[np.float64]:
    return np.arange(round(length_s * 16000)) / 16000


def _sine(rng: np.random.Generator) -> F32:
    t = _time()
    hz = 10 ** rng.uniform(np.log10(80), np.log10(5000), int(rng.integers(1, 4)))
    return np.asarray(0.2 * np.sin(2 * np.pi * hz[:, None] * t).mean(0), np.float32)


def _sweep(rng: np.random.Generator) -> F32:
    t = _time()
    low, high = np.sort(10 ** rng.uniform(2, 3.7, 2))
    turn = low * t + (high - low) * t**2 / 2 / t[-1]
    return np.asarray(0.2 * np.sin(2 * np.pi * turn), np.float32)


def _dtmf(rng: np.random.Generator) -> F32:
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
    on, off = float(rng.uniform(0.06, 0.3)), float(rng.uniform(0.04, 0.3))
    out: list[NDArray[np.float64]] = []
    while sum(len(part) for part in out) < LENGTH_S * 16000:
        t = _time(on)
        a, b = rows[rng.integers(4)], columns[rng.integers(4)]
        out += [np.sin(2 * np.pi * a * t) + np.sin(2 * np.pi * b * t), np.zeros(round(off * 16000))]
    return np.asarray(0.1 * np.concatenate(out), np.float32)


def _beeps(rng: np.random.Generator) -> F32:
    t = _time()
    period = float(rng.uniform(0.2, 2.0))
    gate = (t % period) < period * rng.uniform(0.1, 0.7)
    return np.asarray(0.2 * np.sin(2 * np.pi * rng.uniform(300, 3000) * t) * gate, np.float32)


def _square(rng: np.random.Generator) -> F32:
    t = _time()
    return np.asarray(0.1 * np.sign(np.sin(2 * np.pi * rng.uniform(60, 1200) * t)), np.float32)


def _tremolo(rng: np.random.Generator) -> F32:
    t = _time()
    slow = 1 + rng.uniform(0.2, 1) * np.sin(2 * np.pi * rng.uniform(0.5, 8) * t)
    return np.asarray(0.15 * slow * np.sin(2 * np.pi * rng.uniform(150, 2500) * t), np.float32)


_SLOPES = {"pink": -0.5, "brown": -1.0, "wind": -0.7, "crackle": -0.3, "steps": -0.4}


def _noise(rng: np.random.Generator, source: str) -> F32:
    n = round(LENGTH_S * 16000)
    t = _time()
    spectrum = np.fft.rfft(rng.standard_normal(n))
    hz = np.fft.rfftfreq(n, 1 / 16000)
    if source == "band":
        low = float(rng.uniform(100, 3000))
        spectrum *= (hz > low) & (hz < low * rng.uniform(1.5, 4))
    elif source == "hum":
        hum = np.round(hz / 50) * 50
        spectrum *= np.where((np.abs(hz - hum) < 0.3) & (hum > 0), 60 / (1 + hum / 100), 0.05)
    elif source == "shaped":  # as machines and rooms shape it
        places = np.interp(hz, np.linspace(0, 8000, 12), rng.uniform(-30, 0, 12))
        spectrum *= 10 ** (places / 20)
    else:
        spectrum *= np.maximum(hz, 20.0) ** (_SLOPES.get(source, 0.0) + rng.uniform(-0.1, 0.1))
    sound = np.fft.irfft(spectrum, n)
    if source == "wind":
        sound *= 1 + 0.7 * np.sin(2 * np.pi * rng.uniform(0.05, 0.4) * t + rng.uniform(0, 6))
    elif source == "crackle":
        sound *= 0.2 + (rng.random(n) < rng.uniform(0.0003, 0.01)) * 8
    elif source == "steps":  # a fan or a vacuum cleaner that is switched
        sound *= np.repeat(rng.choice([0.3, 0.6, 1.0], 6), 16000)[:n]
    return np.asarray(0.1 * sound / sound.std(), np.float32)


def _drums(rng: np.random.Generator) -> F32:
    """A bar of kick, snare and hat in sixteenths, repeated."""
    n, step = round(LENGTH_S * 16000), round(16000 * 60 / rng.uniform(70, 170) / 4)
    out = np.zeros(n + 16000)
    chance = {"kick": rng.uniform(0.1, 0.4), "snare": rng.uniform(0.05, 0.3), "hat": 0.6}
    bar = {name: rng.random(16) < p for name, p in chance.items()}
    t = np.arange(4800) / 16000
    low, fall = float(rng.uniform(40, 70)), float(rng.uniform(15, 40))
    drop = 2 * np.pi * (low * t + 3 * low / fall * (1 - np.exp(-fall * t)))
    decays = rng.uniform(8, 60, 2)
    for i in range(n // step):
        at = i * step
        if bar["kick"][i % 16]:
            out[at : at + 4800] += np.sin(drop) * np.exp(-rng.uniform(8, 14) * t)
        if bar["snare"][i % 16]:
            out[at : at + 4800] += 0.5 * rng.standard_normal(4800) * np.exp(-decays[0] * t)
        if bar["hat"][i % 16]:
            hiss = np.diff(rng.standard_normal(4801))
            out[at : at + 4800] += 0.15 * hiss * np.exp(-(20 + decays[1]) * t)
    return np.asarray(0.3 * out[:n] / np.abs(out).max(), np.float32)


def _calls(rng: np.random.Generator) -> F32:
    """Whistled calls of animals: short tones that bend, in phrases."""
    n = round(LENGTH_S * 16000)
    out = np.zeros(n + 16000)
    at, middle = 0, float(rng.uniform(600, 4500))
    while at < n:
        t = np.arange(round(16000 * rng.uniform(0.03, 0.35))) / 16000
        bend, shake = rng.uniform(-0.5, 0.5), rng.uniform(0, 0.15)
        hz = middle * (1 + bend * t / t[-1] + shake * np.sin(2 * np.pi * rng.uniform(10, 60) * t))
        tone = np.sin(2 * np.pi * np.cumsum(hz) / 16000) * np.hanning(len(t))
        out[at : at + len(t)] += tone * rng.uniform(0.3, 1)
        at += len(t) + round(16000 * float(rng.choice([0.02, 0.08, 0.5]) * rng.uniform(0.5, 2)))
    return np.asarray(0.3 * out[:n] / np.abs(out).max(), np.float32)


def _piece(rng: np.random.Generator) -> F32:
    """A melody over chords, plucked or blown, with or without drums."""
    n, rate = round(LENGTH_S * 16000), 16000
    out = np.zeros(n + 2 * rate)
    beat = 60 / rng.uniform(70, 150)
    scale = np.array([0, 2, 4, 5, 7, 9, 11, 12]) + rng.integers(-8, 8)
    decay = float(rng.choice([0.8, 3.0, 8.0]))
    partials = 1 / np.arange(1, 8) ** rng.uniform(0.8, 2.2)
    for i in range(int(LENGTH_S / beat * 2)):
        at = int(i * beat / 2 * rate)
        notes = [scale[rng.integers(8)] + 12] if rng.random() < 0.8 else []
        if i % 4 == 0:
            notes += [scale[k % 8] for k in rng.integers(0, 3) + np.array([0, 2, 4])]
        for note in notes:
            hz = 220 * 2 ** (note / 12)
            t = np.arange(int(rate * min(1.5, beat * 2))) / rate
            tone = sum(
                p * np.sin(2 * np.pi * hz * (k + 1) * t)
                for k, p in enumerate(partials)
                if hz * (k + 1) < 7600
            )
            shape = np.exp(-decay * t) * np.minimum(1, t / 0.01)
            stop = min(len(out), at + len(t))
            out[at:stop] += (tone * shape)[: stop - at]
        if rng.random() < 0.5 and decay > 1:
            t = np.arange(int(0.12 * rate)) / rate
            out[at : at + len(t)] += 0.6 * rng.standard_normal(len(t)) * np.exp(-40 * t)
    out = out[:n]
    return np.asarray(0.3 * out / np.abs(out).max(), np.float32)


# ---------------------------------------------------------------- changes


def changed(samples: F32, rate: int, rng: np.random.Generator) -> Sound:
    """The sound as it may come: a part, another rate, codec, loudness and noise."""
    n = round(LENGTH_S * rate)
    if len(samples) > n:
        first = int(rng.integers(0, len(samples) - n))
        samples = samples[first : first + n]
    to = int(rng.choice([8000, 16000, 22050, 32000, 44100, 48000]))
    if to < rate or rng.random() < 0.3:
        samples, rate = resampled(samples, rate, to), to
    level = float(np.sqrt(np.square(samples).mean())) + 1e-9
    samples = samples * np.float32(10 ** (rng.uniform(-38, -12) / 20) / level)
    if rng.random() < 0.5:
        power = 10 ** (-rng.uniform(10, 45) / 20) * float(np.sqrt(np.square(samples).mean()))
        samples = samples + (power * rng.standard_normal(len(samples))).astype(np.float32)
    samples = np.clip(samples, -1, 1)
    way = rng.choice(["none", "none", "mp3", "aac", "opus", "mulaw"])
    if way != "none" and len(samples) > 0.3 * rate:
        samples, rate = coded(samples, rate, str(way), int(rng.choice([24, 32, 48, 64, 96])))
    return samples, rate


_MP3_RATES = (16000, 22050, 24000, 32000, 44100, 48000)


def coded(samples: F32, rate: int, codec: str, kbps: int) -> Sound:
    """Through mp3, aac, opus or mu-law (8 kHz)."""
    import av

    name, form, to = {
        "mp3": ("libmp3lame", "mp3", rate if rate in _MP3_RATES else 16000),
        "aac": ("aac", "adts", rate if rate > 11000 else 16000),
        "opus": ("libopus", "ogg", 48000),
        "mulaw": ("pcm_mulaw", "wav", 8000),
    }[codec]
    samples = resampled(samples, rate, to)
    memory = io.BytesIO()
    with av.open(memory, "w", format=form) as container:
        stream: Any = container.add_stream(name, rate=to, layout="mono")
        if codec != "mulaw":
            stream.bit_rate = kbps * 1000
        resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=to)
        block = np.ascontiguousarray(samples[None], np.float32)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate = to
        for out in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(out))
        container.mux(stream.encode(None))
    memory.seek(0)
    with av.open(memory, "r") as coded_again:
        blocks = [f.to_ndarray() for f in coded_again.decode(audio=0)]
        decoded = np.concatenate([b.reshape(1, -1) for b in blocks], axis=1)[0]
    if decoded.dtype == np.int16:
        decoded = decoded / 32768
    return np.asarray(decoded, np.float32), to


# Films of --media by what is heard in them; the rest has several kinds of sound at once.
_FILMED: dict[str, tuple[str, ...]] = {
    "speech": ("real_talking/dfrf*", "real_talking/grid*", "real_talking/latentsync*",
               "real_talking/retalking*", "real_talking/sadtalker*", "synthetic_faces/synctalk*",
               "synthetic_loopy/loopy_realistic_3*", "synthetic_loopy/loopy_nonhuman*",
               "synthetic_talking/*", "talking_crops/loopy_main_1.ogg",
               "talking_crops/omnihuman_video*.ogg"),
    "effects": ("real_general/difffoley_gun*", "real_general/foley*",
                "real_general/videollama_applause*", "real_general/videollama_dog*",
                "real_general/difffoley_drum*"),
}  # fmt: skip


def filmed(media: Path) -> Iterator[Heard]:
    """Sounds of films; the source is the folder and the name's first word."""
    for label, patterns in _FILMED.items():
        for file in sorted({f for pattern in patterns for f in media.glob(pattern)}):
            try:
                kept = read(file)
            except (UsageError, IndexError, OSError, ValueError):
                continue  # a silent film
            source = f"{file.parent.name}/{file.stem.split('_')[0]}"
            if file.stem.startswith("loopy") or "omnihuman" in file.stem:
                source = file.parent.name
            yield Heard(file.stem, source, label, partial(_kept, kept))
