"""Metrics of sound: standards' own test signals, known damages, and what has no number."""

from __future__ import annotations

import numpy as np
import pytest

from avsafe import testing
from avsafe.media.replay import Replay
from avsafe.types import Kind, RawMedia
from avsafe_metrics.sound import loudness, onsets
from avsafe_metrics.sound.bandwidth import Bandwidth
from avsafe_metrics.sound.blocks import Stretches
from avsafe_metrics.sound.clipping import Clipping
from avsafe_metrics.sound.dc_offset import DcOffset
from avsafe_metrics.sound.loudness import Loudness
from avsafe_metrics.sound.mel_cepstral_distortion import MelCepstralDistortion
from avsafe_metrics.sound.noise_floor import NoiseFloor
from avsafe_metrics.sound.onsets import Onsets
from avsafe_metrics.sound.silence import Silence
from avsafe_metrics.sound.spectral_distance import SpectralDistance
from avsafe_metrics.sound.true_peak import TruePeak

ALONE = (Loudness, TruePeak, Clipping, Silence, NoiseFloor, DcOffset, Bandwidth, Onsets)
BESIDE = (SpectralDistance, MelCepstralDistortion)


def raw(samples, rate_hz=48000, step=12000):
    samples = np.atleast_2d(samples).astype(np.float32)
    blocks = [samples[:, i : i + step] for i in range(0, samples.shape[1], step)]
    return RawMedia(
        Kind.AUDIO,
        samples=Replay(lambda: iter(blocks)),
        rate_hz=rate_hz,
        channels=samples.shape[0],
    )


def values(metric, samples, rate_hz=48000, beside=None, beside_rate_hz=None, step=12000):
    other = None if beside is None else raw(beside, beside_rate_hz or rate_hz)
    found = testing.measured(metric, raw(samples, rate_hz, step), other).values
    name = metric.info.name
    return {key.removeprefix(name).removeprefix("."): value for key, value in found.items()}


def filtered(samples, low_hz=None, high_hz=None, rate_hz=48000, order=2):
    from scipy.signal import butter, sosfilt

    kind = "band" if low_hz else "low"
    edges = [low_hz, high_hz] if low_hz else high_hz
    return sosfilt(butter(order, edges, kind, fs=rate_hz, output="sos"), samples)


def only(found):
    """The first column."""
    return next(iter(found.values()))


def tone(seconds, dbfs, hz=1000.0, rate_hz=48000):
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * t)


def stereo(*parts, rate_hz=48000):
    return np.tile(np.concatenate([tone(s, db, rate_hz=rate_hz) for s, db in parts]), (2, 1))


def noise(seconds=4.0, level=0.1, rate_hz=48000, seed=0, channels=1):
    rng = np.random.default_rng(seed)
    return level * rng.standard_normal((channels, round(seconds * rate_hz)))


# ---------------------------------------------------------------- contract


@pytest.mark.parametrize("metric", ALONE)
def test_the_contract_and_no_dependence_on_blocks(metric):
    samples = np.concatenate([noise(2.5, 0.1), noise(1.7, 0.01), noise(0.33, 0.3)], axis=1)
    clipped = np.tile(np.clip(samples, -0.25, 0.25), (2, 1))
    testing.check_metric(metric(), raw(clipped))
    one = values(metric(), clipped, step=clipped.shape[1])
    for step in (777, 4800):
        other = values(metric(), clipped, step=step)
        for name, value in one.items():
            if isinstance(value, str):
                assert other[name] == value
            else:
                assert other[name] == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("metric", BESIDE)
def test_a_reference_that_is_the_same_is_at_no_distance(metric):
    samples = noise(1.0)
    testing.check_metric(metric(), raw(samples), raw(samples))
    assert set(values(metric(), samples, beside=samples).values()) == {0.0}


def test_a_clip_does_not_depend_on_the_clips_before():
    clips = [noise(1.2, 0.1, seed=1), np.tile(tone(1.5, -6), (2, 1)), noise(2.0, 0.02, seed=2)]
    for metric in ALONE + BESIDE:
        found = []
        for order in ((0, 1, 2), (2, 1, 0)):
            one = metric()
            beside = {i: 0.5 * clips[i] if metric in BESIDE else None for i in order}
            found.append({i: values(one, clips[i], beside=beside[i]) for i in order})
        assert found[0] == found[1]


