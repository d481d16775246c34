"""Metrics of speech: on synthesised speech, against the packages they rest on."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
import wave

import numpy as np
import pytest

from avsafe import testing
from avsafe.errors import MissingExtra
from avsafe.media.replay import Replay
from avsafe.types import Kind, RawMedia
from avsafe_metrics.sound import dnsmos, speaker_similarity, speech_snr, stoi, vad, wer
from avsafe_metrics.sound import pesq as pesq_metric

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("silero_vad", "onnxruntime", "librosa"))),
    reason="needs silero-vad, onnxruntime and librosa",
)


def has(*packages):
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


@functools.cache
def said(text="The train to the north leaves at nine. Keep your ticket until the end.", voice="en"):
    """5 s of speech by espeak-ng over a quiet room, mono at 16 kHz; it ends with a pause."""
    if not shutil.which("espeak-ng"):
        pytest.skip("needs espeak-ng")
    import librosa

    made = subprocess.run(
        ["espeak-ng", "-v", voice, "--stdout", text], capture_output=True, check=True
    ).stdout
    rate_hz = int.from_bytes(made[24:28], "little")  # the header's; its length is of no use
    pcm = np.frombuffer(made[44:], "<i2").astype(np.float32) / 32768
    speech = librosa.resample(pcm, orig_sr=rate_hz, target_sr=16000)
    speech = np.pad(speech[:68000], (0, max(12000, 80000 - speech.size)))[:80000]
    return (0.6 * speech + noise(speech.size, 3e-4)).astype(np.float32)


def noise(n, level=0.1, seed=0):
    return (level * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)


def noisy(x, snr_db):
    return x + noise(x.size, float(np.sqrt(np.mean(x**2)) / 10 ** (snr_db / 20)))


def raw(samples, rate_hz=16000):
    samples = np.atleast_2d(samples).astype(np.float32)
    return RawMedia(
        Kind.AUDIO,
        samples=Replay(lambda: iter([samples])),
        rate_hz=rate_hz,
        channels=samples.shape[0],
    )


def values(metric, samples, rate_hz=16000, beside=None, beside_rate_hz=16000, texts=None):
    other = None if beside is None else raw(beside, beside_rate_hz)
    found = testing.measured(metric, raw(samples, rate_hz), other, texts=texts).values
    name = metric.info.name
    return {key.removeprefix(name).removeprefix("."): value for key, value in found.items()}


@functools.cache
def made(kind):
    metric = kind()
    metric.prepare()
    return metric


ALONE = [
    pytest.param(dnsmos.Dnsmos, marks=has("speechmos"), id="dnsmos"),
    pytest.param(speech_snr.SpeechSnr, id="speech_snr"),
]
BESIDE = [
    pytest.param(pesq_metric.Pesq, marks=has("pesq"), id="pesq"),
    pytest.param(stoi.Stoi, marks=has("pystoi"), id="stoi"),
    pytest.param(
        speaker_similarity.SpeakerSimilarity,
        marks=has("resemblyzer", "torch"),
        id="speaker_similarity",
    ),
]
HOSTILE = {
    "silence": np.zeros(32000),
    "10 ms": noise(160),
    "one sample": np.full(1, 0.5),
    "an offset only": np.full(32000, 0.5),
    "full-scale square": np.sign(np.sin(np.arange(32000) * 0.3) + 1e-6),
    "noise": noise(32000),
    "8 channels": np.tile(noise(32000), (8, 1)),
}


@pytest.mark.parametrize("metric", ALONE + BESIDE)
def test_what_is_no_speech_has_a_reason_and_no_number(metric):
    for name, samples in HOSTILE.items():
        beside = samples if made(metric).info.beside else None
        for value in values(made(metric), samples, beside=beside).values():
            assert isinstance(value, str), f"{name}: {value}"
            assert "failed" not in value, f"{name}: {value}"


@pytest.mark.parametrize("metric", ALONE + BESIDE)
def test_the_contract_holds_on_speech(metric):
    beside = raw(said()) if made(metric).info.beside else None
    found = testing.check_metric(made(metric), raw(noisy(said(), 20)), beside)
    assert all(isinstance(value, float) for value in found.values.values()), found.values
    digests = made(metric).digests()
    assert "silero_vad_16k_sequence.onnx" in digests
    assert all(len(digest) == 64 for digest in digests.values())


@pytest.mark.parametrize("metric", BESIDE[:2])
def test_a_reference_of_another_length_has_a_reason(metric):
    x = said()
    assert all("50 ms" in v for v in values(made(metric), x[:-1600], beside=x).values())
    for value in values(made(metric), x[:-160], beside=x).values():
        assert isinstance(value, float)


# ---------------------------------------------------------------- voice activity


def test_speech_is_found_where_it_is():
    x = np.concatenate([np.zeros(32000, np.float32), said()[:40000], noise(32000, 0.01)])
    mask = np.repeat(vad.Voice().mask(x), vad.FRAME)
    assert mask[:30000].mean() < 0.02
    assert mask[34000:70000].mean() > 0.75
    assert mask[76000:].mean() < 0.05


def test_two_questions_about_one_sound_are_answered_once(monkeypatch):
    x, asked = noise(16000), []
    voice = vad.Voice()
    original = vad.Voice.probabilities
    monkeypatch.setattr(
        vad.Voice, "probabilities", lambda self, x: asked.append(1) or original(self, x)
    )
    first, second, other = voice.mask(x), vad.Voice().mask(x), voice.mask(x.copy())
    assert first is second
    assert len(asked) == 2
    assert np.array_equal(first, other)


def test_an_absent_package_says_what_to_install(monkeypatch):
    from avsafe_metrics.sound import shipped

    monkeypatch.setattr(shipped, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="pip install --no-deps speechmos"):
        shipped.shipped("speechmos", "a.onnx", "speechmos")


# ---------------------------------------------------------------- dnsmos


@has("speechmos")
def test_dnsmos_agrees_with_speechmos_and_falls_with_noise():
    from speechmos import dnsmos as peer

    found = {}
    for snr_db in (40, 5):
        x = np.clip(noisy(said(), snr_db), -1, 1)
        found[snr_db] = made(dnsmos.Dnsmos).score(x)
    expected = peer.run(x, 16000)
    names = {"overall": "ovrl", "signal": "sig", "background": "bak", "p808": "p808"}
    for own, other in names.items():
        assert found[5][own] == pytest.approx(float(expected[f"{other}_mos"]), abs=1e-4)
    for column in ("overall", "background", "p808"):
        assert found[40][column] - found[5][column] > 0.3
    assert found[40]["background"] - found[5]["background"] > 1


@has("speechmos")
def test_dnsmos_hears_gaps_in_the_speech_and_not_its_sign():
    """A third of the time cut away costs every opinion; an inverted wave sounds the same."""
    x = said()
    gated = x.copy()
    for start in range(0, x.size, 3200):
        gated[start : start + 960] = 0
    plain, gaps, inverted = (values(made(dnsmos.Dnsmos), sound) for sound in (x, gated, -x))
    for column, cost in (("overall", 1), ("signal", 1), ("background", 0.7), ("p808", 0.2)):
        assert gaps[column] < plain[column] - cost
        assert inverted[column] == pytest.approx(plain[column], abs=1e-3)


# ---------------------------------------------------------------- pesq, stoi


@has("pesq")
def test_pesq_is_the_packages_number_and_falls_with_noise():
    import pesq

    x = said()
    found = {snr: values(made(pesq_metric.Pesq), noisy(x, snr), beside=x) for snr in (30, 10)}
    clean = values(made(pesq_metric.Pesq), x, beside=x)
    assert clean["wide"] == pytest.approx(4.644, abs=0.001)
    assert clean["narrow"] == pytest.approx(4.549, abs=0.001)
    for band, mode in (("wide", "wb"), ("narrow", "nb")):
        assert found[10][band] == pytest.approx(pesq.pesq(16000, x, noisy(x, 10), mode), abs=1e-6)
        assert clean[band] > found[30][band] + 0.2 > found[10][band] + 0.4


@has("pystoi")
def test_stoi_is_the_packages_number_and_falls_with_noise():
    import pystoi

    x = said()
    found = {snr: values(made(stoi.Stoi), noisy(x, snr), beside=x) for snr in (20, 0)}
    for column, extended in (("", False), ("extended", True)):
        expected = pystoi.stoi(x, noisy(x, 0), 16000, extended=extended)
        assert found[0][column] == pytest.approx(expected, abs=1e-8)
        assert found[20][column] - found[0][column] > 0.1
    late = values(made(stoi.Stoi), np.roll(x, 1600), beside=x)
    for column in ("", "extended"):
        assert values(made(stoi.Stoi), x, beside=x)[column] == pytest.approx(1, abs=1e-6)
        assert values(made(stoi.Stoi), 0.3 * x, beside=x)[column] == pytest.approx(1, abs=1e-6)
        assert late[column] < 0.3, "100 ms late"


@has("pesq")
def test_pesq_ignores_gain_and_a_short_delay():
    """It aligns both itself: what it was made for."""
    x = said()
    clean = values(made(pesq_metric.Pesq), x, beside=x)
    for harmless in (0.3 * x, np.roll(x, 320)):
        found = values(made(pesq_metric.Pesq), harmless, beside=x)
        assert found == pytest.approx(clean, abs=0.02)


@has("pystoi", "pesq")
def test_a_reference_at_another_rate_is_resampled():
    import librosa

    x = said()
    high = np.tile(librosa.resample(x, orig_sr=16000, target_sr=48000), (2, 1))
    found = values(made(stoi.Stoi), high, 48000, beside=x)
    assert found[""] > 0.99
    assert values(made(pesq_metric.Pesq), high, 48000, beside=x)["narrow"] > 4.3


# ---------------------------------------------------------------- speech-to-noise ratio


@pytest.mark.parametrize("snr_db", [25, 15, 5])
def test_the_estimate_is_near_the_known_ratio(snr_db):
    x = np.concatenate([np.zeros(8000, np.float32), said(), np.zeros(8000, np.float32)])
    mask = vad.Voice().mask(x)
    active = np.repeat(mask, vad.FRAME)[: x.size]
    level = float(np.sqrt(np.mean(x[active] ** 2)) / 10 ** (snr_db / 20))
    found = values(made(speech_snr.SpeechSnr), x + noise(x.size, level))[""]
    assert found == pytest.approx(snr_db, abs=2.5)


def test_gain_does_not_change_what_is_speech():
    x = noisy(said(), 20)
    whole = vad.Voice().mask(x)
    for gain in (0.1, 0.01):
        assert np.mean(whole != vad.Voice().mask((gain * x).astype(np.float32))) <= 0.02
    found = [values(made(speech_snr.SpeechSnr), gain * x)[""] for gain in (1.0, 0.03)]
    assert found[0] == pytest.approx(found[1], abs=0.5)


def test_pauses_of_digital_silence_are_no_noise():
    x = np.concatenate([np.zeros(16000, np.float32), said()[:48000], np.zeros(16000, np.float32)])
    mask = vad.Voice().mask(x)
    gated = x * np.repeat(np.convolve(mask, np.ones(3), "same") > 0, vad.FRAME)[: x.size]
    assert "digital silence" in values(made(speech_snr.SpeechSnr), gated)[""]


# ---------------------------------------------------------------- speakers


@has("resemblyzer", "torch")
def test_the_encoder_is_resemblyzers():
    """Recorded with Resemblyzer 0.1.4: VoiceEncoder("cpu").embed_utterance(x) of this sound."""
    import torch

    t = np.arange(48000) / 16000
    x = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 20))
    x = (0.05 * x * (1 + np.sin(2 * np.pi * 3 * t))).astype(np.float32)
    metric = made(speaker_similarity.SpeakerSimilarity)
    mels = speaker_similarity.mel_parts(x)
    with torch.inference_mode():
        mean = metric._encoder(torch.from_numpy(mels)).numpy().mean(axis=0)
    found = mean / np.linalg.norm(mean)
    assert found[found > 0.15].tolist() == pytest.approx(
        [
            0.22064,
            0.15748,
            0.18176,
            0.23573,
            0.20112,
            0.18867,
            0.19289,
            0.15113,
            0.1756,
            0.16698,
            0.25121,
        ],
        abs=1e-4,
    )


@has("resemblyzer", "torch")
def test_one_voice_is_nearer_to_itself_than_to_another(tmp_path):
    metric = made(speaker_similarity.SpeakerSimilarity)
    one, again = said(), said("Nobody knows why the river froze so early that winter.")
    other = said("Nobody knows why the river froze so early that winter.", "en+f4")
    same = values(metric, again, beside=one)[""]
    different = values(metric, other, beside=one)[""]
    assert same > different + 0.05
    assert values(metric, one, beside=one)[""] == pytest.approx(1, abs=1e-6)
    assert values(metric, 0.3 * one, beside=one)[""] > 0.95, "a gain makes nobody else"
    path = tmp_path / "voice.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, one.size, "NONE", ""))
        file.writeframes((np.clip(one, -1, 1) * 32767).astype("<i2").tobytes())
    enrolled = speaker_similarity.SpeakerSimilarity(enrolment=str(path))
    assert enrolled.info.beside == ""
    assert values(enrolled, again)[""] == pytest.approx(same, abs=0.02)
    assert "enrolment" in enrolled.digests()


@has("resemblyzer", "torch")
def test_an_embedding_of_nothing_is_no_match(monkeypatch):
    """A network whose rectifier lets nothing through has no direction: no score, and not 1."""
    import torch

    metric = speaker_similarity.SpeakerSimilarity()
    metric.prepare()
    monkeypatch.setattr(metric, "_encoder", lambda mels: torch.zeros(len(mels), 256))
    monkeypatch.setattr(metric, "prepare", lambda: None)
    found = values(metric, said(), beside=said())
    assert found[""] == "the reference has no voice embedding: all features are 0"


@has("resemblyzer", "torch")
def test_an_enrolment_without_a_voice_is_refused(tmp_path):
    metric = speaker_similarity.SpeakerSimilarity(enrolment=str(tmp_path / "absent.wav"))
    with pytest.raises(MissingExtra, match="no file"):
        metric.prepare()
    path = tmp_path / "noise.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 32000, "NONE", ""))
        file.writeframes((noise(32000) * 32767).astype("<i2").tobytes())
    with pytest.raises(MissingExtra, match=r"is no enrolment: 0\.0 s of speech"):
        speaker_similarity.SpeakerSimilarity(enrolment=str(path)).prepare()


@has("resemblyzer", "torch")
def test_real_speakers_are_told_apart(shared_media):
    from avsafe import media

    metric = made(speaker_similarity.SpeakerSimilarity)
    halves = []
    for name in ("dfrf_french", "latentsync_1", "retalking_2"):
        sound = media.decode(shared_media / "talking_crops" / f"{name}.ogg", max_duration_s=10)
        import librosa

        x = np.concatenate(list(sound.samples), axis=1).mean(axis=0)
        x = librosa.resample(x, orig_sr=sound.rate_hz, target_sr=16000)
        halves.append([metric.embedding(part.copy()) for part in np.array_split(x, 2)])
    same = [float(a @ b) for a, b in halves]
    other = [float(halves[i][0] @ halves[j][1]) for i in range(3) for j in range(3) if i != j]
    assert min(same) > max(other)


# ---------------------------------------------------------------- words


@functools.cache
def distance(a, b):
    """Levenshtein's recursion, as it is defined."""
    if not a or not b:
        return len(a) + len(b)
    return min(
        distance(a[1:], b[1:]) + (a[0] != b[0]), distance(a[1:], b) + 1, distance(a, b[1:]) + 1
    )


