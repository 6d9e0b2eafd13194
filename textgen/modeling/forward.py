"""From ids to logits: fast, on weights put in order once, or by the Keras layers.

Both are time-major inside: logits are (T·B, V), the first time step's batch first. The
fast way ends before the dense layer, of which a training may need only a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from textgen.modeling.gru import GRU
from textgen.modeling.lstm import LSTM
from textgen.modeling.model import recurrent_layers
from textgen.modeling.ops import drop
from textgen.modeling.sequence import Cell, State, look_up, rows, run_sequence
from textgen.modeling.simple_rnn import SIMPLE_RNN

CELLS = {
    keras.layers.LSTM: LSTM,
    keras.layers.GRU: GRU,
    keras.layers.SimpleRNN: SIMPLE_RNN,
}


class LayerWeights(NamedTuple):
    """One recurrent layer's weights, gates in the order of its `Cell`."""

    kernel: tf.Tensor  # of the first layer the embedding times it, (V, GU), if folded
    recurrent_kernel: tf.Tensor
    bias: tf.Tensor


class StackWeights(NamedTuple):
    """All weights of a network as `fast_outputs` takes them."""

    layers: tuple[LayerWeights, ...]
    dense_kernel: tf.Tensor
    dense_bias: tf.Tensor
    embedding: tuple[tf.Tensor, ...] = ()  # (V, D), unless it is folded


def cell_of(model: keras.Model) -> Cell:
    """Return what the recurrent layers of a network of `build_model` compute."""
    return CELLS[type(recurrent_layers(model)[0])]


def read_weights(model: keras.Model, *, folded: bool = True) -> StackWeights:
    """Read the variables of a network of `textgen.modeling.model.build_model`, float32.

    It is done once a step for all shards. A tape can follow it back to the variables.
    The embedding is ``folded`` into the first kernel, so that a look-up takes the place
    of a product. That pays as long as there are fewer symbols than a batch has, since
    both the folding and the gradient of the look-up take V·GU for something.
    """
    table = model.layers[1].embeddings.value
    layers: list[LayerWeights] = []
    in_order = cell_of(model).in_order
    for layer in recurrent_layers(model):
        kernel = in_order(layer.cell.kernel.value)
        if not layers and folded:
            kernel = tf.matmul(table, kernel)
        recurrent_kernel = in_order(layer.cell.recurrent_kernel.value)
        bias = in_order(layer.cell.bias.value)
        layers.append(LayerWeights(kernel, recurrent_kernel, bias))
    head = model.layers[-1]
    kernel, bias = tf.identity(head.kernel.value), tf.identity(head.bias.value)
    embedding = () if folded else (tf.identity(table),)
    return StackWeights(tuple(layers), kernel, bias, embedding)


def round_kernels(weights: StackWeights, precision: str) -> StackWeights:
    """Give embedding and recurrent layers' kernels the type of products' operands.

    That is ``float32`` or ``bfloat16``. Gates, memories, biases, the dense layer's
    weights and the logits are float32 in both.
    """
    dtype = tf.as_dtype(precision)
    layers = [
        LayerWeights(tf.cast(kernel, dtype), tf.cast(recurrent, dtype), bias)
        for kernel, recurrent, bias in weights.layers
    ]
    embedding = tuple(tf.cast(table, dtype) for table in weights.embedding)
    return weights._replace(layers=tuple(layers), embedding=embedding)


def dropout_rates(model: keras.Model) -> tuple[float, ...]:
    """Return the dropout of input symbols and that after each layer, 0 if none."""
    rates = [0.0]
    for layer in model.layers:
        if isinstance(layer, keras.layers.RNN):
            rates.append(0.0)
        elif isinstance(layer, keras.layers.Dropout):
            rates[-1] = layer.rate
    return tuple(rates)


