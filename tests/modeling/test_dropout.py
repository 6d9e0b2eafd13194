"""Dropout as a function of its seed; see test_forward.py for the layers together."""

import numpy as np
import pytest
import tensorflow as tf

from textgen.modeling.ops import _mask, drop


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_drop_keeps_the_expectation(rate):
    dropped = drop(tf.ones([101, 99, 3]), rate, tf.constant([1, 2])).numpy()
    share = np.mean(dropped == 0)
    error = np.sqrt(rate * (1 - rate) / dropped.size)
    assert abs(share - rate) < 5 * error
    np.testing.assert_allclose(dropped[dropped > 0], 1 / (1 - rate), rtol=1e-6)


@pytest.mark.parametrize(("rate", "dropped"), [(0.0, 0), (0.1, 6554), (0.5, 32768)])
def test_the_rate_is_exact_to_sixteen_bits(rate, dropped):
    every = tf.constant(np.arange(65536, dtype=np.uint16))
    assert np.sum(_mask(tf.ones([65536]), every, rate).numpy() == 0) == dropped
