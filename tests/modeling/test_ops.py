"""Dense layer and cross-entropy against TensorFlow's own operations and gradients."""

import numpy as np
import pytest
import tensorflow as tf

from textgen.modeling.ops import cross_entropy, dense

N, U, V = 17, 6, 11


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x, kernel, bias = (rng.normal(0, 1, s) for s in [(N, U), (U, V), V])
    return [tf.constant(a, tf.float32) for a in (x, kernel, bias)]


def gradients_of(function, arguments):
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = function(*arguments)
        loss = tf.reduce_sum(value * tf.cos(tf.cast(tf.range(V), tf.float32)))
    return value, tape.gradient(loss, arguments)


def test_dense_is_a_product_and_a_sum(data):
    value, gradients = gradients_of(dense, data)
    expected, by_tensorflow = gradients_of(lambda x, k, b: tf.matmul(x, k) + b, data)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for ours, theirs in zip(gradients, by_tensorflow, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_logits_of_bfloat16_inputs_are_not_rounded(data):
    x, kernel, bias = data
    x = tf.cast(x, tf.bfloat16)
    value, gradients = gradients_of(dense, [x, kernel, bias])
    exact = tf.cast(x, tf.float32)
    expected, by_tensorflow = gradients_of(dense, [exact, kernel, bias])
    np.testing.assert_array_equal(value, expected)
    assert gradients[0].dtype == tf.bfloat16
    assert gradients[1].dtype == gradients[2].dtype == tf.float32
    for ours, theirs in zip(gradients, by_tensorflow, strict=True):
        error = np.abs(tf.cast(ours, tf.float32) - theirs).max()
        assert error < 0.01 * np.abs(theirs).max()  # operands rounded by 2⁻⁹ each


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4])
def test_cross_entropy_is_that_of_tensorflow(scale):
    rng = np.random.default_rng(1)
    logits = tf.constant(rng.normal(0, scale, (N, V)), tf.float32)
    targets = tf.constant(rng.integers(0, V, N), tf.int32)
    weights = tf.constant(rng.random(N), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        ours = 3 * cross_entropy(logits, targets, weights)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        theirs = 3 * tf.reduce_sum(nats * weights)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    expected = tape.gradient(theirs, logits)
    np.testing.assert_allclose(tape.gradient(ours, logits), expected, atol=1e-6)