def test_edits_are_the_fewest_and_add_up():
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = (tuple(rng.choice(list("abc"), rng.integers(0, 8))) for _ in range(2))
        found = wer.edits(a, b)
        assert found.errors == distance(a, b)
        assert len(a) - found.deletions + found.insertions == len(b)
    found = wer.edits(["a", "b", "c", "d"], ["x", "b", "d", "e"])  # of ways with 3: most "s"
    assert (found.substitutions, found.deletions, found.insertions) == (3, 0, 0)
    found = wer.edits(["a", "b", "c", "d", "e"], ["a", "c", "d", "x", "e", "f"])
    assert (found.substitutions, found.deletions, found.insertions) == (0, 1, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello,  WORLD!", ["hello", "world"]),
        ("ＦＵＬＬ width", ["full", "width"]),
        ("rock ’n’ roll — it’s", ["rock", "n", "roll", "it's"]),
        ("naïve café", ["naïve", "café"]),
        ("Straße 12.5 %", ["strasse", "12", "5"]),
        ("…!?", []),
    ],
)
def test_words_are_compared_without_case_and_punctuation(text, words):
    assert wer.normalised(text) == words


@pytest.fixture
def recogniser(tmp_path):
    """A program that tells what it was given, and says always the same."""
    path = tmp_path / "recogniser.py"
    path.write_text(
        "import sys, wave\n"
        "f = wave.open(sys.argv[-1])\n"
        "assert (f.getframerate(), f.getnchannels(), f.getsampwidth()) == (16000, 1, 2)\n"
        "print('The train two the north' + ' leaves' * (f.getnframes() > 24000))\n"
    )
    return f"{sys.executable} {path}"


