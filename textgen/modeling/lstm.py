"""The LSTM cell: c = f·c + i·g, h = o·tanh(c), as in Keras' layer.

Sources: Hochreiter & Schmidhuber 1997; Gers et al. 2000 for the forget gate.
"""

from __future__ import annotations

import tensorflow as tf

from textgen.modeling.ops import elementwise, side_by_side
from textgen.modeling.sequence import Cell, State


def _tanh_gates(kernel: tf.Tensor) -> tf.Tensor:
    """Reorder the last axis (…, 4U) from Keras' gates i, f, c, o to i, f, o, c.

    The first three are halved, so that one tanh serves all: σ(z) = ½ + ½ tanh(z/2).
    """
    i, f, c, o = tf.split(kernel, 4, axis=-1)
    return tf.concat([i / 2, f / 2, o / 2, c], axis=-1)


@elementwise
def _lstm_step(
    x: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor, c_prev: tf.Tensor
) -> tuple[tf.Tensor, State, State]:
    """Run a step: h of the type of ``x``, then c, then gates and tanh of c."""
    units = c_prev.shape[-1]
    z = tf.cast(x, tf.float32) + tf.cast(recurrent, tf.float32) + bias
    gates = tf.tanh(z)
    i, f, o = (0.5 + 0.5 * gates[:, n * units : (n + 1) * units] for n in range(3))
    c = f * c_prev + i * gates[:, 3 * units :]
    tanh_c = tf.tanh(c)
    return tf.cast(o * tanh_c, x.dtype), (c,), (gates, tanh_c)


@elementwise
def _lstm_gradient(
    c_prev: tf.Tensor,
    gates: tf.Tensor,
    tanh_c: tf.Tensor,
    dh: tf.Tensor,
    dh_next: tf.Tensor,
    dc_next: tf.Tensor,
) -> tuple[State, State]:
    """Go a step back: from dh of this step's output and of the next step, to dz, dc."""
    units, dtype = tanh_c.shape[-1], dh.dtype
    tanh_i, tanh_f, tanh_o, g = (
        gates[:, n * units : (n + 1) * units] for n in range(4)
    )
    i, f, o = (0.5 + 0.5 * x for x in (tanh_i, tanh_f, tanh_o))
    dh = tf.cast(dh, tf.float32) + tf.cast(dh_next, tf.float32)
    dc = dc_next + dh * o * (1 - tanh_c * tanh_c)
    dz = [
        dc * g * (0.5 - 0.5 * tanh_i * tanh_i),
        dc * c_prev * (0.5 - 0.5 * tanh_f * tanh_f),
        dh * tanh_c * (0.5 - 0.5 * tanh_o * tanh_o),
        dc * i * (1 - g * g),
    ]
    return (side_by_side(dz, dtype),), (dc * f,)


LSTM = Cell(
    gates=4,
    memories=1,
    saved=(4, 1),
    products=1,
    in_order=_tanh_gates,
    step=_lstm_step,
    gradient=_lstm_gradient,
)
