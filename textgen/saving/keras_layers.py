"""One layer of a Keras file, with its arrays → one layer of a network.

Each with the meaning of its time: a setting that a file leaves out has the default of
the Keras that wrote it, and ``hard_sigmoid`` is the function that it was then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from textgen.errors import ModelFileError, shown
from textgen.inference.activations import ACTIVATIONS
from textgen.inference.weights import (
    GRUWeights,
    LSTMWeights,
    Pointwise,
    Recurrent,
    SimpleRNNWeights,
)
from textgen.saving.container import ADVICE
from textgen.saving.keras_config import Layer, Version

# A layer's arrays as some Keras wrote them → one layout, that of today's Keras.
#
# Keras 1     an array for each gate: W, U and b of i, c, f, o (LSTM) or z, r, h
# (GRU); or one for all gates, in today's order
# Keras 2, 3  kernel, recurrent_kernel, bias; gates i, f, c, o or z, r, h
# cuDNN       each gate's input kernel (D, U) holds the numbers of a (U, D) matrix in
# a row, each recurrent kernel is transposed; two biases in one array, of
# which an LSTM adds both and a GRU keeps the second for the state
MAX_WEIGHT = 1e15  # products of three such numbers stay finite in float32

Arrays = Sequence[np.ndarray]


def embedding_table(layer: Layer, arrays: Arrays, rows: int, columns: int) -> Arrays:
    """Return ``[(V, D)]``.

    Raises:
        ModelFileError: as all functions here: if these aren't the arrays, of the
            shapes that the settings say, finite and of reasonable size.
    """
    return _checked(layer, arrays, [(rows, columns)])


def dense_weights(
    layer: Layer, arrays: Arrays, inputs: int, units: int, use_bias: bool
) -> Arrays:
    """Return kernel (D, U) and bias (U,), which is zero without ``use_bias``."""
    shapes = [(inputs, units), (units,)]
    return _with_bias(layer, arrays, shapes, use_bias)


def recurrent_weights(
    layer: Layer, arrays: Arrays, inputs: int, units: int, use_bias: bool
) -> Arrays:
    """Return kernel (D, G·U), recurrent kernel (U, G·U) and bias.

    G is the number of gates. The bias is (G·U,), or (2, G·U) for a GRU whose reset
    gate works after the product: the input's and the state's.

    Args:
        layer: kind and name; of a GRU also ``reset_after``.
        arrays: in the file's order.
        inputs: D.
        units: U.
        use_bias: whether the file holds a bias; without, it is zero.
    """
    return _LAYOUTS[layer.kind](layer, arrays, inputs, units, use_bias)


def _lstm(
    layer: Layer, arrays: Arrays, inputs: int, units: int, use_bias: bool
) -> Arrays:
    if len(arrays) == 12:
        i, c, f, o = _gates_of_keras_1(layer, arrays, inputs, units)
        arrays = [
            np.concatenate(parts, axis=-1) for parts in zip(i, f, c, o, strict=True)
        ]
    return _with_bias(layer, arrays, _shapes(inputs, units, 4), use_bias)


def _gru(
    layer: Layer, arrays: Arrays, inputs: int, units: int, use_bias: bool
) -> Arrays:
    if len(arrays) == 9:
        gates = _gates_of_keras_1(layer, arrays, inputs, units)
        arrays = [np.concatenate(parts, axis=-1) for parts in zip(*gates, strict=True)]
    shapes = _shapes(inputs, units, 3)
    if layer.settings.get("reset_after"):
        shapes[2] = (2, 3 * units)
    return _with_bias(layer, arrays, shapes, use_bias)


def _simple(
    layer: Layer, arrays: Arrays, inputs: int, units: int, use_bias: bool
) -> Arrays:
    return _with_bias(layer, arrays, _shapes(inputs, units, 1), use_bias)


def _cudnn_lstm(
    layer: Layer, arrays: Arrays, inputs: int, units: int, use_bias: bool
) -> Arrays:
    shapes = _shapes(inputs, units, 4)
    shapes[2] = (8 * units,)
    kernel, recurrent, bias = _checked(layer, arrays, shapes)
    for_input, for_state = np.split(bias, 2)
    return [*_from_cudnn(kernel, recurrent, 4), for_input + for_state]


def _cudnn_gru(
    layer: Layer, arrays: Arrays, inputs: int, units: int, use_bias: bool
) -> Arrays:
    shapes = _shapes(inputs, units, 3)
    shapes[2] = (6 * units,)
    kernel, recurrent, bias = _checked(layer, arrays, shapes)
    return [*_from_cudnn(kernel, recurrent, 3), bias.reshape(2, -1)]


_LAYOUTS: dict[str, Callable[..., Arrays]] = {
    "LSTM": _lstm,
    "GRU": _gru,
    "SimpleRNN": _simple,
    "CuDNNLSTM": _cudnn_lstm,
    "CuDNNGRU": _cudnn_gru,
}


def _shapes(inputs: int, units: int, gates: int) -> list[tuple[int, ...]]:
    return [(inputs, gates * units), (units, gates * units), (gates * units,)]


def _gates_of_keras_1(
    layer: Layer, arrays: Arrays, inputs: int, units: int
) -> list[Arrays]:
    """Return W (D, U), U (U, U), b (U,) of each gate, in the file's order."""
    gates = len(arrays) // 3
    arrays = _checked(layer, arrays, _shapes(inputs, units, 1) * gates)
    return [arrays[3 * gate : 3 * gate + 3] for gate in range(gates)]


def _from_cudnn(kernel: np.ndarray, recurrent: np.ndarray, gates: int) -> Arrays:
    """Turn each gate's matrices into Keras' orientation."""
    inputs, units = kernel.shape[0], recurrent.shape[0]
    kernels = [
        part.reshape(units, inputs).T for part in np.split(kernel, gates, axis=1)
    ]
    recurrents = [part.T for part in np.split(recurrent, gates, axis=1)]
    return [np.concatenate(kernels, axis=1), np.concatenate(recurrents, axis=1)]


def _with_bias(
    layer: Layer, arrays: Arrays, shapes: list[tuple[int, ...]], use_bias: bool
) -> Arrays:
    """Check the arrays, the last one of which is a bias, or isn't there."""
    if use_bias:
        return _checked(layer, arrays, shapes)
    kernels = _checked(layer, arrays, shapes[:-1])
    return [*kernels, np.zeros(shapes[-1], np.float32)]


def _checked(layer: Layer, arrays: Arrays, shapes: Sequence[tuple[int, ...]]) -> Arrays:
    received = [array.shape for array in arrays]
    if received != list(shapes):
        raise ModelFileError(
            f"expected arrays of the shapes {shown(list(shapes))} for {layer.shown}, "
            f"but received {shown(received)}: {ADVICE}"
        )
    for array in arrays:
        # False for NaN too, which max() hands on.
        if not np.abs(array).max() <= MAX_WEIGHT:
            raise ModelFileError(
                f"expected finite weights below {MAX_WEIGHT:g}, but {layer.shown} "
                "holds others: train anew with a lower --learning-rate"
            )
    return arrays


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