def test_a_command_recognises(recogniser):
    texts = {"transcript": "The train to the north leaves, today!"}
    for command in (recogniser, recogniser + " {wav}"):
        metric = wer.WordErrorRate({"recogniser": command})
        found = values(metric, noise(32000), texts=texts)
        assert found == {
            "": pytest.approx(2 / 7), "substitutions": 1.0, "deletions": 1.0, "insertions": 0.0,
            "words": 7.0,
        }  # fmt: skip
        assert len(metric.digests()["recogniser"]) == 64
    short = values(metric, noise(16000), texts=texts)
    assert short["deletions"] == 2.0


def test_a_transcript_that_was_said_has_no_error_and_each_word_counts(recogniser):
    """Case and marks are no errors; of n words one swapped, lost or added costs 1 / n."""
    metric = wer.WordErrorRate({"recogniser": recogniser})
    heard = "the TRAIN, two the north leaves!"
    none = dict.fromkeys(("", "substitutions", "deletions", "insertions"), 0.0)
    for text, wrong in (
        (heard, {}),
        (heard.replace("two", "to"), {"": 1 / 6, "substitutions": 1.0}),
        (f"{heard} today", {"": 1 / 7, "deletions": 1.0}),
        (heard.replace("two ", ""), {"": 1 / 5, "insertions": 1.0}),
    ):
        found = values(metric, noise(32000), texts={"transcript": text})
        del found["words"]
        assert found == pytest.approx(none | wrong), text


