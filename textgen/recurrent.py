"""An LSTM layer's whole sequence with its own gradient, on Keras layers' variables.

`keras.layers.LSTM` multiplies inside its time loop and lets TensorFlow derive the
backward pass, one small weight-gradient product a time step. Here the input side is
one large product (for the first layer a table look-up), the backward loop keeps the
gate gradients, and each weight gradient is one large product after it. Arrays are
time-major, (T, B, …). Outputs and gradients equal the layers' own.

Sources: Hochreiter & Schmidhuber 1997; Gers et al. 2000 for the forget gate;
Appleyard et al. 2016 (arXiv 1604.01946) for gathering the products.
"""

from __future__ import annotations

import keras
import tensorflow as tf

# The cells are element-wise: XLA makes one pass over memory of them. The products
# stay outside, where oneDNN is faster than XLA.
_compiled = tf.function(jit_compile=True, autograph=False)


def gates_first(kernel: tf.Tensor) -> tf.Tensor:
    """Reorder the last axis (…, 4U) from Keras' gates i, f, c, o to i, f, o, c.

    One sigmoid then covers the first three quarters.
    """
    i, f, c, o = tf.split(kernel, 4, axis=-1)
    return tf.concat([i, f, o, c], axis=-1)


@_compiled
def _cell(x, recurrent, c_prev):
    units = c_prev.shape[-1]
    z = tf.cast(x, tf.float32) + tf.cast(recurrent, tf.float32)
    ifo = tf.sigmoid(z[:, : 3 * units])
    g = tf.tanh(z[:, 3 * units :])
    c = ifo[:, units : 2 * units] * c_prev + ifo[:, :units] * g
    tanh_c = tf.tanh(c)
    h = ifo[:, 2 * units :] * tanh_c
    return ifo, g, c, tanh_c, tf.cast(h, x.dtype)


@_compiled
def _cell_gradient(ifo, g, c_prev, tanh_c, dh, dh_next, dc_next):
    units = g.shape[-1]
    i, f, o = ifo[:, :units], ifo[:, units : 2 * units], ifo[:, 2 * units :]
    dh = tf.cast(dh, tf.float32) + tf.cast(dh_next, tf.float32)
    dc = dc_next + dh * o * (1 - tanh_c * tanh_c)
    dz = tf.concat(
        [
            dc * g * i * (1 - i),
            dc * c_prev * f * (1 - f),
            dh * tanh_c * o * (1 - o),
            dc * i * (1 - g * g),
        ],
        axis=-1,
    )
    return tf.cast(dz, dh_next.dtype), dc * f


