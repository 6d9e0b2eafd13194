"""Keras' description of a model and its arrays → the network that Keras would build.

Only layers, settings and arrays that are known here are taken. What is accepted is
one chain:

    Embedding ─► (LSTM ─► Dropout…) … ─► Dense softmax
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textgen.errors import ModelFileError
from textgen.hdf5_contents import ADVICE, Contents
from textgen.stepper import LSTMWeights, Network

MAX_WEIGHT = 1e15  # products of three such numbers stay finite in float32

# Settings that change what a layer computes, and the only value taken.
_REQUIRED: Mapping[str, Mapping[str, Any]] = {
    "InputLayer": {},
    "Embedding": {"mask_zero": False},
    "LSTM": {
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "use_bias": True,
        "go_backwards": False,
        "return_state": False,
        "stateful": False,
    },
    "Dropout": {},
    "Dense": {"activation": "softmax", "use_bias": True},
}
_WEIGHT_NAMES: Mapping[str, tuple[str, ...]] = {
    "Embedding": ("embeddings",),
    "LSTM": ("kernel", "recurrent_kernel", "bias"),
    "Dense": ("kernel", "bias"),
}


def build_network(contents: Contents) -> Network:
    """Build the network that Keras would build, from layers known here only.

    Raises:
        ModelFileError: for any other layer, setting, arrangement or array size.
    """
    try:
        layers = _chain(json.loads(contents.config))
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as e:
        raise ModelFileError(
            f"expected a description of a Keras model, but it can't be read: {ADVICE}"
        ) from e
    for layer in layers:
        _check_settings(layer)
    if layers and layers[0].kind == "InputLayer":
        layers = layers[1:]
    layers = [layer for layer in layers if layer.kind != "Dropout"]
    kinds = [layer.kind for layer in layers]
    if len(kinds) < 3 or kinds != ["Embedding", *["LSTM"] * (len(kinds) - 2), "Dense"]:
        raise ModelFileError(
            "expected the layers Embedding, LSTM (one or more), Dense, "
            f"but received {', '.join(kinds[:20]) or 'none'}: {ADVICE}"
        )
    return _assemble(layers, contents.arrays)


@dataclass(frozen=True)
class _Layer:
    kind: str
    name: str
    settings: Mapping[str, Any]


def _chain(description: Mapping[str, Any]) -> list[_Layer]:
    """Return the layers in order, having checked that each feeds the next only."""
    model, kind = description["config"], description["class_name"]
    layers = [
        _Layer(str(item["class_name"]), str(item["config"]["name"]), item["config"])
        for item in model["layers"]
    ]
    names = [layer.name for layer in layers]
    if kind == "Functional":
        calls = [item["inbound_nodes"] for item in model["layers"]]
        ends = (
            _layer_names(model["input_layers"]),
            _layer_names(model["output_layers"]),
        )
        linear = ends == (names[:1], names[-1:]) and calls[0] == []
        linear = linear and all(
            len(call) == 1 and _caller(call[0]) == before
            for call, before in zip(calls[1:], names, strict=False)
        )
    else:
        linear = kind == "Sequential"
    if not linear or len(set(names)) < len(names):
        raise ModelFileError(
            "expected a Functional or Sequential model whose layers form one chain, "
            f"but received another {str(kind)[:40]!r}: {ADVICE}"
        )
    return layers


def _layer_names(ends: Sequence[Any]) -> list[str]:
    """Names in ``["ids", 0, 0]``, or in a list of such: Keras writes both."""
    return [ends[0]] if isinstance(ends[0], str) else [end[0] for end in ends]


def _caller(node: Mapping[str, Any]) -> str | None:
    """Name of the layer whose first output is the only tensor of a call."""
    plain = all(value in (None, False, True) for value in node["kwargs"].values())
    if not plain or len(node["args"]) != 1:
        return None
    name, call, output = node["args"][0]["config"]["keras_history"]
    return name if (call, output) == (0, 0) else None


def _check_settings(layer: _Layer) -> None:
    shown = f"layer {layer.name[:80]!r}"
    if layer.kind not in _REQUIRED:
        raise ModelFileError(
            f"expected only the layers {', '.join(_REQUIRED)}, "
            f"but {shown} is {layer.kind[:80]!r}: {ADVICE}"
        )
    for setting, expected in _REQUIRED[layer.kind].items():
        received = layer.settings.get(setting)
        if received != expected:
            raise ModelFileError(
                f"expected {setting}={expected!r} in {shown}, "
                f"but received {str(received)[:80]!r}: {ADVICE}"
            )
    policy = layer.settings.get("dtype")
    if isinstance(policy, Mapping):
        inner = policy.get("config")
        policy = inner.get("name") if isinstance(inner, Mapping) else None
    if layer.kind in _WEIGHT_NAMES and policy != "float32":
        raise ModelFileError(
            f"expected {shown} with the float32 policy, "
            f"but received {str(policy)[:80]!r}: save the model in float32"
        )
    if layer.settings.get("quantization_config") is not None:
        raise ModelFileError(f"expected no quantization, but {shown} has it: {ADVICE}")


def _assemble(layers: Sequence[_Layer], arrays: Mapping[str, np.ndarray]) -> Network:
    """Take each layer's arrays, whose shapes must be those that its settings say."""
    embedding, *recurrent, dense = layers
    take = _taker(arrays)
    vocabulary_size = embedding.settings.get("input_dim")
    size = embedding.settings.get("output_dim")
    (table,) = take(embedding, (vocabulary_size, size))
    lstm_weights = []
    for position, layer in enumerate(recurrent):
        if position < len(recurrent) - 1 and not layer.settings.get("return_sequences"):
            raise ModelFileError(
                f"expected return_sequences=True in layer {layer.name[:80]!r}, since "
                f"another LSTM follows, but received False: {ADVICE}"
            )
        units = layer.settings.get("units")
        if not isinstance(units, int):
            raise ModelFileError(
                f"expected units of layer {layer.name[:80]!r} as a whole number, "
                f"but received {str(units)[:80]!r}: {ADVICE}"
            )
        gates = 4 * units
        lstm_weights.append(
            LSTMWeights(*take(layer, (size, gates), (units, gates), (gates,)))
        )
        size = units
    if dense.settings.get("units") != vocabulary_size:
        raise ModelFileError(
            f"expected as many outputs as symbols, {str(vocabulary_size)[:40]}, but "
            f"received {str(dense.settings.get('units'))[:40]}: {ADVICE}"
        )
    kernel, bias = take(dense, (size, vocabulary_size), (vocabulary_size,))
    return Network(table, tuple(lstm_weights), kernel, bias)


def _taker(arrays: Mapping[str, np.ndarray]) -> Callable[..., list[np.ndarray]]:
    """Return the function that finds a layer's arrays by name and checks them."""

    def take(layer: _Layer, *shapes: tuple[Any, ...]) -> list[np.ndarray]:
        taken = []
        for name, shape in zip(_WEIGHT_NAMES[layer.kind], shapes, strict=True):
            shown = f"{name!r} of layer {layer.name[:80]!r}"
            found = [
                array
                for path, array in arrays.items()
                if path.startswith(f"{layer.name}/") and path.endswith(f"/{name}")
            ]
            received = [array.shape for array in found]
            if received != [shape] or 0 in shape:
                raise ModelFileError(
                    f"expected one array {name!r} of shape {str(shape)[:80]} for layer "
                    f"{layer.name[:80]!r}, but received {str(received)[:80]}: {ADVICE}"
                )
            # False for NaN too, which max() hands on.
            if not np.abs(found[0]).max() <= MAX_WEIGHT:
                raise ModelFileError(
                    f"expected finite weights below {MAX_WEIGHT:g}, but {shown} holds "
                    "others: train anew with a lower --learning-rate"
                )
            taken.append(found[0])
        return taken

    return take
