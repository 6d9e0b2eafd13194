"""Dropout and precision of the fast path; without either see test_gradients.py."""

import numpy as np
import pytest
import tensorflow as tf

from textgen.modeling.forward import (
    cell_of,
    dropout_rates,
    fast_outputs,
    layer_logits,
    read_weights,
    round_kernels,
)
from textgen.modeling.ops import dense, drop

B, T, V = 3, 7, 11
of_each_cell = pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])


def fast(model, ids, precision="float32", dropout_seed=None, folded=True):
    weights = round_kernels(read_weights(model, folded=folded), precision)
    cell, rates = cell_of(model), dropout_rates(model)
    outputs, _ = fast_outputs(cell, weights, ids, rates, dropout_seed)
    return dense(outputs, weights.dense_kernel, weights.dense_bias)


def by_layers(model, ids, dropout_seed=None):
    return layer_logits(model, ids, dropout_seed)[0]


def loss_and_gradients(forward, model, ids, targets, **options):
    variables = [v.value for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        logits = forward(model, ids, **options)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.reshape(tf.transpose(targets), [-1]), logits
        )
        loss = tf.reduce_mean(nats)
    gradients = tape.gradient(loss, variables)
    return logits, [tf.convert_to_tensor(g).numpy() for g in gradients]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    ids = tf.constant(rng.integers(0, V, (B, T)), tf.int32)
    return ids, tf.constant(rng.integers(0, V, (B, T)), tf.int32)


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("input_dropout", [0.0, 0.3])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_dropout_paths_agree_and_depend_on_the_seed_alone(
    data, random_model, dropout, input_dropout, folded
):
    model = random_model(2, 5, V, dropout=dropout, input_dropout=input_dropout)
    seed = tf.constant([3, 9])
    ours = loss_and_gradients(fast, model, *data, dropout_seed=seed, folded=folded)
    plain = loss_and_gradients(by_layers, model, *data, dropout_seed=seed)
    np.testing.assert_allclose(ours[0], plain[0], atol=1e-5)
    for one, other in zip(ours[1], plain[1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    again = fast(model, data[0], dropout_seed=seed, folded=folded)
    np.testing.assert_array_equal(again, ours[0])
    other = fast(model, data[0], dropout_seed=tf.constant([3, 10]), folded=folded)
    if dropout or input_dropout:
        assert np.abs(other - ours[0]).max() > 1e-3


def test_hidden_symbols_are_zeros_and_the_others_larger(data, random_model):
    """By Keras' own layers, told which symbols are hidden."""
    rate, seed = 0.4, tf.constant([5, 6])
    model = random_model(1, 5, V, input_dropout=rate)
    logits = fast(model, data[0], dropout_seed=seed)
    hidden = tf.transpose(drop(tf.ones([T, B, 1]), rate, seed)[..., 0]).numpy() == 0
    assert 0 < hidden.mean() < 1
    x = model.layers[1](data[0]).numpy() / (1 - rate)
    x[hidden] = 0
    for layer in model.layers[3:]:
        x = layer(x)
    ours = tf.reshape(tf.nn.softmax(logits), [T, B, V])
    np.testing.assert_allclose(tf.transpose(ours, [1, 0, 2]), x, atol=3e-6)


def test_rates_are_read_from_the_network(random_model):
    assert dropout_rates(random_model(2, 5, V)) == (0, 0, 0)
    model = random_model(2, 5, V, dropout=0.5, input_dropout=0.25)
    assert dropout_rates(model) == (0.25, 0.5, 0.5)


@of_each_cell
def test_biases_are_never_rounded(random_model, cell):
    weights = read_weights(random_model(2, 5, V, cell=cell))
    rounded = round_kernels(weights, "bfloat16")
    for exact, layer in zip(weights.layers, rounded.layers, strict=True):
        assert layer.kernel.dtype == layer.recurrent_kernel.dtype == tf.bfloat16
        assert layer.bias.dtype == tf.float32
        np.testing.assert_array_equal(layer.bias, exact.bias)


@of_each_cell
def test_bfloat16_stays_within_its_bound(data, random_model, cell):
    # Operands are rounded to 8 bits, a relative 2⁻⁹ each; over 2 layers and 7 steps
    # of a network with weights of order one that stays below 5 % of the largest entry.
    model = random_model(2, 5, V, cell=cell)
    exact = loss_and_gradients(fast, model, *data)
    rounded = loss_and_gradients(fast, model, *data, precision="bfloat16")
    assert np.abs(rounded[0] - exact[0]).max() < 0.05 * np.abs(exact[0]).max()
    assert np.abs(rounded[0] - exact[0]).max() > 0
    for ours, theirs in zip(rounded[1], exact[1], strict=True):
        assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()
