"""The fast LSTM path against the ordinary Keras layers, and its dropout."""

import numpy as np
import pytest
import tensorflow as tf

from textgen.config import ModelConfig
from textgen.model import build_model
from textgen.recurrent import (
    drop,
    layer_logits,
    look_up,
    lstm_sequence,
    sequence_logits,
)

B, T, V = 3, 7, 11


def network(layers, embedding, dropout=0.0):
    config = ModelConfig(layers=layers, units=8, embedding=embedding, dropout=dropout)
    model = build_model(config, V, seed=1)
    rng = np.random.default_rng(5)
    for variable in model.trainable_variables:  # biases too, or nothing tests them
        variable.assign(rng.normal(0, 0.4, variable.shape))
    return model


def loss_and_gradients(forward, model, ids, targets, **options):
    variables = [v.value for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        logits = forward(model, ids, **options)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.transpose(targets), logits
        )
        loss = tf.reduce_mean(nats)
    gradients = tape.gradient(loss, variables)
    return logits, [tf.convert_to_tensor(g).numpy() for g in gradients]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    ids = tf.constant(rng.integers(0, V, (B, T)), tf.int32)
    return ids, tf.constant(rng.integers(0, V, (B, T)), tf.int32)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("embedding", [0, 5])
def test_outputs_and_gradients_equal_the_keras_layers(data, layers, embedding):
    model = network(layers, embedding)
    logits, gradients = loss_and_gradients(sequence_logits, model, *data)
    # The reference is Keras' whole model and TensorFlow's own derivative of it.
    variables = [v.value for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        probabilities = model(data[0])
        picked = tf.gather(probabilities, data[1], batch_dims=2)
        loss = -tf.reduce_mean(tf.math.log(picked))
    expected = tape.gradient(loss, variables)
    np.testing.assert_allclose(
        tf.transpose(tf.nn.softmax(logits), [1, 0, 2]), probabilities, atol=1e-6
    )
    for ours, theirs in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(ours, tf.convert_to_tensor(theirs), atol=1e-6)


def test_dropout_paths_agree_and_depend_on_the_seed_alone(data):
    model = network(2, 5, dropout=0.5)
    seed = tf.constant([3, 9])
    fast = loss_and_gradients(sequence_logits, model, *data, dropout_seed=seed)
    plain = loss_and_gradients(layer_logits, model, *data, dropout_seed=seed)
    np.testing.assert_allclose(fast[0], plain[0], atol=1e-5)
    for ours, theirs in zip(fast[1], plain[1], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    again = sequence_logits(model, data[0], dropout_seed=seed)
    np.testing.assert_array_equal(again, fast[0])
    other = sequence_logits(model, data[0], dropout_seed=tf.constant([3, 10]))
    assert np.abs(other - fast[0]).max() > 1e-3


def test_bfloat16_stays_within_its_bound(data):
    # Operands are rounded to 8 bits, a relative 2⁻⁹ each; over 2 layers and 7 steps
    # of a network with weights of order one that stays below 5 % of the largest entry.
    model = network(2, 5)
    exact = loss_and_gradients(sequence_logits, model, *data)
    rounded = loss_and_gradients(sequence_logits, model, *data, precision="bfloat16")
    assert np.abs(rounded[0] - exact[0]).max() < 0.05 * np.abs(exact[0]).max()
    assert np.abs(rounded[0] - exact[0]).max() > 0
    for ours, theirs in zip(rounded[1], exact[1], strict=True):
        assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()


def test_the_cell_state_is_float32_in_bfloat16_too():
    """A cell that adds 1/512 at each of 1,000 steps; in bfloat16 it would stop at ½."""
    steps, units = 1000, 1
    # Gates i, f, o wide open; the candidate is tanh(atanh(1/512)), exact in bfloat16.
    gates = tf.constant([40.0, 40.0, 40.0, 1 / 512])
    projected = tf.cast(tf.tile(gates[None, None], [steps, 1, 1]), tf.bfloat16)
    outputs = lstm_sequence(projected, tf.zeros([units, 4 * units], tf.bfloat16))
    expected = np.tanh(steps * np.tanh(1 / 512))
    assert abs(float(outputs[-1, 0, 0]) - expected) < 0.005


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


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_drop_keeps_the_expectation(rate):
    dropped = drop(tf.ones([101, 99, 3]), rate, tf.constant([1, 2])).numpy()
    share = np.mean(dropped == 0)
    error = np.sqrt(rate * (1 - rate) / dropped.size)
    assert abs(share - rate) < 5 * error
    np.testing.assert_allclose(dropped[dropped > 0], 1 / (1 - rate), rtol=1e-6)
