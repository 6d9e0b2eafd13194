"""Keras' activation functions by name, in place on NumPy arrays.

One name has had two meanings: ``hard_sigmoid`` is clip(0.2 x + 0.5, 0, 1) up to Keras
2 and relu6(x + 3) / 6 in Keras 3. The second one is ``hard_sigmoid_3`` here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

# Klambauer et al., "Self-Normalizing Neural Networks", 2017, as rounded by Keras.
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805

LEAKY_SLOPE = 0.2  # of the activation; the layer LeakyReLU says its own
# Coefficients of t = 1 / (1 + z / 2), the highest power first, in
# erfc(z) = t exp(-z z + polynomial), for z from 0 on.
ERFC_FIT = (
    *(0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807),
    *(-0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223),
)

InPlace = Callable[[np.ndarray], object]


def _sigmoid(x: np.ndarray) -> None:
    # 0.5 tanh(0.5 x) + 0.5, since exp(-x) would overflow.
    x *= 0.5
    np.tanh(x, out=x)
    x *= 0.5
    x += 0.5


def _hard_sigmoid(x: np.ndarray) -> None:
    x *= 0.2
    x += 0.5
    np.clip(x, 0, 1, out=x)


def _hard_sigmoid_3(x: np.ndarray) -> None:
    x += 3
    np.clip(x, 0, 6, out=x)
    x /= 6


def _selu(x: np.ndarray) -> None:
    np.copyto(x, SELU_ALPHA * np.expm1(np.minimum(x, 0)), where=x < 0)
    x *= SELU_SCALE


def _silu(x: np.ndarray) -> None:
    gate = x.copy()
    _sigmoid(gate)
    x *= gate


def _leaky_relu(x: np.ndarray) -> None:
    np.multiply(x, LEAKY_SLOPE, out=x, where=x < 0)


def _gelu(x: np.ndarray) -> None:
    # x times the normal distribution function, erfc(-x / sqrt(2)) / 2, by a Chebyshev
    # fit whose relative error is below 1.2e-7 (Press et al., "Numerical Recipes").
    z = np.abs(x, dtype=np.float64) / np.sqrt(2)
    t = 1 / (1 + 0.5 * z)
    tail = 0.5 * t * np.exp(np.polyval(ERFC_FIT, t) - z * z)
    np.multiply(x, np.where(x < 0, tail, 1 - tail), out=x, casting="same_kind")


ACTIVATIONS: Mapping[str, InPlace] = {
    "elu": lambda x: np.copyto(x, np.expm1(np.minimum(x, 0)), where=x < 0),
    "gelu": _gelu,
    "hard_sigmoid": _hard_sigmoid,
    "hard_sigmoid_3": _hard_sigmoid_3,
    "leaky_relu": _leaky_relu,
    "linear": lambda x: None,
    "relu": lambda x: np.maximum(x, 0, out=x),
    "selu": _selu,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "softplus": lambda x: np.logaddexp(x, 0, out=x),
    "softsign": lambda x: np.divide(x, 1 + np.abs(x), out=x),
    "swish": _silu,
    "tanh": lambda x: np.tanh(x, out=x),
}


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log probabilities (M, V) float64 of logits (M, V)."""
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
