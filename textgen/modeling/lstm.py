"""An LSTM layer's whole sequence with its own gradient.

`keras.layers.LSTM` multiplies inside its time loop and lets TensorFlow derive the
backward pass, one small product for the weights' gradient at each time step. Here the
input's product is a single large one (for the first layer a table look-up), the
backward loop keeps the gradients of the gates, and after it each weight's gradient is
one large product. Arrays are time-major, (T, B, …). Outputs and gradients equal those
of Keras' layer to float32 rounding.

Sources: Hochreiter & Schmidhuber 1997; Gers et al. 2000 for the forget gate;
Appleyard et al. 2016 (arXiv 1604.01946) for gathering the products.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from textgen.modeling.ops import elementwise

# An unrolled loop is the fastest, but the time to compile it grows faster than its
# length: at 2x64 units 2 s of processor time for 64 steps, 7 for 256, 35 for 1,000.
# A loop over chunks takes 4 s for any length, and up to a fifth more for each step.
MAX_UNROLLED_STEPS = 256
CHUNK_STEPS = 64

# h and c, (B, U) each, or the gradients of both.
State = tuple[tf.Tensor, tf.Tensor]
# Of each step gates (B, 4U), c before it (B, U) and tanh of c after it (B, U).
Saved = list[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


def tanh_gates(kernel: tf.Tensor) -> tf.Tensor:
    """Reorder the last axis (…, 4U) from Keras' gates i, f, c, o to i, f, o, c.

    The first three are halved, so that one tanh serves all: σ(z) = ½ + ½ tanh(z/2).
    """
    i, f, c, o = tf.split(kernel, 4, axis=-1)
    return tf.concat([i / 2, f / 2, o / 2, c], axis=-1)


@elementwise
def _cell(
    x: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor, c_prev: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Run a step of the cell: gates, c, tanh of c, and h of the type of ``x``."""
    units = c_prev.shape[-1]
    z = tf.cast(x, tf.float32) + tf.cast(recurrent, tf.float32) + bias
    gates = tf.tanh(z)
    i, f, o = (0.5 + 0.5 * gates[:, n * units : (n + 1) * units] for n in range(3))
    c = f * c_prev + i * gates[:, 3 * units :]
    tanh_c = tf.tanh(c)
    return gates, c, tanh_c, tf.cast(o * tanh_c, x.dtype)


