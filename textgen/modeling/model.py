"""`ModelConfig` → `keras.Model`: symbol ids in, probabilities of the next symbol out.

    ids (B, T) ─► Embedding ─► Dropout ─► [LSTM ─► Dropout] × layers ─► Dense softmax

Only standard layers, so that `keras.models.load_model` opens a saved model as it is.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

from textgen.config import ModelConfig
from textgen.inference.weights import LSTMWeights, Network


def build_model(
    config: ModelConfig, vocabulary_size: int, *, targets: str = "all", seed: int = 0
) -> keras.Model:
    """Build the untrained network.

    Weights start as in Keras: Glorot-uniform kernels, orthogonal recurrent kernels,
    forget-gate bias one (Jozefowicz et al. 2015). One-hot input is a frozen embedding
    whose table is the identity, so that no one-hot array is ever made.

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
        x = keras.layers.LSTM(
            config.units,
            return_sequences=targets == "all" or number < config.layers,
            kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
            recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
            seed=next(layer_seeds),
            name=f"lstm_{number}",
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


def lstm_layers(model: keras.Model) -> list[keras.layers.LSTM]:
    """Return the LSTM layers of a network of `build_model`, first to last."""
    return [layer for layer in model.layers if isinstance(layer, keras.layers.LSTM)]


def network_of(model: keras.Model) -> Network:
    """Copy the weights of a network of `build_model`, for the NumPy decoder."""
    arrays = {layer.name: layer.get_weights() for layer in model.layers}
    cells = [LSTMWeights(*arrays[layer.name]) for layer in lstm_layers(model)]
    kernel, bias = arrays["probabilities"]
    return Network(arrays[model.layers[1].name][0], tuple(cells), kernel, bias)


def set_network(model: keras.Model, network: Network) -> None:
    """Copy weights into a network of `build_model`, which may have more symbols.

    Rows of symbols that are new keep the fresh model's random start; their biases
    start at the lowest known one, since nothing has been seen of them yet.
    """
    _fill(model.layers[1].embeddings, network.embedding)
    for layer, known in zip(lstm_layers(model), network.layers, strict=True):
        for name in ("kernel", "recurrent_kernel", "bias"):
            _fill(getattr(layer.cell, name), getattr(known, name))
    dense = model.layers[-1]
    _fill(dense.kernel, network.dense_kernel)
    dense.bias.assign(np.full(dense.bias.shape, network.dense_bias.min()))
    _fill(dense.bias, network.dense_bias)


def _fill(variable: keras.Variable, known: np.ndarray | None) -> None:
    """Replace the leading corner of a variable by ``known``."""
    assert known is not None, "networks of Keras have a table, of one-hot input too"
    array = np.array(variable)
    array[tuple(slice(n) for n in known.shape)] = known
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