HOSTILE = {
    "silence": (np.zeros((2, 48000)), 48000),
    "10 ms": (noise(0.01), 48000),
    "one sample": (np.full((1, 1), 0.5), 48000),
    "an offset only": (np.full((1, 72000), 0.5), 48000),
    "full-scale square": (np.sign(tone(1.5, 0)) + (tone(1.5, 0) == 0), 48000),
    "8 channels": (noise(1.5, channels=8), 48000),
    "8 kHz": (noise(1.5, rate_hz=8000), 8000),
    "192 kHz": (noise(1.5, rate_hz=192000), 192000),
    "4 kHz": (noise(1.5, rate_hz=4000), 4000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_sound_gives_a_number_or_a_reason(name):
    samples, rate_hz = HOSTILE[name]
    for metric in ALONE + BESIDE:
        beside = samples if metric in BESIDE else None
        for column, value in values(metric(), samples, rate_hz, beside).items():
            said = f"{metric.__name__}.{column}: {value}"
            assert isinstance(value, float) or (value and "failed" not in value), said


def test_what_has_no_number_says_why():
    silent, short = np.zeros(48000), noise(0.01)
    assert "louder than -70 LUFS" in values(Loudness(), silent)["integrated"]
    assert "digital silence" in values(TruePeak(), silent)[""]
    assert "-60 dBFS" in values(Clipping(), silent)["share"]
    assert values(Silence(), silent)["share"] == 1.0
    assert "digital silence" in values(NoiseFloor(), silent)["level"]
    assert "-90 dBFS" in values(Bandwidth(), silent)["cutoff"]
    assert "-80 dBFS" in values(Onsets(), np.zeros(96000))["rate"]
    assert "0.4 s" in values(Loudness(), short)["integrated"]
    assert "20 ms" in values(Silence(), short)["share"]
    assert "4096" in values(Bandwidth(), short)["cutoff"]
    assert "0.1 s" in values(DcOffset(), short)[""]
    assert "10 s" in values(Loudness(), noise(2.0))["range"]
    assert "6000 Hz" in values(Loudness(), noise(1.0, rate_hz=4000), 4000)["integrated"]
    for metric in BESIDE:
        for said in values(metric(), noise(1.0), beside=np.zeros(48000)).values():
            assert said == "the reference is digital silence"
        for said in values(metric(), noise(1.0), beside=noise(1.06)).values():
            assert "lengths may differ by 50 ms" in said


# ---------------------------------------------------------------- loudness


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(20, -23)], -23.0),
        ([(20, -33)], -33.0),
        ([(10, -36), (60, -23), (10, -36)], -23.0),
        ([(10, -72), (10, -36), (60, -23), (10, -36), (10, -72)], -23.0),
        ([(20, -26), (20.1, -20), (20, -26)], -23.0),
    ],
)
def test_integrated_loudness_of_tech_3341(parts, expected):
    assert values(Loudness(), stereo(*parts))["integrated"] == pytest.approx(expected, abs=0.1)


def test_five_channels_of_tech_3341():
    levels = (-28, -28, -24, -30, -30)
    found = values(Loudness(), np.stack([tone(20, level) for level in levels]))
    assert found["integrated"] == pytest.approx(-23, abs=0.1)
    six = np.stack([tone(5, level) for level in (-28, -28, -24, -3, -30, -30)])
    assert values(Loudness(), six)["integrated"] == pytest.approx(-23, abs=0.1), "LFE counts"


def test_momentary_and_short_term_of_tech_3341():
    """Cases 9 and 12: a pattern of 3 s, and of 400 ms, that is -23 in every place."""
    short = stereo(*[(1.34, -20), (1.66, -30)] * 5)
    assert values(Loudness(), short)["short_term_max"] == pytest.approx(-23, abs=0.1)
    momentary = stereo(*[(0.18, -20), (0.22, -30)] * 25)
    assert values(Loudness(), momentary)["momentary_max"] == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(20, -20), (20, -30)], 10),
        ([(20, -20), (20, -15)], 5),
        ([(20, -40), (20, -20)], 20),
        ([(20, -50), (20, -35), (20, -20), (20, -35), (20, -50)], 15),
    ],
)
def test_range_of_tech_3342(parts, expected):
    assert values(Loudness(), stereo(*parts))["range"] == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("rate_hz", [16000, 44100, 96000, 192000])
