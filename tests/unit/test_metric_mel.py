"""Mel bands agree with librosa's, which needs a compiler at run time and ours does not."""

from __future__ import annotations

import numpy as np
import pytest

from avsafe_metrics.sound.mel import hz_of_mel, mel_of_hz, mel_spectrogram


@pytest.mark.parametrize(
    ("rate_hz", "window", "hop", "bands", "n"),
    [(16000, 400, 160, 40, 16000), (16000, 512, 100, 64, 7001), (22050, 1024, 256, 80, 9000)],
)
def test_as_librosa(rate_hz, window, hop, bands, n):
    librosa = pytest.importorskip("librosa")
    x = np.random.default_rng(0).normal(0, 0.1, n).astype(np.float32)
    expected = librosa.feature.melspectrogram(
        y=x, sr=rate_hz, n_fft=window, hop_length=hop, n_mels=bands
    ).T
    found = mel_spectrogram(x, rate_hz, window, hop, bands)
    assert found.shape == expected.shape
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_the_scale_has_an_inverse():
    hz = np.array([0.0, 200.0, 999.0, 1000.0, 1001.0, 7999.0])
    assert np.allclose(hz_of_mel(mel_of_hz(hz)), hz)