def test_what_a_recogniser_cannot_do_is_said(tmp_path):
    for given, said_so in (
        (None, "needs a recogniser"),
        ("no-such-program-here", "was not found"),
        ('whisper "without an end', "is no command: No closing quotation"),
        (str(tmp_path), "no .safetensors"),
    ):
        metric = wer.WordErrorRate({"recogniser": given} if given else None)
        with pytest.raises(MissingExtra, match=said_so):
            metric.prepare()
    broken = wer.WordErrorRate({"recogniser": f'{sys.executable} -c "raise SystemExit(3)"'})
    texts = {"transcript": "a word"}
    assert "ended with 3" in values(broken, noise(16000), texts=texts)[""]
    assert "no words" in values(broken, noise(16000), texts={"transcript": "..."})[""]
    assert values(broken, noise(16000))[""] == "the clip has no transcript"
    assert "0.3 s" in values(broken, noise(160), texts=texts)[""]


@pytest.mark.slow
@has("transformers", "torch")
def test_a_folder_of_transformers_recognises(tmp_path):
    import json

    import torch
    import transformers

    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz"]
    (tmp_path / "vocab.json").write_text(json.dumps({c: i for i, c in enumerate(letters)}))
    transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json")).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, conv_dim=(8,) * 7, num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2, pad_token_id=0,
    )  # fmt: skip
    transformers.Wav2Vec2ForCTC(config).save_pretrained(tmp_path, safe_serialization=True)
    metric = wer.WordErrorRate({"recogniser": str(tmp_path)})
    found = values(metric, noise(16000), texts={"transcript": "a b c"})
    assert found["words"] == 3.0
    assert found[""] == pytest.approx(
        sum(found[k] for k in ("substitutions", "deletions", "insertions")) / 3
    )
