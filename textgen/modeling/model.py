"""`ModelConfig` → `keras.Model`: symbol ids in, probabilities of the next symbol out.

    ids (B, T) ─► Embedding ─► Dropout ─► [LSTM ─► Dropout] × layers ─► Dense softmax

In the place of LSTM there may be another recurrent layer, GRU or SimpleRNN.

Only standard layers, so that `keras.models.load_model` opens a saved model as it is.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

from textgen.config import ModelConfig
from textgen.inference.weights import (
    GRUWeights,
    LSTMWeights,
    Network,
    OneDirection,
    SimpleRNNWeights,
)

# By the names of `ModelConfig.cell`; of which Keras' defaults are what is built.
LAYERS = {
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
    "rnn": keras.layers.SimpleRNN,
}


def build_model(
    config: ModelConfig, vocabulary_size: int, *, targets: str = "all", seed: int = 0
) -> keras.Model:
    """Build the untrained network.

    Weights start as in Keras: Glorot-uniform kernels, orthogonal recurrent kernels,
    an LSTM's forget-gate bias one (Jozefowicz et al. 2015). `predict_frequencies` gives
    the logits better biases than zeros. One-hot input is a frozen embedding whose table
    is the identity, so that no one-hot array is ever made.

    Inputs are int32 ids (B, T), of any T. Outputs are float32 probabilities, for
    targets ``all`` (B, T, V), at each position, and for ``last`` (B, V), after the
    window. The seed determines the weights, and the dropout of Keras' own layers.
    """
    of_weights = np.random.SeedSequence(seed)
    seeds = _seeds(of_weights, 2 * config.layers + 2)
    # Layers without a seed would take theirs from Python's global random state.
    layer_seeds = _seeds(of_weights.spawn(1)[0], 2 * config.layers + 1)
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = _input_layer(config, vocabulary_size, next(seeds))(ids)
    if config.input_dropout:
        x = keras.layers.Dropout(
            config.input_dropout,
            noise_shape=(None, None, 1),  # whole symbols
            seed=next(layer_seeds),
            name="dropout_0",
        )(x)
    for number in range(1, config.layers + 1):
        x = LAYERS[config.cell](
            config.units,
            return_sequences=targets == "all" or number < config.layers,
            kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
            recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
            seed=next(layer_seeds),
            name=f"{config.cell}_{number}",
        )(x)
        if config.dropout:
            x = keras.layers.Dropout(
                config.dropout, seed=next(layer_seeds), name=f"dropout_{number}"
            )(x)
    probabilities = keras.layers.Dense(
        vocabulary_size,
        activation="softmax",
        kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
        name="probabilities",
    )(x)
    return keras.Model(ids, probabilities, name="textgen")


def predict_frequencies(model: keras.Model, counts: np.ndarray) -> None:
    """Let an untrained network predict each symbol as often as it comes in a text.

    The biases of the logits become the logarithms of the relative frequencies, of
    ``counts`` (V,) plus one each. From zeros, a network of thousands of words spends
    hundreds of steps on learning no more than that. One layer of characters gains, too,
    and two layers of them mostly lose (docs/experiments.md). Source: Karpathy, "A
    Recipe for Training Neural Networks" (2019), on how to begin.
    """
    frequencies = (counts + 1) / (counts + 1).sum()
    model.layers[-1].bias.assign(np.log(frequencies))


def recurrent_layers(model: keras.Model) -> list[keras.layers.RNN]:
    """Return the recurrent layers of a network of `build_model`, first to last."""
    return [layer for layer in model.layers if isinstance(layer, keras.layers.RNN)]


def network_of(model: keras.Model) -> Network:
    """Copy the weights of a network of `build_model`, for the NumPy decoder."""
    arrays = {layer.name: layer.get_weights() for layer in model.layers}
    layers = recurrent_layers(model)
    cells = [_weights_of(layer, arrays[layer.name]) for layer in layers]
    kernel, bias = arrays["probabilities"]
    return Network(arrays[model.layers[1].name][0], tuple(cells), kernel, bias)


def set_network(
    model: keras.Model, network: Network, source: np.ndarray | None = None
) -> None:
    """Copy weights into a network of `build_model`, which may have more symbols.

    Symbol i starts as symbol ``source[i]`` of the weights; None means as itself. New
    ones, where that is -1, keep the fresh model's random start, but for their biases:
    these start at the lowest known one, since nothing has been seen of them yet.
    """
    symbols = model.output_shape[-1]
    if source is None:
        source = np.arange(symbols)
        source[network.vocabulary_size :] = -1
    known = np.flatnonzero(source >= 0)
    rows = source[known]
    cells = [layer.cell for layer in recurrent_layers(model)]
    recurrent = [x for x in network.layers if isinstance(x, OneDirection)]
    for cell, weights in zip(cells, recurrent, strict=True):
        cell.recurrent_kernel.assign(weights.recurrent_kernel)
        cell.bias.assign(_bias_of(weights))
    for cell, weights in zip(cells[1:], recurrent[1:], strict=True):
        cell.kernel.assign(weights.kernel)
    table, dense = model.layers[1], model.layers[-1]
    if network.embedding is not None and table.trainable:
        _set_rows(table.embeddings, known, network.embedding[rows])
        cells[0].kernel.assign(recurrent[0].kernel)
    else:  # of one-hot input, each symbol has a row of the first kernel
        _set_rows(cells[0].kernel, known, recurrent[0].kernel[rows])
    kernel, bias = np.array(dense.kernel), np.full(symbols, network.dense_bias.min())
    kernel[:, known] = network.dense_kernel[:, rows]
    bias[known] = network.dense_bias[rows]
    dense.set_weights([kernel, bias])


def _weights_of(layer: keras.layers.RNN, arrays: list[np.ndarray]) -> OneDirection:
    kernel, recurrent_kernel, bias = arrays
    if isinstance(layer, keras.layers.GRU):
        return GRUWeights(kernel, recurrent_kernel, *bias)
    if isinstance(layer, keras.layers.SimpleRNN):
        return SimpleRNNWeights(kernel, recurrent_kernel, bias)
    return LSTMWeights(kernel, recurrent_kernel, bias)


def _bias_of(weights: OneDirection) -> np.ndarray:
    """Return the bias as Keras' layer has it."""
    if isinstance(weights, GRUWeights) and weights.recurrent_bias is not None:
        return np.stack([weights.bias, weights.recurrent_bias])
    return weights.bias


def _set_rows(variable: keras.Variable, places: np.ndarray, rows: np.ndarray) -> None:
    array = np.array(variable)
    array[places] = rows
    variable.assign(array)


def _seeds(sequence: np.random.SeedSequence, count: int) -> Iterator[int]:
    return iter((sequence.generate_state(count) & 0x7FFFFFFF).tolist())


def _input_layer(config: ModelConfig, vocabulary_size: int, seed: int) -> keras.Layer:
    if config.embedding:
        return keras.layers.Embedding(
            vocabulary_size,
            config.embedding,
            embeddings_initializer=keras.initializers.RandomUniform(-0.05, 0.05, seed),
            name="embedding",
        )
    return keras.layers.Embedding(
        vocabulary_size,
        vocabulary_size,
        embeddings_initializer=keras.initializers.Identity(),
        trainable=False,
        name="one_hot",
    )
