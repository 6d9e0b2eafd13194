"""The LSTM's memory; the rest is in test_sequence.py and, against Keras, in others."""

import numpy as np
import tensorflow as tf

from textgen.modeling.lstm import LSTM
from textgen.modeling.sequence import run_sequence


def test_the_cell_state_is_float32_in_bfloat16_too():
    """A cell that adds 1/512 at each of 1,000 steps; in bfloat16 it would stop at ½."""
    steps, units = 1000, 1
    # Gates i, f, o wide open; the candidate is tanh(atanh(1/512)), exact in bfloat16.
    gates = tf.constant([40.0, 40.0, 40.0, 1 / 512])
    projected = tf.cast(tf.tile(gates[None, None], [steps, 1, 1]), tf.bfloat16)
    kernel = tf.zeros([units, 4 * units], tf.bfloat16)
    outputs, _ = run_sequence(LSTM, projected, kernel, tf.zeros([4 * units]))
    expected = np.tanh(steps * np.tanh(1 / 512))
    assert abs(float(outputs[-1, 0, 0]) - expected) < 0.005


def test_the_gradient_of_the_cell_state_is_float32_in_bfloat16_too():
    """It passes 1,000 gates of 1 - 2⁻¹⁰ in full; in bfloat16 each would be 1."""
    steps, units = 1000, 1
    forget = np.arctanh(1 - 2.0**-9)  # of half the sum: its sigmoid is 1 - 2⁻¹⁰
    bias = tf.constant([40.0, forget, 40.0, 0.0])
    projected = tf.Variable(tf.zeros([steps, 1, 4 * units], tf.bfloat16))
    kernel = tf.zeros([units, 4 * units], tf.bfloat16)
    with tf.GradientTape() as tape:
        outputs, _ = run_sequence(LSTM, projected, kernel, bias)
        loss = tf.cast(outputs[-1, 0, 0], tf.float32)
    d_candidate = tape.gradient(loss, projected)[:, 0, 3]
    ratio = float(d_candidate[0]) / float(d_candidate[-1])
    assert abs(ratio - (1 - 2.0**-10) ** (steps - 1)) < 0.01
