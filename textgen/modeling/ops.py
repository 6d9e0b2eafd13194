"""The dense layer, with a gradient of its own, and the cross-entropy after it."""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

# Functions of arrays that XLA compiles: few passes over memory instead of many.
# Nothing that sums or multiplies matrices may be compiled: two threads at once in the
# first call of such a function can crash the process (docs/experiments.md), and
# oneDNN's products are faster than XLA's. A product with ones sums.
elementwise = functools.partial(tf.function, jit_compile=True, autograph=False)


# Dropout whose mask is a function of a seed: a step can be repeated exactly.
def drop(x: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """Inverted dropout that depends on ``seed`` (2,) int32 and on nothing else.

    Sixteen random bits decide for each entry, half the cost of thirty-two; the rate
    is exact to 2⁻¹⁶, and what is kept grows by 1 / (1 − rate), rounded to the type of
    ``x``. Source: Srivastava et al. 2014.
    """
    size = x.shape.num_elements()
    words = tf.random.stateless_uniform(
        [-(-size // 2)], seed, minval=None, maxval=None, dtype=tf.int32
    )
    bits = tf.reshape(tf.bitcast(words, tf.uint16), [-1])[:size]
    return _mask(x, tf.reshape(bits, x.shape), rate)


@elementwise
def _mask(x: tf.Tensor, bits: tf.Tensor, rate: float) -> tf.Tensor:
    kept = tf.cast(bits, tf.int32) >= round(rate * 65536)
    return tf.where(kept, x * tf.cast(1 / (1 - rate), x.dtype), tf.zeros_like(x))


@tf.custom_gradient
def dense(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Turn outputs (N, U) into logits (N, V) by a float32 product.

    Outputs may be bfloat16, and then so are the operands of the gradient's products.
    Logits are never rounded to bfloat16: it resolves only 1/16 at 10.
    """

    def gradient(d_logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        operand = tf.cast(d_logits, x.dtype)
        dx = tf.matmul(operand, tf.cast(kernel, x.dtype), transpose_b=True)
        d_kernel = tf.matmul(x, operand, transpose_a=True)
        d_bias = tf.reduce_sum(d_logits, axis=0)  # float32, and few: no product's worth
        return dx, tf.cast(d_kernel, tf.float32), d_bias

    return tf.matmul(tf.cast(x, tf.float32), kernel) + bias, gradient


@tf.custom_gradient
def cross_entropy(
    logits: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
) -> tf.Tensor:
    """Compute Σ weight · −ln softmax(logits)[target], in nats, a float32 scalar.

    Logits are (N, V) float32, targets (N,) int32 ids, weights (N,) without gradient.
    """
    count, symbols = logits.shape
    largest = tf.reduce_max(logits, axis=1, keepdims=True)
    powers = _powers(logits, largest)
    total = tf.matmul(powers, tf.ones([symbols, 1]))
    at_targets = tf.range(count) * symbols + targets
    chosen = tf.gather(tf.reshape(logits, [-1]), at_targets)
    nats = tf.math.log(total[:, 0]) - (chosen - largest[:, 0])

    def gradient(scale: tf.Tensor) -> tuple[tf.Tensor, None, None]:
        factors = scale * weights
        return _logits_gradient(powers, total, targets, factors), None, None

    return tf.tensordot(nats, weights, 1), gradient


@elementwise
def _powers(logits: tf.Tensor, largest: tf.Tensor) -> tf.Tensor:
    return tf.exp(logits - largest)


@elementwise
def _logits_gradient(
    powers: tf.Tensor, total: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
) -> tf.Tensor:
    is_target = tf.range(powers.shape[1]) == targets[:, tf.newaxis]
    weights = weights[:, tf.newaxis]
    return powers * (weights / total) - tf.where(is_target, weights, 0.0)


def side_by_side(parts: list[tf.Tensor], dtype: tf.DType) -> tf.Tensor:
    """Put float32 arrays (B, U) side by side, (B, GU), rounded to ``dtype``.

    XLA would join them in float32 and round then, twice the memory to pass over;
    integers of 16 bits it leaves as they are. Stacking takes fewer passes than
    concatenating.
    """
    if dtype == tf.bfloat16:
        words = [tf.bitcast(x, tf.uint32) + np.uint32(0x8000) for x in parts]
        upper = [tf.bitwise.right_shift(x, np.uint32(16)) for x in words]
        parts = [tf.cast(x, tf.uint16) for x in upper]
    joined = tf.reshape(tf.stack(parts, axis=1), [parts[0].shape[0], -1])
    return joined if dtype == tf.float32 else tf.bitcast(joined, dtype)
