"""An LSTM layer's whole sequence with its own gradient.

`keras.layers.LSTM` multiplies inside its time loop and lets TensorFlow derive the
backward pass, one small weight-gradient product a time step. Here the input side is
one large product (for the first layer a table look-up), the backward loop keeps the
gate gradients, and each weight gradient is one large product after it. Arrays are
time-major, (T, B, …). Outputs and gradients equal the layers' own
to float32 rounding.

Sources: Hochreiter & Schmidhuber 1997; Gers et al. 2000 for the forget gate;
Appleyard et al. 2016 (arXiv 1604.01946) for gathering the products.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from textgen.modeling.ops import elementwise


def tanh_gates(kernel: tf.Tensor) -> tf.Tensor:
    """Reorder the last axis (…, 4U) from Keras' gates i, f, c, o to i, f, o, c.

    The first three are halved: sigmoid(z) = ½ + ½ tanh(z/2), so that one tanh serves
    all four.
    """
    i, f, c, o = tf.split(kernel, 4, axis=-1)
    return tf.concat([i / 2, f / 2, o / 2, c], axis=-1)


@elementwise
def _cell(x, recurrent, bias, c_prev):
    units = c_prev.shape[-1]
    z = tf.cast(x, tf.float32) + tf.cast(recurrent, tf.float32) + bias
    gates = tf.tanh(z)
    i, f, o = (0.5 + 0.5 * gates[:, n * units : (n + 1) * units] for n in range(3))
    c = f * c_prev + i * gates[:, 3 * units :]
    tanh_c = tf.tanh(c)
    return gates, c, tanh_c, tf.cast(o * tanh_c, x.dtype)


@elementwise
def _cell_gradient(gates, c_prev, tanh_c, dh, dh_next, dc_next):
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
    return _side_by_side(dz, dtype), dc * f


def _side_by_side(parts: list[tf.Tensor], dtype: tf.DType) -> tf.Tensor:
    """Put float32 arrays (B, U) side by side, (B, 4U), rounded to ``dtype``.

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


@tf.custom_gradient
def lstm_sequence(
    projected: tf.Tensor, recurrent_kernel: tf.Tensor, bias: tf.Tensor
) -> tf.Tensor:
    """Run one LSTM layer over a whole sequence from zero state.

    Args:
        projected: (T, B, 4U), product of input and kernel, gates in order i, f, o, c;
            float32 or bfloat16, which is then the type of every product's operands.
            The cell state is float32 in both.
        recurrent_kernel: (U, 4U) of the same type and gate order.
        bias: (4U,) float32. It is added in the cell: added to the product it would
            cost another pass over memory.

    Returns:
        Outputs (T, B, U) of the type of ``projected``.
    """
    batch, units = projected.shape[1], recurrent_kernel.shape[0]
    first_h = tf.zeros([batch, units], projected.dtype)
    h, c = first_h, tf.zeros([batch, units])
    saved, outputs = [], []
    for x in tf.unstack(projected):
        c_prev = c
        gates, c, tanh_c, h = _cell(x, tf.matmul(h, recurrent_kernel), bias, c_prev)
        saved.append((gates, c_prev, tanh_c))
        outputs.append(h)
    sequence = tf.stack(outputs)

    def gradient(d_sequence: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        dh, dc = tf.zeros_like(first_h), tf.zeros_like(c)
        d_steps = tf.unstack(d_sequence)
        dz_steps = [None] * len(saved)
        for t in reversed(range(len(saved))):
            if t + 1 < len(saved):
                dh = tf.matmul(dz_steps[t + 1], recurrent_kernel, transpose_b=True)
            dz_steps[t], dc = _cell_gradient(*saved[t], d_steps[t], dh, dc)
        dz = tf.stack(dz_steps)
        # The first step multiplies zeros, so that each dz meets the h before it.
        d_kernel = tf.matmul(rows(sequence[:-1]), rows(dz[1:]), transpose_a=True)
        # A product too: `tf.reduce_sum` takes several times as long.
        ones = tf.ones([1, len(saved) * batch], dz.dtype)
        d_bias = tf.cast(tf.matmul(ones, rows(dz))[0], tf.float32)
        return dz, d_kernel, d_bias

    return sequence, gradient


@tf.custom_gradient
def look_up(table: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Gather rows of ``table`` (V, N) by ids (T, B) → (T, B, N).

    Its gradient is one product with the one-hot ids, summed in a fixed order and
    faster here than adding row by row.
    """

    def gradient(d_rows: tf.Tensor) -> tuple[tf.Tensor, None]:
        flat = tf.one_hot(tf.reshape(ids, [-1]), table.shape[0], dtype=table.dtype)
        return tf.matmul(flat, rows(d_rows), transpose_a=True), None

    return tf.gather(table, ids), gradient


def rows(x: tf.Tensor) -> tf.Tensor:
    """Merge time and batch: (T, B, N) → (T·B, N)."""
    return tf.reshape(x, [-1, x.shape[-1]])
