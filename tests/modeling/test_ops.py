"""Dropout, dense layer, cross-entropy; all that XLA compiles is element-wise."""

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from textgen.modeling import gru, lstm, ops, sampled_softmax, simple_rnn
from textgen.modeling.ops import cross_entropy, dense, drop, side_by_side

N, U, V = 17, 6, 11


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_drop_keeps_the_expectation(rate):
    dropped = drop(tf.ones([101, 99, 3]), rate, tf.constant([1, 2])).numpy()
    error = np.sqrt(rate * (1 - rate) / dropped.size)
    assert abs(np.mean(dropped == 0) - rate) < 5 * error
    np.testing.assert_allclose(dropped[dropped > 0], 1 / (1 - rate), rtol=1e-6)


@pytest.mark.parametrize(("rate", "dropped"), [(0.0, 0), (0.1, 6554), (0.5, 32768)])
def test_the_rate_is_exact_to_sixteen_bits(rate, dropped):
    every = tf.constant(np.arange(65536, dtype=np.uint16))
    assert np.sum(ops._mask(tf.ones([65536]), every, rate).numpy() == 0) == dropped


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    arrays = (rng.normal(0, 1, shape) for shape in [(N, U), (U, V), V])
    return [tf.constant(array, tf.float32) for array in arrays]


def gradients_of(function, arguments):
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = function(*arguments)
        loss = tf.reduce_sum(value * tf.cos(tf.cast(tf.range(V), tf.float32)))
    return value, tape.gradient(loss, arguments)


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_dense_is_a_product_and_a_sum_whose_logits_are_never_rounded(data, dtype):
    x, kernel, bias = data
    x = tf.cast(x, dtype)
    value, gradients = gradients_of(dense, [x, kernel, bias])
    exact = [tf.cast(x, tf.float32), kernel, bias]
    expected, by_tensorflow = gradients_of(lambda x, k, b: tf.matmul(x, k) + b, exact)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert [g.dtype for g in gradients] == [dtype, tf.float32, tf.float32]
    most = 1e-5 if dtype == tf.float32 else 0.01  # operands rounded by 2⁻⁹ each
    for ours, theirs in zip(gradients, by_tensorflow, strict=True):
        error = np.abs(tf.cast(ours, tf.float32) - theirs).max()
        assert error < most * np.abs(theirs).max()


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


# What XLA leaves to libraries, in which it has crashed (docs/experiments.md).
NOT_ELEMENT_WISE = re.compile(r" (reduce|reduce-window|dot|convolution|sort|while)\(")


def compiled_functions():
    """The names of compiled functions, with arguments for them."""
    x, row, gates = tf.ones([4, 3]), tf.ones([4]), tf.ones([4, 12])
    wide = tf.cast(gates, tf.bfloat16)
    h = wide[:, :3]
    return {
        "_lstm_step": (wide, wide, tf.ones([12]), x),
        "_lstm_gradient": (x, gates, x, h, h, x),
        "_gru_step": (wide[:, :9], wide[:, :9], tf.ones([2, 9]), x),
        "_gru_gradient": (x, gates[:, :6], x, x, h, h, x),
        "_rnn_step": (h, h, tf.ones([3])),
        "_rnn_gradient": (x, h, h),
        "_powers": (x, x[:, :1]),
        "_logits_gradient": (x, x[:, :1], tf.zeros([4], tf.int32), row),
        "_target_first": (row, x, tf.zeros([4], tf.int32), tf.range(3)),
        "_mask": (x, tf.zeros([4, 3], tf.uint16), 0.5),
    }


def test_neither_sums_nor_products_are_compiled():
    sources = [path.read_text() for path in Path(ops.__file__).parent.glob("*.py")]
    pattern = re.compile(r"^@elementwise\ndef (\w+)", re.M)
    names = [name for code in sources for name in pattern.findall(code)]
    functions = compiled_functions()
    assert sorted(names) == sorted(functions)
    # There is no other way to compile one.
    assert sum(code.count("jit_compile") for code in sources) == 1
    for name, arguments in functions.items():
        homes = (ops, lstm, gru, simple_rnn, sampled_softmax)
        (function,) = (getattr(x, name) for x in homes if hasattr(x, name))
        hlo = function.experimental_get_compiler_ir(*arguments)(stage="hlo")
        assert re.search(r"(multiply|exponential|tanh|concatenate)\(", hlo)
        assert not NOT_ELEMENT_WISE.search(hlo), name


def test_bfloat16_is_rounded_to_the_nearest_and_keeps_what_is_not_finite():
    rng = np.random.default_rng(0)
    odd = [np.inf, -np.inf, np.nan, 0.0, -0.0, 3.4e38]
    # No ties among random numbers.
    parts = [tf.constant([[*rng.normal(0, 3, 35), *odd]], tf.float32) for _ in "ifco"]
    rounded = tf.cast(side_by_side(parts, tf.bfloat16), tf.float32).numpy()
    expected = tf.cast(tf.cast(tf.concat(parts, -1), tf.bfloat16), tf.float32).numpy()
    np.testing.assert_array_equal(rounded, expected)
