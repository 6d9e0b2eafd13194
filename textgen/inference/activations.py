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


ACTIVATIONS: Mapping[str, InPlace] = {
    "elu": lambda x: np.copyto(x, np.expm1(np.minimum(x, 0)), where=x < 0),
    "hard_sigmoid": _hard_sigmoid,
    "hard_sigmoid_3": _hard_sigmoid_3,
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
