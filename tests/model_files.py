"""Model files of our own form, written without Keras, whose predictions are known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
from keras_fixtures import (
    KERAS_3,
    Net,
    functional,
    item,
    keras_2_dense,
    keras_2_rnn,
    make,
)

from textgen.config import Config, ModelConfig, WindowConfig
from textgen.saving.container import user_block

UNITS, EMBEDDING = 5, 3


def write_own_file(
    path: Path,
    symbols: Sequence[str],
    kind: str = "text",
    targets: str = "all",
    seq_length: int = 10,
    units: int = UNITS,
    **metadata: Any,
) -> Net:
    """Write a model of random weights; return the net, which predicts by formulas."""
    items = [
        item("InputLayer", "ids", batch_shape=[None, None], dtype="int32"),
        item("Embedding", "embed", input_dim=len(symbols), output_dim=EMBEDDING),
        keras_2_rnn("LSTM", "lstm", units, recurrent_activation="sigmoid",
                    return_sequences=targets == "all"),
        keras_2_dense("dense", len(symbols), "softmax"),
    ]  # fmt: skip
    window = seq_length if targets == "last" else None
    form = partial(functional, keras_3=True)
    fixture = make(items, len(symbols), "3.0.5", window, form, KERAS_3)
    fixture.write(path)
    config = Config(
        ModelConfig(
            layers=1,
            units=units,
            embedding=EMBEDDING,
            level=metadata.get("level", "character"),
        ),
        WindowConfig(seq_length, targets=targets),
    )
    described = {
        "format": 2,
        "level": "character",
        "symbols": list(symbols),
        "corpus": {"name": "test", "kind": kind, "sha256": "0" * 64},
        "config": config.to_dict(),
    }
    text = json.dumps(described | metadata).encode()
    with h5py.File(path, "r+") as file:
        dtype = h5py.string_dtype("utf-8", len(text))
        file.create_dataset("textgen/metadata", data=text, dtype=dtype)
    data = path.read_bytes()
    path.write_bytes(user_block(data) + data)
    return fixture.net


def loss(net: Net, symbols: str, before: str, symbol: str) -> float:
    """Return the loss of a symbol after others, in nats, by the formulas."""
    likelihoods = net.predict([symbols.index(x) for x in before])
    return -math.log(likelihoods[symbols.index(symbol)])


def is_likeliest(net: Net, symbols: str, before: str, symbol: str) -> bool:
    """Tell whether a symbol is the one that the net thinks the likeliest."""
    likelihoods = net.predict([symbols.index(x) for x in before])
    return symbols[likelihoods.argmax()] == symbol