def test_the_k_filter_is_the_same_at_any_rate(rate_hz):
    from scipy.signal import sosfreqz

    hz = np.geomspace(20, min(rate_hz / 5, 8000), 60)
    responses = [
        20 * np.log10(np.abs(sosfreqz(loudness.k_filter(rate), hz, fs=rate)[1]))
        for rate in (48000, rate_hz)
    ]
    assert np.abs(responses[0] - responses[1]).max() < 0.1


# pyloudnorm 0.2.0, Meter(rate, filter_class="DeMan").integrated_loudness(samples.T) of these
PYLOUDNORM = {48000: -16.433006, 44100: -16.855041, 16000: -11.618569}


def programme(rate_hz):
    rng = np.random.default_rng(rate_hz)
    white = rng.standard_normal((2, 12 * rate_hz))
    coloured = filtered(white, 200, 4000, rate_hz)
    steps = np.repeat(rng.choice([0.003, 0.03, 0.1, 0.3], 24), rate_hz // 2)
    return np.clip(coloured * steps, -1, 1).astype(np.float32)


@pytest.mark.parametrize("rate_hz", PYLOUDNORM)
def test_loudness_agrees_with_pyloudnorm(rate_hz):
    found = values(Loudness(), programme(rate_hz), rate_hz)
    assert found["integrated"] == pytest.approx(PYLOUDNORM[rate_hz], abs=0.1)
    if rate_hz == 48000:
        assert found["integrated"] == pytest.approx(PYLOUDNORM[rate_hz], abs=1e-4)


def test_loudness_follows_gain():
    before, after = (values(Loudness(), g * noise(2.0)) for g in (1.0, 0.5))
    assert before["integrated"] - after["integrated"] == pytest.approx(6.02, abs=0.01)


# ---------------------------------------------------------------- true peak


@pytest.mark.parametrize(
    ("per_period", "degrees", "amplitude", "expected"),
    [(4, 0, 0.5, -6), (4, 45, 0.5, -6), (6, 60, 0.5, -6), (8, 67.5, 0.5, -6), (4, 45, 1.41, 3)],
)
def test_true_peak_of_tech_3341(per_period, degrees, amplitude, expected):
    """Cases 15 to 19, faded in and out; their tolerance."""
    n = np.arange(48000)
    fade = np.minimum(1, np.minimum(n, n[::-1]) / 4800)
    wave = amplitude * fade * np.sin(2 * np.pi * n / per_period + np.deg2rad(degrees))
    found = values(TruePeak(), np.tile(wave, (2, 1)))[""]
    assert expected - 0.4 <= found <= expected + 0.2


@pytest.mark.parametrize("hz", [997.0, 15000.0, 20000.0])
def test_true_peak_finds_what_lies_between_samples(hz):
    n = np.arange(24000)
    fade = np.minimum(1, np.minimum(n, n[::-1]) / 2400)
    peaks = [
        values(TruePeak(), 0.5 * fade * np.sin(2 * np.pi * hz * n / 48000 + phase))[""]
        for phase in (0.1, 0.9)
    ]
    assert peaks == pytest.approx([-6.02, -6.02], abs=0.05)


# ---------------------------------------------------------------- clipping, silence, offset, floor


@pytest.mark.parametrize("scale", [1.0, 0.37])
@pytest.mark.parametrize("drive", [1.05, 2.0, 4.0])
def test_clipping_counts_what_was_cut_off_at_any_scale(drive, scale):
    wave = drive * tone(1.0, 0, 440)
    known = np.mean(np.abs(wave) >= 1)
    whole = np.round(scale * np.clip(wave, -1, 1) * 32767) / 32768  # 16 bits
    found = values(Clipping(), whole)
    assert found["share"] == pytest.approx(known, abs=0.01)
    assert found["full_scale"] == (pytest.approx(known, abs=0.01) if scale == 1 else 0.0)


@pytest.mark.parametrize("hz", [20.0, 50.0, 440.0, 7000.0])
def test_a_smooth_wave_at_full_scale_is_not_clipped(hz):
    whole = np.round(tone(1.0, 0, hz) * 32767) / 32768
    assert values(Clipping(), whole)["share"] == 0.0
    assert values(Clipping(), noise(1.0, 0.2))["share"] == 0.0


def test_the_longest_flat_top_is_that_of_the_wave():
    """A sine of 100 Hz driven twice over stands at the top for a third of its period."""
    found = values(Clipping(), np.clip(2 * tone(1.0, 0, 100), -1, 1))
    assert found["longest_ms"] == pytest.approx(10 / 3, abs=0.05)
    slower = values(Clipping(), np.clip(2 * tone(1.0, 0, 50), -1, 1))
    assert slower["longest_ms"] == pytest.approx(20 / 3, abs=0.05)
    assert values(Clipping(), noise(1.0, 0.2))["longest_ms"] == 0.0


def test_clipping_of_one_channel_of_two():
    both = np.stack([tone(1.0, -6, 440), np.clip(2 * tone(1.0, 0, 440), -1, 1)])
    known = np.mean(np.abs(2 * tone(1.0, 0, 440)) >= 1) / 2
    assert values(Clipping(), both)["share"] == pytest.approx(known, abs=0.01)


def test_silence_is_found_where_it_is():
    parts = [np.zeros(24000), tone(1, -20), np.zeros(48000), tone(1, -20), 1e-4 * np.ones(12000)]
    found = values(Silence(), np.concatenate(parts))
    assert found["leading_s"] == pytest.approx(0.5, abs=0.021)
    assert found["longest_s"] == pytest.approx(1.0, abs=0.021)
    assert found["trailing_s"] == pytest.approx(0.25, abs=0.021)
    assert found["share"] == pytest.approx(1.75 / 3.75, abs=0.01)
    assert values(Silence(), tone(2, -20))["share"] == 0.0


def test_relative_silence_does_not_change_with_gain():
    clip = np.concatenate([tone(1, -10), tone(1, -55)])
    for gain in (1.0, 0.01):
        assert values(Silence(), gain * clip)["relative_share"] == pytest.approx(0.5, abs=0.02)
    assert values(Silence(), clip)["share"] == 0.0
    assert values(Silence(), 0.01 * clip)["share"] == pytest.approx(0.5, abs=0.02)


def test_offset_is_the_mean():
    assert values(DcOffset(), noise(1.0) + 0.05)[""] == pytest.approx(0.05, abs=0.002)
    assert values(DcOffset(), noise(1.0))[""] < 0.002
    two = np.stack([noise(1.0)[0], noise(1.0)[0] - 0.2])
    assert values(DcOffset(), two)[""] == pytest.approx(0.2, abs=0.002)


def test_noise_floor_is_the_noise_in_the_pauses():
    speech = np.concatenate([tone(1, -10), np.zeros(48000)] * 2)
    for level in (-60, -40):
        found = values(NoiseFloor(), speech + noise(4.0, 10 ** (level / 20))[0])
        assert found["level"] == pytest.approx(level, abs=1)
        assert found["range"] == pytest.approx(-13 - level, abs=1.5)


def test_a_gap_of_digital_silence_and_a_gain_leave_the_noise_floor():
    steady = noise(3.0, 0.01)[0]
    before = values(NoiseFloor(), steady)
    gap = np.concatenate([steady[:72000], np.zeros(48000), steady[72000:]])
    assert values(NoiseFloor(), gap) == pytest.approx(before)
    halved = values(NoiseFloor(), 0.5 * steady)
    assert before["level"] - halved["level"] == pytest.approx(6.02, abs=0.01)
    assert halved["range"] == pytest.approx(before["range"], abs=1e-6)


def test_true_peak_follows_gain_and_not_the_sign():
    whole = noise(1.0)
    before = values(TruePeak(), whole)[""]
    assert before - values(TruePeak(), 0.5 * whole)[""] == pytest.approx(6.02, abs=0.01)
    assert values(TruePeak(), -whole)[""] == before


# ---------------------------------------------------------------- bandwidth


@pytest.mark.parametrize("edge_hz", [3500, 8000, 16000])
def test_cutoff_is_where_a_low_pass_ends(edge_hz):
    from scipy.signal import fftconvolve, firwin

    taps = firwin(513, edge_hz, fs=48000, window=("kaiser", 9.0))
    found = values(Bandwidth(), fftconvolve(noise(2.0)[0], taps, "same"))
    assert found["cutoff"] == pytest.approx(edge_hz, abs=400)
    assert found["rolloff"] == pytest.approx(0.99 * edge_hz, rel=0.05)
    assert values(Bandwidth(), noise(2.0))["cutoff"] == 24000


def test_telephone_sound_in_a_file_of_48_khz():
    from scipy.signal import resample_poly

    found = values(Bandwidth(), resample_poly(noise(2.0, rate_hz=8000)[0], 6, 1))
    assert found["cutoff"] == pytest.approx(4000, abs=300)


def test_an_mp3_of_64_kbit_s_a_channel_ends_near_17_khz(tmp_path):
    from avsafe import media
    from avsafe.bench.clips import Sound
    from avsafe.bench.watermark import recode

    path = tmp_path / "sound.mp3"
    recode.write_sound(Sound(noise(2.0).astype(np.float32), 44100), recode.mp3(64), path)
    coded = media.decode(path, trusted=True)
    found = testing.measured(Bandwidth(), coded).values["bandwidth.cutoff"]
    assert found == pytest.approx(17000, abs=500)
    assert values(Bandwidth(), noise(2.0), 44100)["cutoff"] == 22050


# ---------------------------------------------------------------- distances


def test_spectral_distance_of_a_gain_is_the_gain():
    y = noise(1.0)
    found = values(SpectralDistance(), 0.5 * y, beside=y)
    assert found["log"] == pytest.approx(np.log(2), abs=0.01)
    assert found["convergence"] == pytest.approx(0.5, abs=0.01)


def test_spectral_distance_agrees_with_librosa():
    import librosa

    from avsafe_metrics.sound.spectral_distance import FLOOR, RESOLUTIONS, spectral_distance

    y, x = noise(1.0, rate_hz=16000)[0], noise(1.0, 0.2, 16000, seed=1)[0]
    logs, ratios = [], []
    for frame, hop, window in RESOLUTIONS:
        a, b = (
            np.maximum(np.abs(librosa.stft(s, n_fft=frame, hop_length=hop, win_length=window,
                                           center=False)), FLOOR)
            for s in (x, y)
        )  # fmt: skip
        logs.append(np.abs(np.log(a / b)).mean())
        ratios.append(np.linalg.norm(b - a) / np.linalg.norm(b))
    assert spectral_distance(x, y) == pytest.approx((np.mean(logs), np.mean(ratios)), abs=1e-5)


def test_spectral_convergence_of_noise_is_its_share():
    """Noise of a tenth of the amplitude: the norm of the difference is about a tenth, less where
    phases differ (1 / sqrt 2 for an independent one). The sign of a wave is no difference."""
    y, other = noise(1.0), noise(1.0, seed=7)
    found = values(SpectralDistance(), y + 0.1 * other, beside=y)
    assert found["convergence"] == pytest.approx(0.1 / 2**0.5, rel=0.05)
    double = values(SpectralDistance(), y + 0.2 * other, beside=y)
    assert double["convergence"] == pytest.approx(2 * found["convergence"], rel=0.05)
    for metric in BESIDE:
        assert set(values(metric(), -y, beside=y).values()) == {0.0}


@pytest.mark.parametrize("metric", BESIDE)
def test_distances_grow_with_noise_and_with_a_low_pass(metric):
    y = filtered(noise(1.0), 200, 3000)
    steps = [y + noise(1.0, level, seed=1) for level in (0.001, 0.01, 0.1)]
    found = [only(values(metric(), x, beside=y)) for x in steps]
    assert found == sorted(found)
    assert found[2] > 2 * found[0]
    dull = filtered(y, None, 1000, order=4)
    assert only(values(metric(), dull, beside=y)) > found[0]


def test_mel_cepstral_distortion_is_the_distance_of_envelopes():
    """A tilt in the log-mel spectrum of known size: cos(w) at 3 dB is c[1] = 3 ln(10) / 20."""
    from avsafe_metrics.sound import mel_cepstral_distortion as mcd

    y = noise(1.0, rate_hz=16000)[0]
    bands = np.arange(mcd.BANDS)
    tilt_db = 3 * np.cos(np.pi * (bands + 0.5) / mcd.BANDS)
    expected_db = 10 / np.log(10) * np.sqrt(2) * 3 * np.log(10) / 20
    original = mcd.mel_cepstra

    def tilted(x, first, count):
        cepstra, power = original(x, first, count)
        if x is other:
            from scipy.fft import dct

            cepstra = cepstra + dct(tilt_db * np.log(10) / 20)[: mcd.ORDER + 1] / mcd.BANDS
        return cepstra, power

    other = y.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mcd, "mel_cepstra", tilted)
        assert mcd.mel_cepstral_distortion(other, y) == pytest.approx(expected_db, rel=1e-6)
    assert mcd.mel_cepstral_distortion(0.1 * y, y) == pytest.approx(0, abs=1e-6), "gain counts"


