"""Each activation by its formula, in float64."""

import math

import numpy as np
import pytest

from textgen.inference.activations import ACTIVATIONS, SELU_ALPHA, SELU_SCALE

FORMULAS = {
    "elu": lambda x: x if x > 0 else np.exp(x) - 1,
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "hard_sigmoid": lambda x: min(max(0.2 * x + 0.5, 0), 1),
    "hard_sigmoid_3": lambda x: min(max(x + 3, 0), 6) / 6,
    "leaky_relu": lambda x: x if x > 0 else 0.2 * x,
    "linear": lambda x: x,
    "relu": lambda x: max(x, 0),
    "selu": lambda x: SELU_SCALE * (x if x > 0 else SELU_ALPHA * (np.exp(x) - 1)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_its_formula_in_place(name):
    points = np.linspace(-5, 5, 101)
    received = points.astype(np.float32)
    ACTIVATIONS[name](received)
    expected = [FORMULAS[name](x) for x in points]
    np.testing.assert_allclose(received, expected, atol=2e-6)