@tf.custom_gradient
def lstm_sequence(projected: tf.Tensor, recurrent_kernel: tf.Tensor) -> tf.Tensor:
    """Run one LSTM layer over a whole sequence from zero state.

    Args:
        projected: (T, B, 4U), input product plus bias, gates in order i, f, o, c;
            float32 or bfloat16, which is then the type of every product's operands.
            The cell state is float32 in both.
        recurrent_kernel: (U, 4U) of the same type and gate order.

    Returns:
        Outputs (T, B, U) of the type of ``projected``.
    """
    batch, units = projected.shape[1], recurrent_kernel.shape[0]
    first_h = tf.zeros([batch, units], projected.dtype)
    h, c = first_h, tf.zeros([batch, units])
    saved, outputs = [], []
    for x in tf.unstack(projected):
        c_prev = c
        ifo, g, c, tanh_c, h = _cell(x, tf.matmul(h, recurrent_kernel), c_prev)
        saved.append((ifo, g, c_prev, tanh_c))
        outputs.append(h)

    def gradient(d_sequence: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        dh, dc = tf.zeros_like(first_h), tf.zeros_like(c)
        d_steps = tf.unstack(d_sequence)
        dz_steps = [None] * len(saved)
        for t in reversed(range(len(saved))):
            if t + 1 < len(saved):
                dh = tf.matmul(dz_steps[t + 1], recurrent_kernel, transpose_b=True)
            dz_steps[t], dc = _cell_gradient(*saved[t], d_steps[t], dh, dc)
        dz = tf.stack(dz_steps)
        h_before = tf.stack([first_h, *outputs[:-1]])
        return dz, tf.matmul(_rows(h_before), _rows(dz), transpose_a=True)

    return tf.stack(outputs), gradient


def sequence_logits(
    model: keras.Model,
    ids: tf.Tensor,
    *,
    precision: str = "float32",
    dropout_seed: tf.Tensor | None = None,
) -> tf.Tensor:
    """Compute the logits at every position, as `textgen.model`'s network would.

    Args:
        model: a many-to-many network of `textgen.model.build_model`; its variables
            are used.
        ids: (B, T) int32 symbol ids; B and T must be known when traced.
        precision: type of the products' operands, ``float32`` or ``bfloat16``;
            gates, cell state and weights are float32 in both.
        dropout_seed: (2,) int32, a layer's number is added to the first; None means
            no dropout.

    Returns:
        Logits (T, B, V) float32.
    """
    dtype = tf.as_dtype(precision)
    batch = ids.shape[0]
    ids = tf.transpose(ids)
    x = None
    for number, (lstm, rate) in enumerate(_recurrent_layers(model)):
        cell = lstm.cell
        kernel, bias = gates_first(cell.kernel.value), gates_first(cell.bias.value)
        if x is None:
            # The embedding folded into the first kernel: a look-up, not a product.
            table = tf.matmul(model.layers[1].embeddings.value, kernel) + bias
            projected = look_up(tf.cast(table, dtype), ids)
        else:
            product = tf.matmul(_rows(x), tf.cast(kernel, dtype))
            projected = _sequence(product + tf.cast(bias, dtype), batch)
        recurrent = tf.cast(gates_first(cell.recurrent_kernel.value), dtype)
        x = lstm_sequence(projected, recurrent)
        if dropout_seed is not None and rate:
            x = drop(x, rate, _layer_seed(dropout_seed, number))
    return _dense(model, x)


def layer_logits(
    model: keras.Model, ids: tf.Tensor, *, dropout_seed: tf.Tensor | None = None
) -> tf.Tensor:
    """Compute what `sequence_logits` does by calling the ordinary Keras layers.

    For devices that have kernels of their own for these layers (cuDNN), and the
    reference that the fast path is tested against. Same arguments and result.
    """
    x = model.layers[1](ids)
    for number, (lstm, rate) in enumerate(_recurrent_layers(model)):
        x = lstm(x)
        if dropout_seed is not None and rate:
            time_major = tf.transpose(x, [1, 0, 2])
            dropped = drop(time_major, rate, _layer_seed(dropout_seed, number))
            x = tf.transpose(dropped, [1, 0, 2])
    return _dense(model, tf.transpose(x, [1, 0, 2]))


def _recurrent_layers(model: keras.Model) -> list[tuple[keras.layers.LSTM, float]]:
    """Pair each LSTM layer with the rate of the dropout after it (0 if none)."""
    pairs = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.LSTM):
            pairs.append((layer, 0.0))
        elif isinstance(layer, keras.layers.Dropout):
            pairs[-1] = (pairs[-1][0], layer.rate)
    return pairs


def _dense(model: keras.Model, x: tf.Tensor) -> tf.Tensor:
    """Turn the top layer's outputs (T, B, U) into float32 logits (T, B, V)."""
    dense = model.layers[-1]
    product = tf.matmul(_rows(tf.cast(x, tf.float32)), dense.kernel.value)
    return _sequence(product + dense.bias.value, x.shape[1])


@tf.custom_gradient
def look_up(table: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Gather rows of ``table`` (V, N) by ids (T, B) → (T, B, N).

    Its gradient is one product with the one-hot ids, summed in a fixed order and
    faster here than adding row by row.
    """

    def gradient(d_rows: tf.Tensor) -> tuple[tf.Tensor, None]:
        flat = tf.one_hot(tf.reshape(ids, [-1]), table.shape[0], dtype=table.dtype)
        return tf.matmul(flat, _rows(d_rows), transpose_a=True), None

    return tf.gather(table, ids), gradient


def drop(x: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """Inverted dropout that depends on ``seed`` (2,) int32 and on nothing else.

    Sixteen random bits decide for each entry, half the cost of thirty-two; the rate
    is exact to 2⁻¹⁶. Source: Srivastava et al. 2014.
    """
    size = x.shape.num_elements()
    words = tf.random.stateless_uniform(
        [-(-size // 2)], seed, minval=None, maxval=None, dtype=tf.int32
    )
    bits = tf.reshape(tf.bitcast(words, tf.uint16), [-1])[:size]
    return _mask(x, tf.reshape(bits, x.shape), rate)


@_compiled
def _mask(x, bits, rate):
    kept = tf.cast(bits, tf.int32) >= round(rate * 65536)
    return tf.where(kept, x * tf.cast(1 / (1 - rate), x.dtype), tf.zeros_like(x))


def _layer_seed(seed: tf.Tensor, number: int) -> tf.Tensor:
    return seed + tf.constant([number, 0])


def _rows(x: tf.Tensor) -> tf.Tensor:
    """Merge time and batch: (T, B, N) → (T·B, N)."""
    return tf.reshape(x, [-1, x.shape[-1]])


def _sequence(x: tf.Tensor, batch: int) -> tf.Tensor:
    """Undo `_rows`: (T·B, N) → (T, B, N)."""
    return tf.reshape(x, [-1, batch, x.shape[-1]])