def test_files_of_other_rates_and_channels_compare():
    import librosa

    y = filtered(noise(1.0), None, 3000, order=4)[0]
    low = librosa.resample(y, orig_sr=48000, target_sr=16000)
    for metric in BESIDE:
        near = only(values(metric(), np.tile(low, (2, 1)), 16000, y, 48000))
        far = only(values(metric(), noise(1.0, seed=5), 48000, y, 48000))
        assert near < far / 3


# ---------------------------------------------------------------- onsets


def clicks(per_s, seconds=10.0, jitter_s=0.0):
    out = np.zeros(round(seconds * 48000))
    rng = np.random.default_rng(0)
    for index in range(1, round(seconds * per_s)):
        start = round((index / per_s + rng.uniform(-jitter_s, jitter_s)) * 48000)
        burst = rng.standard_normal(2400) * np.exp(-np.arange(2400) / 400)
        out[start : start + 2400] += 0.2 * burst
    return out[: round(seconds * 48000)]


@pytest.mark.parametrize("bpm", [90, 120])
def test_clicks_give_their_tempo_at_any_gain(bpm):
    for gain in (1.0, 0.03):
        found = values(Onsets(), gain * clicks(bpm / 60))
        assert found["tempo"] == pytest.approx(bpm, rel=0.04)
        assert found["rate"] == pytest.approx(bpm / 60, rel=0.1)
        assert found["pulse"] > 0.6


