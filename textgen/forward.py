"""From ids to logits: fast, on weights put in order once, or by the Keras layers.

Both are time-major inside: logits are (T·B, V), the batch of the first time step
first.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from textgen.dropout import drop
from textgen.output_layer import dense
from textgen.recurrent import gates_first, look_up, lstm_sequence, rows


class LayerWeights(NamedTuple):
    """One LSTM layer's weights, gates in order i, f, o, c.

    The first layer's kernel is the embedding times it, (V, 4U): a row for each symbol.
    """

    kernel: tf.Tensor
    recurrent_kernel: tf.Tensor
    bias: tf.Tensor


class StackWeights(NamedTuple):
    """All weights of a network as `fast_logits` takes them."""

    layers: tuple[LayerWeights, ...]
    dense_kernel: tf.Tensor
    dense_bias: tf.Tensor


def read_weights(model: keras.Model) -> StackWeights:
    """Read the variables of a network of `textgen.model.build_model`, float32.

    Once a step, whatever number of parts its batch is cut into. A tape can follow it
    back to the variables.
    """
    layers = []
    for lstm, _ in _recurrent_layers(model):
        kernel = gates_first(lstm.cell.kernel.value)
        if not layers:
            # The embedding folded into the first kernel: a look-up, not a product.
            kernel = tf.matmul(model.layers[1].embeddings.value, kernel)
        recurrent_kernel = gates_first(lstm.cell.recurrent_kernel.value)
        bias = gates_first(lstm.cell.bias.value)
        layers.append(LayerWeights(kernel, recurrent_kernel, bias))
    head = model.layers[-1]
    kernel, bias = tf.identity(head.kernel.value), tf.identity(head.bias.value)
    return StackWeights(tuple(layers), kernel, bias)


def round_kernels(weights: StackWeights, precision: str) -> StackWeights:
    """Give the LSTM layers' kernels the type of their products' operands.

    Args:
        weights: as read, float32.
        precision: ``float32`` or ``bfloat16``. Gates, cell state, biases, the dense
            layer's weights and the logits are float32 in both.
    """
    dtype = tf.as_dtype(precision)
    layers = [
        LayerWeights(
            tf.cast(layer.kernel, dtype),
            tf.cast(layer.recurrent_kernel, dtype),
            layer.bias,
        )
        for layer in weights.layers
    ]
    return weights._replace(layers=tuple(layers))


def dropout_rates(model: keras.Model) -> tuple[float, ...]:
    """Return the rate of the dropout after each LSTM layer (0 if none)."""
    return tuple(rate for _, rate in _recurrent_layers(model))


def fast_logits(
    weights: StackWeights,
    ids: tf.Tensor,
    rates: tuple[float, ...] = (),
    dropout_seed: tf.Tensor | None = None,
) -> tf.Tensor:
    """Compute the logits at every position.

    Args:
        weights: with kernels of one type, see `round_kernels`.
        ids: (B, T) int32 symbol ids; B and T must be known when traced.
        rates: of the dropout after each layer.
        dropout_seed: (2,) int32, a layer's number is added to the first; None means
            no dropout.

    Returns:
        Logits (T·B, V) float32.
    """
    batch = ids.shape[0]
    x = None
    for number, layer in enumerate(weights.layers):
        if x is None:
            projected = look_up(layer.kernel, tf.transpose(ids))
        else:
            product = tf.matmul(rows(x), layer.kernel)
            projected = tf.reshape(product, [-1, batch, product.shape[-1]])
        x = lstm_sequence(projected, layer.recurrent_kernel, layer.bias)
        if dropout_seed is not None and rates[number]:
            x = drop(x, rates[number], _layer_seed(dropout_seed, number))
    return dense(rows(x), weights.dense_kernel, weights.dense_bias)


def layer_logits(
    model: keras.Model, ids: tf.Tensor, dropout_seed: tf.Tensor | None = None
) -> tf.Tensor:
    """Compute what `fast_logits` does by calling the ordinary Keras layers.

    For devices that have kernels of their own for these layers (cuDNN), and the
    reference that the fast path is tested against.
    """
    x = model.layers[1](ids)
    for number, (lstm, rate) in enumerate(_recurrent_layers(model)):
        x = lstm(x)
        if dropout_seed is not None and rate:
            time_major = tf.transpose(x, [1, 0, 2])
            dropped = drop(time_major, rate, _layer_seed(dropout_seed, number))
            x = tf.transpose(dropped, [1, 0, 2])
    head = model.layers[-1]
    return tf.matmul(rows(tf.transpose(x, [1, 0, 2])), head.kernel) + head.bias


def _recurrent_layers(model: keras.Model) -> list[tuple[keras.layers.LSTM, float]]:
    """Pair each LSTM layer with the rate of the dropout after it (0 if none)."""
    pairs = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.LSTM):
            pairs.append((layer, 0.0))
        elif isinstance(layer, keras.layers.Dropout):
            pairs[-1] = (pairs[-1][0], layer.rate)
    return pairs


def _layer_seed(seed: tf.Tensor, number: int) -> tf.Tensor:
    return seed + tf.constant([number, 0])
