"""Frame error rate of the channel code against others, at equal energy per payload word.

    python benchmarks/channel.py --out reports/channel

Every word lies on 2048 real dimensions with noise of variance 1 and a total energy E, the sum of
amplitude^2 / variance; the place of dimension i is ``i % coded length`` after a shuffle, as the
marks do it, and soft bits are sums of log-likelihood ratios. Es/N0 is E / (2 x 2048). Three
channels: ``even``; ``uneven``, half of the dimensions with 6 dB less amplitude; ``erased``, a third
of the dimensions lost (E counts what is left). Codes:

- ``polar``: avsafe.watermark.channel as it is
- ``polar-pw``: the textbook form, beta 2^(1/4), frozen bits 0, the best CRC32 fit of 32 paths
- ``conv9``: rate 1/3, constraint length 9, Viterbi: the code before decision 0013
- ``conv9-list``: the same with a list of 16 (parallel list Viterbi: Seshadri and Sundberg, "List
  Viterbi decoding algorithms with applications", IEEE Trans. Communications 42, 1994)
- ``conv11``: rate 1/6, constraint length 11; the polynomials are the best of 300 drawn at random by
  the weight of their codewords of up to 6 input bits, so no published optimum

A word counts as decoded when the payload comes back. CPU is ``time.process_time`` of one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avsafe.watermark import channel
from avsafe.watermark.polar import Polar, polar

DIMENSIONS = 2048
Floats = NDArray[np.float64]
Bits = NDArray[np.uint8]
Decoder = Callable[[Floats], Bits]  # (w, n) soft -> (w, p, m) candidate messages
Code = tuple[int, Callable[[Bits], NDArray[np.int8]], Decoder]  # coded length, encode, decode


def convolutional(message_bits: int, memory: int, polynomials: list[int], paths: int) -> Code:
    """Terminated convolutional code with a list Viterbi decoder; one path is plain Viterbi."""
    states, half, rate = 1 << memory, 1 << (memory - 1), len(polynomials)
    steps = message_bits + memory
    register = np.arange(2 * states)
    table = np.array(
        [[1 - 2 * (int(r & g).bit_count() % 2) for g in polynomials] for r in register], float
    )

    def encode(messages: Bits) -> NDArray[np.int8]:
        padded = np.pad(messages.astype(np.int64), ((0, 0), (memory, memory)))
        registers = sum(
            padded[:, memory - age : memory - age + steps] << (memory - age)
            for age in range(memory + 1)
        )
        return table[registers].astype(np.int8).reshape(len(messages), -1)

    def decode(soft: Floats) -> Bits:
        words = len(soft)
        branch = soft.reshape(words, steps, rate) @ table.T
        metric = np.full((words, states, paths), -1e30)
        metric[:, 0, 0] = 0
        chosen = np.empty((steps, words, states, paths), np.int16)
        for step in range(steps):
            into = np.empty((words, 2, half, 2, paths))  # input bit, state after, from 2j + i
            for bit in range(2):
                gain = branch[:, step, bit * states : (bit + 1) * states]
                into[:, bit] = (metric + gain[..., None]).reshape(words, half, 2, paths)
            if step >= steps - memory:
                into[:, 1] = -1e30
            flat = into.reshape(words, states, 2 * paths)
            best = np.argsort(-flat, axis=2, kind="stable")[..., :paths]
            chosen[step] = best
            metric = np.take_along_axis(flat, best, 2)
        state = np.zeros((words, paths), np.int64)
        rank = np.broadcast_to(np.arange(paths), (words, paths))
        rows = np.arange(words)[:, None]
        bits = np.empty((words, paths, steps), np.uint8)
        for step in range(steps - 1, -1, -1):
            bits[..., step] = state >> (memory - 1)
            pick = chosen[step][rows, state, rank].astype(np.int64)
            state, rank = 2 * (state & (half - 1)) + pick // paths, pick % paths
        return bits[..., :message_bits]

    return rate * steps, encode, decode


def many_polynomials(memory: int, rate: int, tries: int = 300) -> list[int]:
    generator = np.random.default_rng(1)
    inputs = range(1, 64, 2)

    def product_weight(a: int, b: int) -> int:
        result = 0
        while b:
            result ^= a if b & 1 else 0
            a, b = a << 1, b >> 1
        return result.bit_count()

    ends = 1 | 1 << memory
    drawn = [
        [int(g) | ends for g in generator.integers(0, 1 << memory, rate)] for _ in range(tries)
    ]
    return max(drawn, key=lambda gs: min(sum(product_weight(g, i) for g in gs) for i in inputs))


def of_polar(code: Polar, paths: int, checked: int) -> Code:
    return (
        code.generator.shape[1],
        code.encode,
        lambda soft: code.decode(soft, paths)[:, :checked],
    )


def without_dynamic_bits(length: int, message_bits: int) -> Polar:
    from avsafe.watermark import polar as module

    full = polar(length, message_bits, 2**0.25)
    places = full.generator.argmax(axis=1)
    generator = np.zeros_like(full.generator)
    generator[np.arange(message_bits), places] = 1
    return Polar(generator, module._build(generator, generator.any(axis=0), 0, length))


def codes(bits: int) -> dict[str, Code]:
    message_bits, length = bits + channel.CRC_BITS, channel.coded_length(bits)
    nine = [0o557, 0o663, 0o711]
    return {
        "polar": of_polar(polar(length, message_bits), channel.PATHS, channel.CHECKED),
        "polar-pw": of_polar(without_dynamic_bits(length, message_bits), 32, 32),
        "conv9": convolutional(message_bits, 8, nine, 1),
        "conv9-list": convolutional(message_bits, 8, nine, 16),
        "conv11": convolutional(message_bits, 10, many_polynomials(10, 6), 1),
    }


def amplitudes(kind: str, generator: np.random.Generator) -> Floats:
    size = np.ones(DIMENSIONS)
    if kind == "uneven":
        size[generator.permutation(DIMENSIONS)[: DIMENSIONS // 2]] = 0.5
    if kind == "erased":
        size[generator.permutation(DIMENSIONS)[: DIMENSIONS // 3]] = 0
    return size / float(np.linalg.norm(size))


def measure(
    code: Code, message_bits: int, kind: str, energy: float, words: int
) -> dict[str, float]:
    length, encode, decode = code
    generator = np.random.default_rng(7)
    wrong, cpu = 0, 0.0
    for start in range(0, words, 8):
        count = min(8, words - start)
        messages = generator.integers(0, 2, (count, message_bits)).astype(np.uint8)
        place = generator.permutation(DIMENSIONS) % length
        size = amplitudes(kind, generator) * np.sqrt(energy)
        received = encode(messages)[:, place] * size + generator.normal(size=(count, DIMENSIONS))
        soft = np.stack([np.bincount(place, one * size, length) for one in received])
        soft[soft == 0] = 1e-9
        began = time.process_time()
        found = decode(soft)
        cpu += time.process_time() - began
        wrong += int((~(found == messages[:, None]).all(axis=2).any(axis=1)).sum())
    return {"fer": wrong / words, "ms_a_word": 1000 * cpu / words}


def crossing(rows: list[dict[str, float]], target: float) -> float | None:
    """The energy at which the FER is ``target``: straight lines in log FER over dB."""
    for a, b in pairwise(rows):
        if a["fer"] >= target >= b["fer"] > 0 and a["fer"] > b["fer"]:
            share = np.log(a["fer"] / target) / np.log(a["fer"] / b["fer"])
            return float(a["energy"] * (b["energy"] / a["energy"]) ** share)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--words", type=int, default=400)
    parser.add_argument("--codes", nargs="*", default=["polar", "polar-pw", "conv9"])
    parser.add_argument("--kinds", nargs="*", default=["even", "uneven", "erased"])
    parser.add_argument("--bits", nargs="*", type=int, default=[64, 32])
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    target = arguments.out / "fer.json"
    results = json.loads(target.read_text()) if target.exists() else {}
    for bits in arguments.bits:
        for name in arguments.codes:
            code = codes(bits)[name]
            for kind in arguments.kinds:
                rows: list[dict[str, float]] = []
                for step in range(18):
                    energy = (bits + channel.CRC_BITS) * 10 ** (0.1 + 0.05 * step)
                    rows.append(
                        {
                            "energy": round(energy, 2),
                            "es_n0_db": round(10 * np.log10(energy / 2 / DIMENSIONS), 2),
                            "words": arguments.words,
                            **measure(code, bits + channel.CRC_BITS, kind, energy, arguments.words),
                        }
                    )
                    if rows[-1]["fer"] < 0.008:
                        break
                at = {str(t): crossing(rows, t) for t in (0.5, 0.1, 0.01)}
                results[f"{bits}/{name}/{kind}"] = {"energy_at_fer": at, "rows": rows}
                cpu = np.mean([row["ms_a_word"] for row in rows])
                print(bits, name, kind, at, f"{cpu:.2f} ms a word", flush=True)
                target.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
