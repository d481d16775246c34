"""The numpy layers against torch's, which is the reference."""

from __future__ import annotations

import numpy as np
import pytest

from avsafe.errors import GeneratorFailed
from avsafe_generators import layers

torch = pytest.importorskip("torch")
functional = torch.nn.functional
rng = np.random.default_rng(0)


def array(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def close(ours: np.ndarray, theirs: object) -> None:
    assert np.abs(ours).max() > 0.1  # not vacuous
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)  # type: ignore[attr-defined]


def test_linear_and_layer_norm() -> None:
    x, w, b, g = array(2, 5, 8), array(6, 8), array(6), array(6)
    weights = {"a.weight": w, "a.bias": b, "n.weight": g, "n.bias": b}
    ours = layers.linear(x, weights, "a")
    theirs = functional.linear(*map(torch.tensor, (x, w, b)))
    close(ours, theirs)
    close(layers.linear(x, {"a.weight": w}, "a"), functional.linear(*map(torch.tensor, (x, w))))
    close(
        layers.layer_norm(ours, weights, "n"),
        functional.layer_norm(theirs, (6,), torch.tensor(g), torch.tensor(b)),
    )
    close(layers.layer_norm(ours), functional.layer_norm(theirs, (6,)))


@pytest.mark.parametrize("scale", [1.0, 80.0])
def test_activations(scale: float) -> None:
    x = array(3, 7) * scale
    t = torch.tensor(x)
    close(layers.gelu(x), functional.gelu(t, approximate="tanh"))
    close(layers.silu(x), functional.silu(t))
    close(layers.softmax(x), functional.softmax(t, -1))


def test_attention_with_and_without_bias() -> None:
    q, k, v, bias = array(2, 5, 8), array(2, 7, 8), array(2, 7, 8), array(2, 1, 5, 7)

    def split(x: np.ndarray) -> object:
        return torch.tensor(x).view(2, x.shape[1], 4, 2).transpose(1, 2)

    for given in (None, bias):
        mask = None if given is None else torch.tensor(given)
        theirs = functional.scaled_dot_product_attention(*map(split, (q, k, v)), attn_mask=mask)
        close(layers.attention(q, k, v, 4, given), theirs.transpose(1, 2).reshape(2, 5, 8))


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 2), (2, 2), (3, 1)])
def test_conv1d(stride: int, padding: int) -> None:
    x, w, b = array(2, 3, 17), array(4, 3, 5), array(4)
    ours = layers.conv1d(x, {"c.weight": w, "c.bias": b}, "c", stride=stride, padding=padding)
    close(ours, functional.conv1d(*map(torch.tensor, (x, w, b)), stride=stride, padding=padding))


def test_missing_weights_say_how_to_train_them() -> None:
    with pytest.raises(GeneratorFailed, match=r"avsafe_generators\.train nobody"):
        layers.load("nobody")