def fast_outputs(
    cell: Cell,
    weights: StackWeights,
    ids: tf.Tensor,
    rates: tuple[float, ...],
    dropout_seed: tf.Tensor | None = None,
    states: Sequence[State] = (),
) -> tuple[tf.Tensor, list[State]]:
    """Compute what the last layer gives for int32 ids (B, T): (T·B, U), maybe dropped.

    B and T must be known when traced. The seed is (2,) int32; the place of each dropout
    in `dropout_rates` is added to its first number. Without one nothing is dropped. The
    layers begin in their ``states``, see `run_sequence`, or zeros if there are none;
    those in which they end are returned, too.
    """
    batch, ids = ids.shape[0], tf.transpose(ids)
    (table,) = weights.embedding or (weights.layers[0].kernel,)
    if dropout_seed is not None and rates[0]:
        x = _look_up_some(table, ids, rates[0], dropout_seed)
    else:
        x = look_up(table, ids)
    ends = []
    for number, layer in enumerate(weights.layers, start=1):
        if number > 1 or weights.embedding:
            product = tf.matmul(rows(x), layer.kernel)
            x = tf.reshape(product, [-1, batch, product.shape[-1]])
        state = states[number - 1] if states else None
        recurrent = layer.recurrent_kernel, layer.bias
        x, end = run_sequence(cell, x, *recurrent, state)
        x = _dropped(x, rates, number, dropout_seed)
        ends.append(end)
    return rows(x), ends


def layer_logits(
    model: keras.Model,
    ids: tf.Tensor,
    dropout_seed: tf.Tensor | None = None,
    states: Sequence[State] = (),
) -> tuple[tf.Tensor, list[State]]:
    """Compute the logits (T·B, V) float32 by calling the ordinary Keras layers.

    For devices that have kernels of their own for these layers (cuDNN), and the
    reference that the fast path is tested against.
    """
    rates, ends = dropout_rates(model), []
    x = model.layers[1](ids)
    if dropout_seed is not None and rates[0]:
        shown = drop(tf.ones([*tf.transpose(ids).shape, 1]), rates[0], dropout_seed)
        x *= tf.transpose(shown, [1, 0, 2])
    for number, layer in enumerate(recurrent_layers(model), start=1):
        state = states[number - 1] if states else None
        x, end = _layer_output(layer, x, state)
        x = tf.transpose(x, [1, 0, 2])
        x = tf.transpose(_dropped(x, rates, number, dropout_seed), [1, 0, 2])
        ends.append(end)
    head = model.layers[-1]
    x = rows(tf.transpose(x, [1, 0, 2]))
    return tf.matmul(x, head.kernel) + head.bias, ends


def _layer_output(
    layer: keras.layers.RNN, x: tf.Tensor, state: State | None
) -> tuple[tf.Tensor, State]:
    """Return a layer's output (B, T, U) and the state in which it ends."""
    # It is a setting of the layer, which is saved without it.
    layer.return_state = True
    try:
        output, *end = layer(x, initial_state=None if state is None else list(state))
    finally:
        layer.return_state = False
    return output, tuple(end)


def _look_up_some(
    table: tf.Tensor, ids: tf.Tensor, rate: float, seed: tf.Tensor
) -> tf.Tensor:
    """Look up rows for ids (T, B), but zeros for those that dropout hides.

    They are another symbol, whose row is zero: that costs no pass over the rows.
    """
    shown = drop(tf.ones([*ids.shape, 1]), rate, seed)[..., 0]
    hidden = tf.zeros([1, table.shape[1]], table.dtype)
    table = tf.concat([table * tf.cast(1 / (1 - rate), table.dtype), hidden], axis=0)
    return look_up(table, tf.where(shown > 0, ids, table.shape[0] - 1))


def _dropped(
    x: tf.Tensor, rates: tuple[float, ...], number: int, seed: tf.Tensor | None
) -> tf.Tensor:
    if seed is None or not rates[number]:
        return x
    return drop(x, rates[number], seed + tf.constant([number, 0]))
