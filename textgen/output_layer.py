"""The dense layer, with a gradient of its own, and the cross-entropy after it."""

from __future__ import annotations

import tensorflow as tf


@tf.custom_gradient
def dense(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Turn outputs (N, U) into logits (N, V) by a float32 product.

    Args:
        x: float32 or bfloat16, the type of the operands of the gradient's products.
            Logits are never rounded to bfloat16: it resolves only 1/16 at 10.
        kernel: (U, V) float32.
        bias: (V,) float32.
    """

    def gradient(d_logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        operand = tf.cast(d_logits, x.dtype)
        dx = tf.matmul(operand, tf.cast(kernel, x.dtype), transpose_b=True)
        d_kernel = tf.matmul(x, operand, transpose_a=True)
        return dx, tf.cast(d_kernel, tf.float32), tf.reduce_sum(d_logits, axis=0)

    return tf.matmul(tf.cast(x, tf.float32), kernel) + bias, gradient


def cross_entropy(
    logits: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
) -> tf.Tensor:
    """Compute the weighted sum of cross-entropies in nats.

    Args:
        logits: (N, V) float32.
        targets: (N,) int32 ids.
        weights: (N,) float32.

    Returns:
        Scalar float32 Σ weight · −ln softmax(logits)[target].
    """
    # Not compiled: XLA's reductions are suspected of crashes (docs/experiments.md).
    nats = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    return tf.reduce_sum(nats * weights)
