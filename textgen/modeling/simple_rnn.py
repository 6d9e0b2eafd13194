"""The simple recurrent cell: h = tanh(x + h·R), as in Keras' layer `SimpleRNN`.

Source: Elman 1990.
"""

from __future__ import annotations

import tensorflow as tf

from textgen.modeling.ops import elementwise
from textgen.modeling.sequence import Cell, State


@elementwise
def _rnn_step(
    x: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, State, State]:
    """Run a step: h of the type of ``x``, no memory besides it, and h of float32."""
    h = tf.tanh(tf.cast(x, tf.float32) + tf.cast(recurrent, tf.float32) + bias)
    return tf.cast(h, x.dtype), (), (h,)


@elementwise
def _rnn_gradient(
    h: tf.Tensor, d_output: tf.Tensor, dh_next: tf.Tensor
) -> tuple[State, State]:
    """Go a step back, to the gradient of the sum of the products."""
    dh = tf.cast(d_output, tf.float32) + tf.cast(dh_next, tf.float32)
    return (tf.cast(dh * (1 - h * h), d_output.dtype),), ()


SIMPLE_RNN = Cell(
    gates=1,
    memories=0,
    saved=(1,),
    products=1,
    in_order=tf.identity,
    step=_rnn_step,
    gradient=_rnn_gradient,
)
