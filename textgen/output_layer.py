"""The dense layer and the cross-entropy after it, each with a gradient of its own."""

from __future__ import annotations

from collections.abc import Callable

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


@tf.custom_gradient
def cross_entropy(
    logits: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
) -> tuple[tf.Tensor, Callable]:
    """Compute the weighted sum of cross-entropies in nats, and its gradient at once.

    Args:
        logits: (N, V) float32.
        targets: (N,) int32 ids.
        weights: (N,) float32; no gradient is given for them.

    Returns:
        Scalar float32 Σ weight · −ln softmax(logits)[target].
    """
    loss, d_logits = _loss_and_gradient(logits, targets, weights)
    return loss, lambda d_loss: (d_loss * d_logits, None, None)


@tf.function(jit_compile=True, autograph=False)
def _loss_and_gradient(logits, targets, weights):
    logits -= tf.reduce_max(logits, axis=-1, keepdims=True)
    exponentials = tf.exp(logits)
    total = tf.reduce_sum(exponentials, axis=-1, keepdims=True)
    is_target = targets[:, None] == tf.range(logits.shape[-1])
    of_target = tf.reduce_sum(tf.where(is_target, logits, 0.0), axis=-1)
    nats = tf.math.log(total[:, 0]) - of_target
    d_logits = exponentials / total - tf.cast(is_target, tf.float32)
    return tf.reduce_sum(nats * weights), d_logits * weights[:, None]
