"""The GRU cell: h = z·h + (1 - z)·candidate, as in Keras' layer.

The reset gate r multiplies the state's product, and not the state (``reset_after``, as
in cuDNN), so that all of a step's products are one. Both products have a bias.

Source: Cho et al. 2014.
"""

from __future__ import annotations

import tensorflow as tf

from textgen.modeling.ops import elementwise, side_by_side
from textgen.modeling.sequence import Cell, State


def _tanh_gates(kernel: tf.Tensor) -> tf.Tensor:
    """Halve the gates z and r of the last axis (…, 3U), the order of Keras is kept.

    Then one tanh serves both: σ(x) = ½ + ½ tanh(x/2).
    """
    z, r, candidate = tf.split(kernel, 3, axis=-1)
    return tf.concat([z / 2, r / 2, candidate], axis=-1)


@elementwise
def _gru_step(
    x: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor, h_prev: tf.Tensor
) -> tuple[tf.Tensor, State, State]:
    """Run a step: h of the type of ``x``, then h, then what its gradient needs.

    That is the gates, the candidate, and what of the state r lets in. The bias (2, 3U)
    is that of the input's product, then that of the state's.
    """
    split = 2 * h_prev.shape[-1]
    x_sums = tf.cast(x, tf.float32) + bias[0]
    h_sums = tf.cast(recurrent, tf.float32) + bias[1]
    gates = tf.tanh(x_sums[:, :split] + h_sums[:, :split])
    z, r = tf.split(0.5 + 0.5 * gates, 2, axis=1)
    recalled = h_sums[:, split:]
    candidate = tf.tanh(x_sums[:, split:] + r * recalled)
    h = candidate + z * (h_prev - candidate)
    return tf.cast(h, x.dtype), (h,), (gates, candidate, recalled)


@elementwise
def _gru_gradient(
    h_prev: tf.Tensor,
    gates: tf.Tensor,
    candidate: tf.Tensor,
    recalled: tf.Tensor,
    d_output: tf.Tensor,
    dh_next: tf.Tensor,
    d_memory: tf.Tensor,
) -> tuple[State, State]:
    """Go a step back, to the gradients of the input's product, the state's, and h."""
    dtype = d_output.dtype
    tanh_z, tanh_r = tf.split(gates, 2, axis=1)
    z, r = 0.5 + 0.5 * tanh_z, 0.5 + 0.5 * tanh_r
    dh = tf.cast(d_output, tf.float32) + tf.cast(dh_next, tf.float32) + d_memory
    d_candidate = dh * (1 - z) * (1 - candidate * candidate)
    dz = dh * (h_prev - candidate) * (0.5 - 0.5 * tanh_z * tanh_z)
    dr = d_candidate * recalled * (0.5 - 0.5 * tanh_r * tanh_r)
    of_input = side_by_side([dz, dr, d_candidate], dtype)
    of_state = side_by_side([dz, dr, d_candidate * r], dtype)
    return (of_input, of_state), (dh * z,)


GRU = Cell(
    gates=3,
    memories=1,
    saved=(2, 1, 1),
    products=2,
    in_order=_tanh_gates,
    step=_gru_step,
    gradient=_gru_gradient,
)
