"""Dropout as a function of its seed; see test_forward.py for the layers together."""

import numpy as np
import pytest
import tensorflow as tf

from textgen.dropout import drop


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_drop_keeps_the_expectation(rate):
    dropped = drop(tf.ones([101, 99, 3]), rate, tf.constant([1, 2])).numpy()
    share = np.mean(dropped == 0)
    error = np.sqrt(rate * (1 - rate) / dropped.size)
    assert abs(share - rate) < 5 * error
    np.testing.assert_allclose(dropped[dropped > 0], 1 / (1 - rate), rtol=1e-6)
