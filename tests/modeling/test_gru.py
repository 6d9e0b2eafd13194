"""The GRU's memory; the rest is in test_sequence.py and, against Keras, in others."""

import numpy as np
import tensorflow as tf

from textgen.modeling.gru import GRU
from textgen.modeling.sequence import run_sequence


def test_the_memory_is_float32_in_bfloat16_too():
    """It comes nearer to 1 by 2⁻¹⁰ at each step; in bfloat16 it would stop at ½."""
    steps = 1000
    keep = np.arctanh(1 - 2.0**-9)  # of half the sum: its sigmoid is 1 - 2⁻¹⁰
    bias = tf.constant([[keep, 40.0, 40.0], [0.0, 0.0, 0.0]], tf.float32)
    projected = tf.zeros([steps, 1, 3], tf.bfloat16)
    outputs, (_, memory) = run_sequence(
        GRU, projected, tf.zeros([1, 3], tf.bfloat16), bias
    )
    expected = 1 - (1 - 2.0**-10) ** steps
    assert abs(float(memory[0, 0]) - expected) < 1e-3
    assert abs(float(outputs[-1, 0, 0]) - expected) < 4e-3  # rounded by 2⁻⁹


def test_the_gradient_of_the_memory_is_float32_in_bfloat16_too():
    """It passes 1,000 gates of 1 - 2⁻¹⁰ in full; in bfloat16 each would be 1."""
    steps = 1000
    keep = np.arctanh(1 - 2.0**-9)
    bias = tf.constant([[keep, 40.0, 0.0], [0.0, 0.0, 0.0]], tf.float32)
    projected = tf.Variable(tf.zeros([steps, 1, 3], tf.bfloat16))
    with tf.GradientTape() as tape:
        outputs, _ = run_sequence(GRU, projected, tf.zeros([1, 3], tf.bfloat16), bias)
        loss = tf.cast(outputs[-1, 0, 0], tf.float32)
    d_candidate = tape.gradient(loss, projected)[:, 0, 2]
    ratio = float(d_candidate[0]) / float(d_candidate[-1])
    assert abs(ratio - (1 - 2.0**-10) ** (steps - 1)) < 0.01
