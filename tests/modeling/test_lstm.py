"""One LSTM layer's sequence; against the Keras layers in test_forward.py."""

import numpy as np
import pytest
import tensorflow as tf

from textgen.modeling import lstm
from textgen.modeling.lstm import _side_by_side, look_up, lstm_sequence


@tf.function(autograph=False)
def outputs_and_gradients(projected, kernel, bias):
    arguments = [projected, kernel, bias]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        outputs = tf.cast(lstm_sequence(*arguments), tf.float32)
        loss = tf.reduce_sum(tf.sin(outputs * tf.range(5.0)))
    return [outputs, *tape.gradient(loss, arguments)]


def random_layer(steps, dtype, batch=3, units=5):
    rng = np.random.default_rng(steps)
    shapes = [(steps, batch, 4 * units), (units, 4 * units), 4 * units]
    projected, kernel, bias = (
        tf.constant(rng.normal(0, 1, s), tf.float32) for s in shapes
    )
    return tf.cast(projected, dtype), tf.cast(kernel, dtype), bias


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
@pytest.mark.parametrize("steps", [2, 6, 7])  # of chunks of three
def test_chunks_give_the_same_bits_as_an_unrolled_loop(steps, dtype, monkeypatch):
    arguments, results = random_layer(steps, dtype), []
    monkeypatch.setattr(lstm, "CHUNK_STEPS", 3)
    for most in (steps, steps - 1):
        monkeypatch.setattr(lstm, "MAX_UNROLLED_STEPS", most)
        traced = outputs_and_gradients.python_function
        results.append(tf.function(traced, autograph=False)(*arguments))
    for one, other in zip(*results, strict=True):
        assert np.abs(one).max() > 0
        np.testing.assert_array_equal(one, other)


def test_the_graph_of_a_long_window_is_no_larger_than_that_of_a_shorter_one():
    def size(steps):
        traced = outputs_and_gradients.get_concrete_function(
            *random_layer(steps, tf.float32)
        )
        graph = traced.graph.as_graph_def()
        return sum(len(f.node_def) for f in graph.library.function) + len(graph.node)

    assert size(2000) == size(500) < 3 * size(lstm.CHUNK_STEPS)


def test_the_cell_state_is_float32_in_bfloat16_too():
    """A cell that adds 1/512 at each of 1,000 steps; in bfloat16 it would stop at ½."""
    steps, units = 1000, 1
    # Gates i, f, o wide open; the candidate is tanh(atanh(1/512)), exact in bfloat16.
    gates = tf.constant([40.0, 40.0, 40.0, 1 / 512])
    projected = tf.cast(tf.tile(gates[None, None], [steps, 1, 1]), tf.bfloat16)
    kernel = tf.zeros([units, 4 * units], tf.bfloat16)
    outputs = lstm_sequence(projected, kernel, tf.zeros([4 * units]))
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
        outputs = lstm_sequence(projected, kernel, bias)
        loss = tf.cast(outputs[-1, 0, 0], tf.float32)
    d_candidate = tape.gradient(loss, projected)[:, 0, 3]
    ratio = float(d_candidate[0]) / float(d_candidate[-1])
    assert abs(ratio - (1 - 2.0**-10) ** (steps - 1)) < 0.01


def test_look_up_gradient_adds_repeated_rows():
    table = tf.constant(np.arange(12.0).reshape(4, 3), tf.float32)
    ids = tf.constant([[1, 1], [3, 0]])
    with tf.GradientTape() as tape:
        tape.watch(table)
        rows = look_up(table, ids)
        loss = tf.reduce_sum(rows * tf.reshape(tf.range(12.0), [2, 2, 3]))
    np.testing.assert_array_equal(rows, table.numpy()[ids.numpy()])
    expected = np.zeros((4, 3))
    np.add.at(expected, ids.numpy(), np.arange(12.0).reshape(2, 2, 3))
    np.testing.assert_array_equal(tape.gradient(loss, table), expected)


def test_bfloat16_is_rounded_to_the_nearest_and_keeps_what_is_not_finite():
    rng = np.random.default_rng(0)
    odd = [np.inf, -np.inf, np.nan, 0.0, -0.0, 3.4e38]
    # No ties among random numbers.
    parts = [tf.constant([[*rng.normal(0, 3, 35), *odd]], tf.float32) for _ in "ifco"]
    rounded = tf.cast(_side_by_side(parts, tf.bfloat16), tf.float32).numpy()
    expected = tf.cast(tf.cast(tf.concat(parts, -1), tf.bfloat16), tf.float32).numpy()
    np.testing.assert_array_equal(rounded, expected)


def test_one_step_has_no_gradient_for_the_recurrent_kernel():
    kernel = tf.ones([2, 8])
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        outputs = lstm_sequence(tf.ones([1, 3, 8]), kernel, tf.zeros([8]))
    np.testing.assert_array_equal(tape.gradient(outputs, kernel), np.zeros((2, 8)))
