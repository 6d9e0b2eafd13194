"""A recurrent layer's whole sequence with its own gradient, for any kind of cell.

Keras' recurrent layers multiply inside their time loop and let TensorFlow derive the
backward pass, one small product for the weights' gradient at each time step. Here the
input's product is a single large one (for the first layer a table look-up), the
backward loop keeps the gradients of the gates, and after it each weight's gradient is
one large product. Arrays are time-major, (T, B, …). Outputs and gradients equal those
of Keras' layers to float32 rounding.

What a step computes is a `Cell`: `textgen.modeling.lstm`, `gru` and `simple_rnn` have
one each.

Source: Appleyard et al. 2016 (arXiv 1604.01946) for gathering the products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

# An unrolled loop is the fastest, but the time to compile it grows faster than its
# length: at 2x64 LSTM units 2 s of processor time for 64 steps, 7 for 256, 35 for
# 1,000. A loop over chunks takes 4 s for any length, and up to a fifth more for each
# step.
MAX_UNROLLED_STEPS = 256
CHUNK_STEPS = 64

# The output h, of the products' type, and what else a cell remembers, float32, all
# (B, U); or the gradients of them.
State = tuple[tf.Tensor, ...]
# Of each step what its gradient needs: the memories before it, then what it has saved.
Saved = list[tuple[tf.Tensor, ...]]
# From the outputs' gradient (T, B, U) to those of the sums of the gates.
Backward = Callable[[tf.Tensor], tuple[tf.Tensor, ...]]


class Cell(NamedTuple):
    """What `run_sequence` must know of a kind of recurrent layer with G gates.

    A step takes the input's product, the state's product, the bias and the memories; it
    returns h, the memories after it, and more that its gradient needs. The gradient
    takes the memories before the step and what that saved, then the gradients of its
    h by the output and by the next step, and of its memories. It returns the gradients
    of both products, or one for both where they are only added, and of the memories
    before.
    """

    gates: int  # G
    memories: int  # arrays of the state besides h
    saved: tuple[int, ...]  # widths of what a step saves, in units
    products: int  # gradients of products, and biases: 1, or 2 if both are needed
    in_order: Callable[[tf.Tensor], tf.Tensor]  # gates (…, GU) of Keras in our order
    step: Callable[..., tuple[tf.Tensor, State, State]]
    gradient: Callable[..., tuple[State, State]]


def run_sequence(
    cell: Cell,
    projected: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    bias: tf.Tensor,
    state: State | None = None,
) -> tuple[tf.Tensor, State]:
    """Run one recurrent layer over a whole sequence → outputs (T, B, U), last state.

    ``projected`` (T, B, GU) is the product of input and kernel, with gates in the
    order of the cell. Its type, float32 or bfloat16, is that of the recurrent kernel
    (U, GU), of every product's operands and of the outputs. Memories and the bias are
    float32 in both. The bias is added in the cell: added to the product it would cost
    another pass over memory.

    States are float32, (B, U) each; None means zeros. No gradient goes into the first
    or comes out of the last.
    """
    length, batch = projected.shape[:2]
    first = _zero_state(cell, projected)
    if state is not None:
        first = (tf.cast(state[0], projected.dtype), *state[1:])

    @tf.custom_gradient
    def run(projected: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> Any:
        loop = _run_unrolled if length <= MAX_UNROLLED_STEPS else _run_in_chunks
        sequence, memories, run_backward = loop(cell, projected, kernel, bias, first)

        def gradient(d_sequence: tf.Tensor, *of_last: tf.Tensor) -> Any:
            d_products = run_backward(d_sequence)
            of_state = d_products[-1]
            # Each gradient meets the h before its step, which is zeros at first.
            d_kernel = tf.matmul(
                rows(sequence[:-1]), rows(of_state[1:]), transpose_a=True
            )
            if state is not None:
                d_kernel += tf.matmul(first[0], of_state[0], transpose_a=True)
            # A product too: `tf.reduce_sum` takes several times as long.
            ones = tf.ones([1, length * batch], of_state.dtype)
            sums = [tf.matmul(ones, rows(x)) for x in d_products]
            d_bias = tf.cast(tf.reshape(tf.concat(sums, 0), bias.shape), tf.float32)
            return d_products[0], d_kernel, d_bias

        return (sequence, *memories), gradient

    sequence, *memories = run(projected, recurrent_kernel, bias)
    return sequence, (tf.cast(sequence[-1], tf.float32), *memories)


def _run_unrolled(
    cell: Cell, projected: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, first: State
) -> tuple[tf.Tensor, State, Backward]:
    """Return outputs (T, B, U), the last memories, and the way back."""
    steps = tf.unstack(projected)
    saved, outputs, last = _forward_steps(cell, steps, first, kernel, bias)
    zeros = _zero_state(cell, projected)

    def run_backward(d_sequence: tf.Tensor) -> tuple[tf.Tensor, ...]:
        d_products, _ = _backward_steps(
            cell, saved, tf.unstack(d_sequence), zeros, kernel
        )
        return tuple(tf.stack(same) for same in zip(*d_products, strict=True))

    return tf.stack(outputs), last[1:], run_backward


def _run_in_chunks(
    cell: Cell, projected: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, first: State
) -> tuple[tf.Tensor, State, Backward]:
    """Do what `_run_unrolled` does, by the same operations, in a loop over chunks.

    Only the steps of one chunk are unrolled, so that the graph doesn't grow with the
    length. Zeros fill up the last chunk; they come after all that counts.
    """
    length, batch, gates = projected.shape
    count, units = -(-length // CHUNK_STEPS), gates // cell.gates
    missing = [[0, count * CHUNK_STEPS - length], [0, 0], [0, 0]]

    def cut(sequence: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.pad(sequence, missing), [count, CHUNK_STEPS, batch, -1])

    def join(chunks: tf.Tensor) -> tf.Tensor:
        return tf.reshape(chunks, [count * CHUNK_STEPS, batch, -1])[:length]

    def of_a_chunk(width: int, dtype: tf.DType = tf.float32) -> tf.Tensor:
        return tf.zeros([CHUNK_STEPS, batch, width], dtype)

    def forward(before: tuple, x: tf.Tensor) -> tuple:
        steps, outputs, state = _forward_steps(
            cell, tf.unstack(x), before[0], kernel, bias
        )
        saved = [tf.stack(same) for same in zip(*steps, strict=True)]
        return state, saved, tf.stack(outputs)

    zeros, dtype = _zero_state(cell, projected), projected.dtype
    widths = (*[1] * cell.memories, *cell.saved)
    saved = [of_a_chunk(width * units) for width in widths]
    before = first, saved, of_a_chunk(units, dtype)
    states, saved, outputs = tf.scan(forward, cut(projected), before)

    def backward(after: tuple, chunk: tuple) -> tuple:
        saved, d_outputs = chunk
        steps = list(zip(*map(tf.unstack, saved), strict=True))
        d_products, d_state = _backward_steps(
            cell, steps, tf.unstack(d_outputs), after[0], kernel
        )
        return d_state, [tf.stack(same) for same in zip(*d_products, strict=True)]

    def run_backward(d_sequence: tf.Tensor) -> tuple[tf.Tensor, ...]:
        chunks = saved, cut(d_sequence)
        after = zeros, [of_a_chunk(gates, dtype)] * cell.products
        return tuple(map(join, tf.scan(backward, chunks, after, reverse=True)[1]))

    # What the zeros at the end came after is the memory before the first of them.
    chunk, step = divmod(length, CHUNK_STEPS)
    ends = [state[-1] for state in states[1:]]
    if step:
        ends = [saved[number][chunk, step] for number in range(cell.memories)]
    return join(outputs), tuple(ends), run_backward


def _zero_state(cell: Cell, projected: tf.Tensor) -> State:
    shape = [projected.shape[1], projected.shape[2] // cell.gates]
    memories = [tf.zeros(shape) for _ in range(cell.memories)]
    return tf.zeros(shape, projected.dtype), *memories


def _forward_steps(
    cell: Cell, xs: list[tf.Tensor], state: State, kernel: tf.Tensor, bias: tf.Tensor
) -> tuple[Saved, list[tf.Tensor], State]:
    """Run steps in order; return what their gradient needs, outputs and last state."""
    h, memories = state[0], state[1:]
    saved, outputs = [], []
    for x in xs:
        before = memories
        h, memories, more = cell.step(x, tf.matmul(h, kernel), bias, *before)
        saved.append((*before, *more))
        outputs.append(h)
    return saved, outputs, (h, *memories)


def _backward_steps(
    cell: Cell,
    saved: Saved,
    d_outputs: list[tf.Tensor],
    d_state: State,
    kernel: tf.Tensor,
) -> tuple[list[State], State]:
    """Go back from the last step.

    Returns the gradients of the products, in the order of time, and of the state.
    """
    dh, d_memories = d_state[0], d_state[1:]
    steps = []
    for kept, d_output in zip(reversed(saved), reversed(d_outputs), strict=True):
        d_products, d_memories = cell.gradient(*kept, d_output, dh, *d_memories)
        dh = tf.matmul(d_products[-1], kernel, transpose_b=True)
        steps.append(d_products)
    return steps[::-1], (dh, *d_memories)


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
