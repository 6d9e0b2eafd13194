"""Dropout whose mask is a function of a seed: a step can be repeated exactly."""

from __future__ import annotations

import tensorflow as tf

from textgen.elementwise import elementwise


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
def _mask(x, bits, rate):
    kept = tf.cast(bits, tf.int32) >= round(rate * 65536)
    return tf.where(kept, x * tf.cast(1 / (1 - rate), x.dtype), tf.zeros_like(x))
