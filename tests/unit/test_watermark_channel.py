"""The channel code against its own definition, and under noise."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsafe.watermark import channel


def shift_register(payload: int, bits: int) -> list[int]:
    """The code written out bit by bit, as the textbook draws it."""
    crc = zlib.crc32(payload.to_bytes((bits + 7) // 8, "big"))
    message = format(payload, f"0{bits}b") + format(crc, "032b") + "0" * 8
    register = [0] * 9
    coded = []
    for bit in message:
        register = [int(bit), *register[:-1]]
        for polynomial in ("557", "663", "711"):
            taps = format(int(polynomial, 8), "09b")
            ones = sum(r for r, t in zip(register, taps, strict=True) if t == "1")
            coded.append(1 - 2 * (ones % 2))
    return coded


@pytest.mark.parametrize("bits", [1, 24, 32, 64, 100])
def test_encode_is_the_textbook_code(bits: int) -> None:
    payload = (1 << bits) * 2 // 3
    coded = channel.encode(payload, bits)
    assert coded.dtype == np.int8
    assert len(coded) == channel.coded_length(bits) == 3 * (bits + 32 + 8)
    assert coded.tolist() == shift_register(payload, bits)


def test_free_distance_is_18() -> None:
    """The lightest path: no two codewords of the unterminated code are nearer (Proakis 8.2-2)."""
    outputs, states = channel._outputs(), 256
    weight = np.array([bin(n).count("1") for n in range(8)])
    distance = np.full(states, 10**6)
    distance[128] = weight[outputs[256]]  # leave the zero state with a 1
    for _ in range(200):
        reached = np.full(states, 10**6)
        for state in range(1, states):
            for bit in (0, 1):
                after = (bit << 7) | (state >> 1)
                cost = distance[state] + weight[outputs[(bit << 8) | state]]
                reached[after] = min(reached[after], cost)
        if (new := np.minimum(distance, reached)).tolist() == distance.tolist():
            break
        distance = new
    assert distance[0] == 18


@settings(max_examples=30, deadline=None)
@given(payload=st.integers(0, 2**64 - 1), scale=st.floats(1e-6, 1e6), seed=st.integers(0, 2**32))
def test_decodes_at_ten_percent_errors(payload: int, scale: float, seed: int) -> None:
    coded = channel.encode(payload, 64).astype(float)
    wrong = np.random.default_rng(seed).choice(len(coded), len(coded) // 10, replace=False)
    coded[wrong] *= -1
    decoded = channel.decode(coded * scale, 64)
    assert decoded.payload == payload
    assert decoded.crc_ok
    assert decoded.correlation == pytest.approx(1 - 2 * len(wrong) / len(coded))


def test_soft_decisions_reach_the_measured_threshold() -> None:
    """At 0 dB a coded bit (16 % hard errors) 98.5 % of 10,000 words decoded; 95 % must."""
    generator = np.random.default_rng(3)
    coded = channel.encode(0xFEDCBA9876543210, 64)
    words = coded + generator.normal(size=(200, len(coded)))
    right = sum(d.payload == 0xFEDCBA9876543210 for d in channel.decode_many(words, 64))
    assert right >= 190


def test_noise_never_passes_and_stays_near_the_null_correlation() -> None:
    words = np.random.default_rng(4).normal(size=(2000, channel.coded_length(64)))
    decoded = channel.decode_many(words, 64)
    assert not any(d.crc_ok for d in decoded)
    assert all(d.payload is None for d in decoded)
    assert np.mean([d.correlation for d in decoded]) == pytest.approx(0.563, abs=0.005)
    assert np.mean([d.correlation >= channel.CORRELATION_FLOOR for d in decoded]) < 0.02


def test_one_wrong_message_bit_fails_the_crc() -> None:
    """A codeword whose CRC32 belongs to another payload is decoded and refused."""
    generator = np.random.default_rng(5)
    for _ in range(20):
        stream = np.concatenate([generator.integers(0, 2, 96), np.zeros(8, np.int64)])
        decoded = channel.decode(channel._encode_bits(stream), 64)
        assert decoded.correlation == pytest.approx(1.0)
        assert not decoded.crc_ok
        assert decoded.payload is None


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf])
def test_empty_evidence_is_no_payload(value: float) -> None:
    decoded = channel.decode(np.full(channel.coded_length(32), value), 32)
    assert decoded == channel.Decoded(None, False, 0.0)


def test_values_that_are_not_finite_are_erasures() -> None:
    soft = channel.encode(99, 64).astype(float)
    soft[::7] = np.nan
    soft[3::11] = np.inf
    assert channel.decode(soft, 64).payload == 99


@pytest.mark.parametrize("shape", [(0,), (311,), (313,), (2, 312)])
def test_wrong_shapes_are_value_errors(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="312"):
        channel.decode(np.zeros(shape), 64)


@pytest.mark.parametrize(("payload", "bits"), [(-1, 64), (2**64, 64), (1, 0), (1, 513), (2, 1)])
def test_payloads_that_do_not_fit(payload: int, bits: int) -> None:
    with pytest.raises(ValueError, match="bits"):
        channel.encode(payload, bits)
