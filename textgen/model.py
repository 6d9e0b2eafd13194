"""`ModelConfig` → `keras.Model`: symbol ids in, probabilities of the next symbol out.

    ids (B, T) ─► Embedding ─► [LSTM ─► Dropout] × layers ─► Dense softmax

Only standard layers, so that `keras.models.load_model` opens a saved model as it is.
"""

from __future__ import annotations

import keras
import numpy as np

from textgen.config import ModelConfig


def build_model(
    config: ModelConfig, vocabulary_size: int, *, targets: str = "all", seed: int = 0
) -> keras.Model:
    """Build the untrained network.

    Weights start as in Keras: Glorot-uniform kernels, orthogonal recurrent kernels,
    forget-gate bias one (Jozefowicz et al. 2015). One-hot input is a frozen embedding
    whose table is the identity, so that no one-hot array is ever made.

    Args:
        config: shape of the network.
        vocabulary_size: V, number of symbols.
        targets: ``all``, output (B, T, V), a prediction at each position; ``last``,
            output (B, V), one prediction after the window.
        seed: determines the initial weights.

    Returns:
        A Keras model from int32 ids (B, T), any T, to float32 probabilities.
    """
    seeds = iter(np.random.SeedSequence(seed).generate_state(2 * config.layers + 2))

    def next_seed() -> int:
        return int(next(seeds) & 0x7FFFFFFF)

    ids = keras.Input((None,), dtype="int32", name="ids")
    x = _input_layer(config, vocabulary_size, next_seed())(ids)
    for number in range(1, config.layers + 1):
        x = keras.layers.LSTM(
            config.units,
            return_sequences=targets == "all" or number < config.layers,
            kernel_initializer=keras.initializers.GlorotUniform(next_seed()),
            recurrent_initializer=keras.initializers.Orthogonal(seed=next_seed()),
            name=f"lstm_{number}",
        )(x)
        if config.dropout:
            x = keras.layers.Dropout(config.dropout, name=f"dropout_{number}")(x)
    probabilities = keras.layers.Dense(
        vocabulary_size,
        activation="softmax",
        kernel_initializer=keras.initializers.GlorotUniform(next_seed()),
        name="probabilities",
    )(x)
    return keras.Model(ids, probabilities, name="textgen")


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
