"""Layers that work on each step alone, value by value, by their formulas."""

import numpy as np
import pytest

from textgen.inference.generic import apply_stepwise
from textgen.inference.weights import LayerNormalization, Rectifier, Scaling

VALUES = np.array([[-3.0, -0.5, 0.0, 0.2], [0.5, 1.0, 2.0, 7.0]], np.float32)


@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize("most", [None, 0.7, 6.0])
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_a_rectifier_by_its_definition(slope, most, threshold):
    def one(x):
        if x <= threshold:
            return slope * (x - threshold)
        return x if most is None else min(x, most)

    before = VALUES.copy()
    received = apply_stepwise(VALUES, [Rectifier(slope, most, threshold)])
    expected = [[one(x) for x in row] for row in VALUES]
    np.testing.assert_allclose(received, expected, atol=1e-7)
    np.testing.assert_array_equal(VALUES, before)
    assert received.dtype == np.float32


def test_normalizations_by_their_definitions():
    rng = np.random.default_rng(0)
    scale, offset = rng.normal(size=(2, 4)).astype(np.float32)
    received = apply_stepwise(VALUES, [Scaling(scale, offset)])
    np.testing.assert_allclose(received, VALUES * scale + offset, atol=1e-6)
    received = apply_stepwise(VALUES, [LayerNormalization(scale, offset, 0.1)])
    for ours, row in zip(received, VALUES.astype(float), strict=True):
        mean = sum(row) / 4
        variance = sum((row - mean) ** 2) / 4
        expected = (row - mean) / (variance + 0.1) ** 0.5 * scale + offset
        np.testing.assert_allclose(ours, expected, atol=1e-6)
    assert received.dtype == np.float32
