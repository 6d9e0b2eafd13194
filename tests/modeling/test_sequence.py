"""A recurrent layer's sequence; against the Keras layers in test_gradients.py."""

import numpy as np
import pytest
import tensorflow as tf

from textgen.modeling import sequence
from textgen.modeling.gru import GRU
from textgen.modeling.lstm import LSTM
from textgen.modeling.sequence import look_up, run_sequence
from textgen.modeling.simple_rnn import SIMPLE_RNN

CELLS = {"lstm": LSTM, "gru": GRU, "rnn": SIMPLE_RNN}
of_each_cell = pytest.mark.parametrize("name", CELLS)


def outputs_and_gradients(cell, *arguments, state=None):
    """Outputs, last state and gradients of some loss, of one row after the other."""

    @tf.function(autograph=False)
    def run(arguments, state):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            outputs, end = run_sequence(cell, *arguments, state)
            outputs = tf.cast(outputs, tf.float32)
            loss = tf.reduce_sum(tf.sin(outputs * tf.range(5.0)))
        return [outputs, *end, *tape.gradient(loss, arguments)]

    return run(list(arguments), state)


def random_layer(cell, steps, dtype, batch=3, units=5):
    rng = np.random.default_rng(steps)
    gates = cell.gates * units
    biases = (2, gates) if cell.products == 2 else (gates,)
    shapes = [(steps, batch, gates), (units, gates), biases]
    projected, kernel, bias = (
        tf.constant(rng.normal(0, 1, s), tf.float32) for s in shapes
    )
    return tf.cast(projected, dtype), tf.cast(kernel, dtype), bias


def random_state(cell, batch=3, units=5):
    rng = np.random.default_rng(1)
    state = rng.uniform(-1, 1, (1 + cell.memories, batch, units))
    if cell is GRU:
        state[1] = state[0]  # h is its memory
    return tuple(tf.constant(x, tf.float32) for x in state)


@of_each_cell
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
@pytest.mark.parametrize("steps", [6, 7])  # of chunks of three
def test_chunks_give_the_same_bits_as_an_unrolled_loop(steps, dtype, name, monkeypatch):
    cell, results = CELLS[name], []
    arguments, state = random_layer(cell, steps, dtype), random_state(cell)
    monkeypatch.setattr(sequence, "CHUNK_STEPS", 3)
    for most in (steps, steps - 1):
        monkeypatch.setattr(sequence, "MAX_UNROLLED_STEPS", most)
        results.append(outputs_and_gradients(cell, *arguments, state=state))
    for one, other in zip(*results, strict=True):
        assert np.abs(one).max() > 0
        np.testing.assert_array_equal(one, other)


@of_each_cell
def test_a_sequence_goes_on_where_an_earlier_one_ended(name):
    cell = CELLS[name]
    projected, *weights = random_layer(cell, 9, tf.float32)
    whole = outputs_and_gradients(cell, projected, *weights)
    first, state = run_sequence(cell, projected[:4], *weights)
    second, end = run_sequence(cell, projected[4:], *weights, state)
    np.testing.assert_allclose(tf.concat([first, second], 0), whole[0], atol=1e-6)
    for one, other in zip(end, whole[1:], strict=False):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert len(end) == 1 + cell.memories


@of_each_cell
def test_gradients_from_a_given_state_are_finite_differences(name):
    """In directions of their own, by the slope of the loss on both sides."""
    cell = CELLS[name]
    arguments, state = random_layer(cell, 5, tf.float32), random_state(cell)
    gradients = outputs_and_gradients(cell, *arguments, state=state)[-3:]
    rng = np.random.default_rng(2)

    def loss(arguments):
        outputs, _ = run_sequence(cell, *arguments, state)
        return np.sum(np.sin(outputs.numpy().astype(float) * np.arange(5.0)))

    for place, gradient in enumerate(gradients):
        direction = rng.choice([-1.0, 1.0], gradient.shape) / np.sqrt(
            gradient.shape.num_elements()
        )
        losses = []
        for step in (1e-2, -1e-2):
            moved = list(arguments)
            moved[place] += tf.constant(step * direction, tf.float32)
            losses.append(loss(moved))
        slope = (losses[0] - losses[1]) / 2e-2
        expected = np.sum(direction * gradient)
        assert abs(slope - expected) < 2e-3 * (1 + abs(expected)), place


@of_each_cell
def test_the_graph_of_a_long_window_is_no_larger_than_that_of_a_shorter_one(name):
    cell = CELLS[name]

    @tf.function(autograph=False)
    def gradient(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            loss = tf.reduce_sum(run_sequence(cell, *arguments)[0])
        return tape.gradient(loss, arguments)

    def size(steps):
        traced = gradient.get_concrete_function(*random_layer(cell, steps, tf.float32))
        graph = traced.graph.as_graph_def()
        return sum(len(f.node_def) for f in graph.library.function) + len(graph.node)

    assert size(2000) == size(500) < 3 * size(sequence.CHUNK_STEPS)


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


@of_each_cell
def test_one_step_has_no_gradient_for_the_recurrent_kernel(name):
    cell = CELLS[name]
    *_, of_kernel, _ = outputs_and_gradients(cell, *random_layer(cell, 1, tf.float32))
    np.testing.assert_array_equal(of_kernel, np.zeros((5, 5 * cell.gates)))
