"""The channel code against its own definition, and under noise."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avsafe.watermark import channel
from avsafe.watermark.polar import Leaf, Polar, Tree, polar

WORD = 0xFEDCBA9876543210


def message_of(payload: int, bits: int) -> NDArray[np.uint8]:
    crc = zlib.crc32(payload.to_bytes((bits + 7) // 8, "big"))
    return np.array([int(c) for c in format(payload, f"0{bits}b") + format(crc, "032b")], np.uint8)


def kronecker(length: int) -> NDArray[np.int64]:
    matrix = np.ones((1, 1), np.int64)
    while len(matrix) < length:
        matrix = np.kron(np.array([[1, 0], [1, 1]]), matrix)
    return matrix


@pytest.mark.parametrize(("bits", "length"), [(1, 1024), (24, 1024), (32, 1024), (64, 2048)])
def test_encode_is_the_message_times_both_matrices(bits: int, length: int) -> None:
    payload = (1 << bits) * 2 // 3
    coded = channel.encode(payload, bits)
    generator = polar(length, bits + 32).generator.astype(np.int64)
    word = message_of(payload, bits) @ generator % 2
    assert coded.dtype == np.int8
    assert len(coded) == channel.coded_length(bits) == length
    assert coded.tolist() == (1 - 2 * (word @ kronecker(length) % 2)).tolist()


def test_messages_sit_on_the_heaviest_places() -> None:
    """Polarization weights by the formula of He et al., one place at a time."""
    code = polar(256, 20)
    weights = [
        sum(1.155**j for j, bit in enumerate(reversed(format(i, "08b"))) if bit == "1")
        for i in range(256)
    ]
    used = np.flatnonzero((code.generator.sum(axis=0) == 1) & code.generator.any(axis=0))
    heaviest = sorted(range(256), key=weights.__getitem__)[-20:]
    assert set(heaviest) <= set(used.tolist())
    for row, place in zip(code.generator, sorted(heaviest), strict=True):
        assert row[place] == 1
        assert not row[:place].any()  # frozen bits follow the message bits they depend on


def test_the_code_never_changes() -> None:
    """A mark must be readable for years: the same words on every machine and with every numpy."""
    ones = [zlib.crc32(channel.encode(2**b - 2, b).tobytes()) for b in (32, 64)]
    assert ones == [0x24641ECC, 0x14F313C6]


def single_bits(code: Polar, soft: NDArray[np.float64], paths: int) -> list[list[int]]:
    """Successive cancellation with a list, bit by bit as Tal and Vardy write it down."""
    size = len(soft)
    used = [int(np.flatnonzero(row)[0]) for row in code.generator]

    def llr(values: NDArray[np.float64], bits: list[int]) -> float:
        if len(values) == 1:
            return float(values[0])
        half = len(values) // 2
        a, b = values[:half], values[half:]
        if len(bits) < half:
            return llr(np.sign(a) * np.sign(b) * np.minimum(abs(a), abs(b)), bits)
        left = np.array(bits[:half]) @ kronecker(half) % 2
        return llr(b + (1 - 2 * left) * a, bits[half:])

    alive: list[tuple[float, list[int]]] = [(0.0, [])]
    for place in range(size):
        after = []
        for penalty, bits in alive:
            value = llr(soft, bits)
            if place in used:
                choices = [0, 1]
            else:
                known = [row for row, at in zip(code.generator, used, strict=True) if at < place]
                message = [bits[at] for at in used if at < place]
                choices = [sum(int(r[place]) * m for r, m in zip(known, message, strict=True)) % 2]
            for bit in choices:
                wrong = bit != (value < 0)
                after.append((penalty + abs(value) * wrong, [*bits, bit]))
        alive = sorted(after, key=lambda one: one[0])[:paths]
    return [[bits[at] for at in used] for _, bits in alive]


def test_the_list_decoder_is_the_textbooks() -> None:
    """Subtree by subtree gives the order that bit by bit gives (both keep all 512 paths)."""
    code = polar(64, 9)
    generator = np.random.default_rng(1)
    for _ in range(3):
        soft = generator.normal(size=64)
        expected = single_bits(code, soft, 512)[:40]  # behind them, float32 has ties
        assert code.decode(soft[None], 512)[0, :40].tolist() == expected


def test_a_full_list_is_maximum_likelihood() -> None:
    code = polar(128, 10)
    soft = np.random.default_rng(2).normal(size=(20, 128))
    every = np.array([[int(c) for c in format(i, "010b")] for i in range(1024)])
    likeliest = every[np.argmax(soft @ code.encode(every).T, axis=1)]
    assert code.decode(soft, 1024)[:, 0].tolist() == likeliest.tolist()


def test_leaves_hold_at_most_seven_message_bits() -> None:
    def leaves(tree: Tree) -> list[Leaf]:
        return [tree] if isinstance(tree, Leaf) else leaves(tree[0]) + leaves(tree[1])

    found = leaves(polar(2048, 96).tree)
    assert sum(leaf.messages.shape[1] for leaf in found) == 96
    assert sum(leaf.book.shape[1] for leaf in found) == 2048
    assert max(leaf.messages.shape[1] for leaf in found) <= 7


@settings(max_examples=20, deadline=None)
@given(payload=st.integers(0, 2**64 - 1), scale=st.floats(1e-6, 1e6), seed=st.integers(0, 2**32))
def test_decodes_at_thirty_percent_errors(payload: int, scale: float, seed: int) -> None:
    coded = channel.encode(payload, 64).astype(float)
    wrong = np.random.default_rng(seed).choice(len(coded), len(coded) * 3 // 10, replace=False)
    coded[wrong] *= -1
    decoded = channel.decode(coded * scale, 64)
    assert decoded.payload == payload
    assert decoded.crc_ok
    assert decoded.correlation == pytest.approx(1 - 2 * len(wrong) / len(coded))


@pytest.mark.parametrize(("bits", "energy"), [(64, 224.0), (32, 151.0)])
def test_soft_decisions_reach_the_measured_threshold(bits: int, energy: float) -> None:
    """``energy`` is the sum of amplitude^2 / variance: 1 dB above the one where 95 % decode."""
    generator = np.random.default_rng(3)
    payload = WORD >> (64 - bits)
    coded = channel.encode(payload, bits) * np.sqrt(energy / channel.coded_length(bits))
    words = coded + generator.normal(size=(100, len(coded)))
    right = sum(d.payload == payload for d in channel.decode_many(words, bits))
    assert right >= 96


def test_uneven_noise_with_its_weights() -> None:
    """Half of the places with 6 dB less amplitude, a third of all erased: about the same energy."""
    generator = np.random.default_rng(6)
    amplitude = np.where(generator.random(2048) < 0.5, 1.0, 0.5)
    amplitude[generator.random(2048) < 1 / 3] = 0
    amplitude *= np.sqrt(240 / np.sum(amplitude**2))
    received = channel.encode(WORD, 64) * amplitude + generator.normal(size=(40, 2048))
    right = sum(d.payload == WORD for d in channel.decode_many(received * amplitude, 64))
    assert right >= 37


@pytest.mark.parametrize("kind", ["gauss", "hard", "uneven"])
@pytest.mark.parametrize("bits", [32, 64])
def test_adding_a_codeword_adds_its_message(kind: str, bits: int) -> None:
    """The ground of the false positive rate: every rank of the list moves by the same message."""
    generator = np.random.default_rng(7)
    length = channel.coded_length(bits)
    code = polar(length, bits + 32)
    soft = generator.normal(size=(8, length))
    if kind == "hard":
        soft = np.sign(soft)
    if kind == "uneven":
        soft *= generator.exponential(size=length)
    message = generator.integers(0, 2, (8, bits + 32))

    def listed(values: NDArray[np.float64]) -> NDArray[np.uint8]:
        prepared = channel._without_ties(channel._levelled(values))
        return code.decode(prepared, channel.PATHS)[:, : channel.CHECKED]

    moved = listed(soft * code.encode(message)) ^ message[:, None].astype(np.uint8)
    same = (moved == listed(soft)).all(axis=2)
    assert same.mean() > 0.95  # float32 leaves a few ties


def test_erased_bits_do_not_favour_a_message() -> None:
    """With nine tenths erased and keyed signs, each message bit of the best path is a fair coin."""
    generator = np.random.default_rng(8)
    fixed = np.where(generator.random(1024) < 0.9, 0.0, 1.0)
    signs = 1 - 2.0 * generator.integers(0, 2, (400, 1024))
    prepared = channel._without_ties(channel._levelled(fixed * signs))
    best = polar(1024, 64).decode(prepared, 16)[:, 0]
    assert np.all(np.abs(best.mean(axis=0) - 0.5) < 5 * 0.5 / np.sqrt(400))


def test_noise_never_passes_and_stays_near_the_null_correlation() -> None:
    words = np.random.default_rng(4).normal(size=(1000, channel.coded_length(64)))
    decoded = channel.decode_many(words, 64)
    assert not any(d.crc_ok for d in decoded)
    assert all(d.payload is None for d in decoded)
    assert np.mean([d.correlation for d in decoded]) == pytest.approx(0.2424, abs=0.001)
    assert np.mean([d.correlation >= channel.correlation_floor(64) for d in decoded]) < 0.02


def test_a_crc_of_another_payload_is_refused() -> None:
    generator = np.random.default_rng(5)
    for _ in range(20):
        codeword = polar(2048, 96).encode(generator.integers(0, 2, 96))
        decoded = channel.decode(codeword, 64)
        assert decoded.correlation == pytest.approx(1.0)
        assert not decoded.crc_ok
        assert decoded.payload is None


def test_only_the_checked_ranks_can_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """FALSE_PASS_PER_TRY counts CHECKED candidates: with a CRC32 that never fits, no more."""
    asked: list[int] = []

    def never(payload: int, bits: int) -> int:
        asked.append(payload)
        return -1

    monkeypatch.setattr(channel, "_crc", never)
    soft = np.random.default_rng(9).normal(size=(3, 1024))
    assert not any(d.crc_ok for d in channel.decode_many(soft, 32))
    assert len(asked) == 3 * channel.CHECKED
    assert channel.FALSE_PASS_PER_TRY == channel.CHECKED * 2.0**-32


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf])
def test_empty_evidence_is_no_payload(value: float) -> None:
    decoded = channel.decode(np.full(channel.coded_length(32), value), 32)
    assert decoded == channel.Decoded(None, False, 0.0)


def test_no_words() -> None:
    assert channel.decode_many(np.zeros((0, 1024)), 32) == ()


def test_values_that_are_not_finite_are_erasures() -> None:
    soft = channel.encode(99, 64).astype(float)
    soft[::7] = np.nan
    soft[3::11] = np.inf
    assert channel.decode(soft, 64).payload == 99


@pytest.mark.parametrize("outlier", [1e6, 1e300, -1e300])
def test_outliers_do_not_drown_the_others(outlier: float) -> None:
    soft = channel.encode(99, 64) + np.random.default_rng(10).normal(size=2048)
    soft[::150] = outlier
    assert channel.decode(soft, 64).payload == 99


@pytest.mark.parametrize("bits", [1, 7, 100, 512])
def test_other_lengths(bits: int) -> None:
    payload = (1 << bits) // 3
    soft = channel.encode(payload, bits) + np.random.default_rng(11).normal(
        size=channel.coded_length(bits)
    )
    assert channel.decode(soft, bits).payload == payload


@pytest.mark.parametrize("shape", [(0,), (2047,), (2049,), (2, 2048)])
def test_wrong_shapes_are_value_errors(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="2048"):
        channel.decode(np.zeros(shape), 64)


@pytest.mark.parametrize(("payload", "bits"), [(-1, 64), (2**64, 64), (1, 0), (1, 513), (2, 1)])
def test_payloads_that_do_not_fit(payload: int, bits: int) -> None:
    with pytest.raises(ValueError, match="bits"):
        channel.encode(payload, bits)