@elementwise
def _cell_gradient(
    gates: tf.Tensor,
    c_prev: tf.Tensor,
    tanh_c: tf.Tensor,
    dh: tf.Tensor,
    dh_next: tf.Tensor,
    dc_next: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
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
    """Run one LSTM layer over a whole sequence from zero state → (T, B, U).

    ``projected`` (T, B, 4U) is the product of input and kernel, with gates in the order
    i, f, o, c. Its type, float32 or bfloat16, is that of the recurrent kernel (U, 4U),
    of every product's operands and of the outputs. The cell state and the bias (4U,)
    are float32 in both. The bias is added in the cell: added to the product it would
    cost another pass over memory.
    """
    length, batch = projected.shape[:2]
    run = _run_unrolled if length <= MAX_UNROLLED_STEPS else _run_in_chunks
    sequence, run_backward = run(projected, recurrent_kernel, bias)

    def gradient(d_sequence: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        dz = run_backward(d_sequence)
        # The first step multiplies zeros, so that each dz meets the h before it.
        d_kernel = tf.matmul(rows(sequence[:-1]), rows(dz[1:]), transpose_a=True)
        # A product too: `tf.reduce_sum` takes several times as long.
        ones = tf.ones([1, length * batch], dz.dtype)
        d_bias = tf.cast(tf.matmul(ones, rows(dz))[0], tf.float32)
        return dz, d_kernel, d_bias

    return sequence, gradient


def _run_unrolled(
    projected: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Return outputs (T, B, U), and a function from their gradient to dz (T, B, 4U)."""
    zeros = _zero_state(projected)
    saved, outputs, _ = _forward_steps(tf.unstack(projected), zeros, kernel, bias)

    def run_backward(d_sequence: tf.Tensor) -> tf.Tensor:
        dz, _ = _backward_steps(saved, tf.unstack(d_sequence), zeros, kernel)
        return tf.stack(dz)

    return tf.stack(outputs), run_backward


def _run_in_chunks(
    projected: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Do what `_run_unrolled` does, by the same operations, in a loop over chunks.

    Only the steps of one chunk are unrolled, so that the graph doesn't grow with the
    length. Zeros fill up the last chunk; they come after all that counts.
    """
    length, batch, gates = projected.shape
    count, units = -(-length // CHUNK_STEPS), gates // 4
    missing = [[0, count * CHUNK_STEPS - length], [0, 0], [0, 0]]

    def cut(sequence: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.pad(sequence, missing), [count, CHUNK_STEPS, batch, -1])

    def join(chunks: tf.Tensor) -> tf.Tensor:
        return tf.reshape(chunks, [count * CHUNK_STEPS, batch, -1])[:length]

    def of_a_chunk(width: int, dtype: tf.DType = tf.float32) -> tf.Tensor:
        return tf.zeros([CHUNK_STEPS, batch, width], dtype)

    def forward(before: tuple, x: tf.Tensor) -> tuple:
        steps, outputs, state = _forward_steps(tf.unstack(x), before[0], kernel, bias)
        saved = [tf.stack(same) for same in zip(*steps, strict=True)]
        return state, saved, tf.stack(outputs)

    zeros, dtype = _zero_state(projected), projected.dtype
    saved = [of_a_chunk(gates), of_a_chunk(units), of_a_chunk(units)]
    first = zeros, saved, of_a_chunk(units, dtype)
    _, saved, outputs = tf.scan(forward, cut(projected), first)

    def backward(after: tuple, chunk: tuple) -> tuple:
        saved, d_outputs = chunk
        steps = list(zip(*map(tf.unstack, saved), strict=True))
        dz, d_state = _backward_steps(steps, tf.unstack(d_outputs), after[0], kernel)
        return d_state, tf.stack(dz)

    def run_backward(d_sequence: tf.Tensor) -> tf.Tensor:
        chunks, first = (saved, cut(d_sequence)), (zeros, of_a_chunk(gates, dtype))
        return join(tf.scan(backward, chunks, first, reverse=True)[1])

    return join(outputs), run_backward


def _zero_state(projected: tf.Tensor) -> State:
    shape = [projected.shape[1], projected.shape[2] // 4]
    return tf.zeros(shape, projected.dtype), tf.zeros(shape)


def _forward_steps(
    xs: list[tf.Tensor], state: State, kernel: tf.Tensor, bias: tf.Tensor
) -> tuple[Saved, list[tf.Tensor], State]:
    """Run steps in order; return what their gradient needs, outputs and last state."""
    h, c = state
    saved, outputs = [], []
    for x in xs:
        c_prev = c
        gates, c, tanh_c, h = _cell(x, tf.matmul(h, kernel), bias, c_prev)
        saved.append((gates, c_prev, tanh_c))
        outputs.append(h)
    return saved, outputs, (h, c)


def _backward_steps(
    saved: Saved, d_outputs: list[tf.Tensor], d_state: State, kernel: tf.Tensor
) -> tuple[list[tf.Tensor], State]:
    """Go back from the last step; return dz in the order of time, and d_state."""
    dh, dc = d_state
    dz_steps = []
    for kept, d_output in zip(reversed(saved), reversed(d_outputs), strict=True):
        dz, dc = _cell_gradient(*kept, d_output, dh, dc)
        dh = tf.matmul(dz, kernel, transpose_b=True)
        dz_steps.append(dz)
    return dz_steps[::-1], (dh, dc)


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
