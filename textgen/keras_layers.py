"""One layer of a Keras file, with its arrays → one layer of a network.

Each with the meaning of its time: a setting that a file leaves out has the default of
the Keras that wrote it, and ``hard_sigmoid`` is the function that it was then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from textgen.activations import ACTIVATIONS
from textgen.contents import ADVICE
from textgen.errors import ModelFileError, shown
from textgen.keras_config import Layer, Version
from textgen.keras_weights import dense_weights, recurrent_weights
from textgen.network import (
    GRUWeights,
    LSTMWeights,
    Pointwise,
    Recurrent,
    SimpleRNNWeights,
)

MAX_SIZE = 1 << 21  # of any axis: more than there are Unicode symbols
SOFTMAX = "softmax"  # at the end only, where it is left to whoever reads the logits


def recurrent(
    layer: Layer, arrays: Sequence[np.ndarray], inputs: int, version: Version
) -> Recurrent:
    """Build an LSTM, GRU or simple recurrent layer, also one of cuDNN.

    Args:
        layer: as described.
        arrays: its arrays in the file's order.
        inputs: D, size of what it is called on.
        version: of the Keras that wrote it.

    Raises:
        ModelFileError: for a setting that can't be had, or other arrays.
    """
    for name in ("go_backwards", "return_state"):
        if flag(layer, name):
            raise ModelFileError(
                f"expected {name}=False in {layer.shown}, but received True: {ADVICE}"
            )
    if layer.kind == "GRU":
        after = flag(layer, "reset_after", _reset_after_default(version))
        layer = replace(layer, settings={**layer.settings, "reset_after": after})
    units = size(layer, "units")
    kernel, recurrent_kernel, bias = recurrent_weights(
        layer, arrays, inputs, units, flag(layer, "use_bias", True)
    )
    activation = _activation(layer, "activation", "tanh", version)
    if layer.kind == "SimpleRNN":
        return SimpleRNNWeights(kernel, recurrent_kernel, bias, activation)
    gate_default = _gate_default(layer, version)
    gate = _activation(layer, "recurrent_activation", gate_default, version)
    if layer.kind in ("LSTM", "CuDNNLSTM"):
        return LSTMWeights(kernel, recurrent_kernel, bias, activation, gate)
    for_input, for_state = bias if bias.ndim == 2 else (bias, None)
    return GRUWeights(kernel, recurrent_kernel, for_input, for_state, activation, gate)


def pointwise(
    layer: Layer, arrays: Sequence[np.ndarray], inputs: int, version: Version
) -> Pointwise:
    """Build a dense layer or an activation; arguments and errors of `recurrent`."""
    known = (*ACTIVATIONS, SOFTMAX)
    if layer.kind == "Activation":
        activation = _activation(layer, "activation", None, version, known)
        return Pointwise(None, None, activation)
    kernel, bias = dense_weights(
        layer, arrays, inputs, size(layer, "units"), flag(layer, "use_bias", True)
    )
    activation = _activation(layer, "activation", "linear", version, known)
    return Pointwise(kernel, bias, activation)


def flag(layer: Layer, name: str, default: bool | None = False) -> bool:
    """Return a setting that is True or False; with default None it must be there."""
    value = layer.settings.get(name, default)
    if not isinstance(value, bool):
        raise ModelFileError(
            f"expected {name} of {layer.shown} as true or false, "
            f"but received {shown(value)}: {ADVICE}"
        )
    return value


def size(layer: Layer, name: str) -> int:
    """Return a setting that is the length of an axis."""
    value = layer.settings.get(name)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not 1 <= value <= MAX_SIZE:
        raise ModelFileError(
            f"expected {name} of {layer.shown} as a whole number from 1 to "
            f"{MAX_SIZE:,}, but received {shown(value)}: {ADVICE}"
        )
    return value


def _gate_default(layer: Layer, version: Version) -> str | None:
    """Return what `recurrent_activation` is in a file that doesn't say."""
    if layer.kind.startswith("CuDNN") or version.number >= (2, 3):
        return "sigmoid"
    # tf.keras 2.2.4 of TensorFlow 2 had another default than that of TensorFlow 1.
    return None if version.is_tensorflow else "hard_sigmoid"


def _reset_after_default(version: Version) -> bool | None:
    """Return what `reset_after` is in a file that doesn't say."""
    if version.is_tensorflow and version.number == (2, 2):
        return None  # False in TensorFlow 1, True in TensorFlow 2
    return version.number >= (2, 3 if version.is_tensorflow else 4)


def _activation(
    layer: Layer,
    setting: str,
    default: str | None,
    version: Version,
    known: Iterable[str] = tuple(ACTIVATIONS),
) -> str:
    """Return one of the ``known`` names as it was meant in its time."""
    name = layer.settings.get(setting, default)
    if name is None and setting in layer.settings:
        name = "linear"  # no activation
    known = set(known) - {"hard_sigmoid_3"}
    if not isinstance(name, str) or name not in known:
        raise ModelFileError(
            f"expected {setting} of {layer.shown} to be one of "
            f"{', '.join(sorted(known))}, but received {shown(name)}: {ADVICE}"
        )
    if name == "hard_sigmoid" and version.number >= (3, 0):
        return "hard_sigmoid_3"
    return name