def test_a_pulse_is_lost_with_regularity_and_noise_has_no_onsets():
    regular, loose = (values(Onsets(), clicks(2, jitter_s=j))["pulse"] for j in (0, 0.2))
    assert loose < regular / 2
    steady = values(Onsets(), noise(6.0))
    assert steady["rate"] < 0.5
    assert "a tempo needs" in steady["tempo"]
    assert steady["entropy"] > 0.95 > values(Onsets(), clicks(1))["entropy"]


# ---------------------------------------------------------------- stretches


@pytest.mark.parametrize("rate_hz", [11025, 48000])
@pytest.mark.parametrize("step", [1, 333, 5000])
def test_stretches_lose_nothing(rate_hz, step):
    samples = np.arange(3001, dtype=np.float32)[None]
    stretches = Stretches(rate_hz, 50)
    out = [s for i in range(0, 3001, step) for s in stretches.take(samples[:, i : i + step])]
    rest = stretches.rest()
    joined = np.concatenate([*out, *([] if rest is None else [rest])], axis=1)
    assert np.array_equal(joined, samples)
    assert {s.shape[1] for s in out} <= {rate_hz // 50, rate_hz // 50 + 1}


@pytest.mark.parametrize("seconds", [5, 20, 47.3])
def test_a_tempogram_in_pieces_is_the_whole_one(seconds):
    import librosa

    rng = np.random.default_rng(3)
    envelope = np.maximum(rng.normal(size=round(seconds * onsets.PER_S)), 0).astype(np.float32)
    whole = librosa.feature.tempogram(
        onset_envelope=envelope, sr=onsets.RATE_HZ, hop_length=onsets.HOP, win_length=500
    )
    np.testing.assert_allclose(
        onsets.mean_tempogram(envelope), whole.mean(axis=-1, keepdims=True), rtol=1e-5, atol=1e-7
    )
