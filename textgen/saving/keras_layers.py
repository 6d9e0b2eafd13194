"""One layer of a Keras file, with its arrays → one layer of a network.

What is stored depends on who wrote it:

    Keras 2, 3  kernel, recurrent_kernel, bias; gates side by side: i, f, c, o or
                z, r, h
    cuDNN       the same, but each gate's kernel holds the numbers of a (U, D) matrix,
                each recurrent kernel is transposed, and there are two biases, of
                which an LSTM adds both and a GRU keeps the second for the state

A setting that a file leaves out has the default of the Keras that wrote it, and
``hard_sigmoid`` is the function that it was then. Every function here raises a
`ModelFileError` for a setting that can't be had, and for arrays that don't have the
shapes that the settings say or aren't finite and of reasonable size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from textgen.errors import ModelFileError, shown
from textgen.inference.activations import ACTIVATIONS
from textgen.inference.weights import (
    BidirectionalWeights,
    GRUWeights,
    LayerNormalization,
    LSTMWeights,
    OneDirection,
    Pointwise,
    Rectifier,
    Recurrent,
    Scaling,
    SimpleRNNWeights,
    Stepwise,
)
from textgen.saving.container import refusal
from textgen.saving.keras_config import Layer, Version

MAX_WEIGHT = 1e15  # products of three such numbers stay finite in float32
GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1, "CuDNNLSTM": 4, "CuDNNGRU": 3}
MERGE_MODES = ("concat", "sum", "ave", "mul")
SOFTMAX = "softmax"  # at the end only; it is left to whoever reads the logits

Arrays = Sequence[np.ndarray]


def embedding(layer: Layer, arrays: Arrays, symbols: int) -> np.ndarray:
    """Return the table (V, D) of an ``Embedding`` for a number of symbols, V."""
    rows, columns = layer.size("input_dim"), layer.size("output_dim")
    if rows != symbols:
        raise refusal(f"as many outputs as symbols, {rows:,}", f"{symbols:,}")
    return _checked(layer, arrays, [(rows, columns)])[0]


def recurrent(layer: Layer, arrays: Arrays, inputs: int, version: Version) -> Recurrent:
    """Build a recurrent layer, called on ``inputs`` values, D."""
    if not layer.directions:
        return _one_direction(layer, arrays, inputs, version)
    merge = layer.settings.get("merge_mode", "concat")
    if merge not in MERGE_MODES:
        expected = f"merge_mode of {layer.shown} to be one of {', '.join(MERGE_MODES)}"
        raise refusal(expected, shown(merge))
    half = len(arrays) // 2
    forward, backward = (
        _one_direction(one, of_one, inputs, version, is_backward=is_backward)
        for one, of_one, is_backward in zip(
            layer.directions, (arrays[:half], arrays[half:]), (False, True), strict=True
        )
    )
    return BidirectionalWeights(forward, backward, merge)


def _one_direction(
    layer: Layer,
    arrays: Arrays,
    inputs: int,
    version: Version,
    *,
    is_backward: bool = False,
) -> OneDirection:
    for name, expected in (("go_backwards", is_backward), ("return_state", False)):
        if layer.flag(name) != expected:
            received = f"{not expected}"
            raise refusal(f"{name}={expected} in {layer.shown}", received)
    kernel, recurrent_kernel, bias = _recurrent_arrays(layer, arrays, inputs, version)
    activation = _activation(layer, "activation", "tanh", version)
    if layer.kind == "SimpleRNN":
        return SimpleRNNWeights(kernel, recurrent_kernel, bias, activation)
    gate_default = _gate_default(layer, version)
    gate = _activation(layer, "recurrent_activation", gate_default, version)
    if layer.kind in ("LSTM", "CuDNNLSTM"):
        return LSTMWeights(kernel, recurrent_kernel, bias, activation, gate)
    for_input, for_state = bias if bias.ndim == 2 else (bias, None)
    return GRUWeights(kernel, recurrent_kernel, for_input, for_state, activation, gate)


def stepwise(
    layer: Layer, arrays: Arrays, inputs: int, version: Version, axis: int
) -> Stepwise:
    """Build a layer that works on each step alone, called on ``inputs`` values.

    They are along the axis of that number, which is also the last one, -1.
    """
    given_axis = layer.settings.get("axis", -1)
    if given_axis not in (-1, axis, [-1], [axis]):
        raise refusal(f"axis=-1 in {layer.shown}", shown(given_axis))
    if layer.kind in ("BatchNormalization", "LayerNormalization"):
        return _normalization(layer, arrays, inputs)
    if layer.kind == "ReLU":
        most = layer.settings.get("max_value")
        return Rectifier(
            layer.number("negative_slope", 0),
            None if most is None else layer.number("max_value"),
            layer.number("threshold", 0),
        )
    if layer.kind == "LeakyReLU":
        setting = "negative_slope" if version.number >= (3, 0) else "alpha"
        return Rectifier(layer.number(setting, 0.3))
    known = (*ACTIVATIONS, SOFTMAX)
    if layer.kind == "Softmax":
        return Pointwise(None, None, SOFTMAX)
    if layer.kind == "Activation":
        activation = _activation(layer, "activation", None, version, known)
        return Pointwise(None, None, activation)
    units = layer.size("units")
    kernel, bias = _with_bias(layer, arrays, [(inputs, units), (units,)])
    activation = _activation(layer, "activation", "linear", version, known)
    return Pointwise(kernel, bias, activation)


def _normalization(
    layer: Layer, arrays: Arrays, inputs: int
) -> Scaling | LayerNormalization:
    """Build a normalization as it is once a model is trained."""
    for name in ("renorm", "rms_scaling"):
        if layer.flag(name):
            raise refusal(f"{name}=False in {layer.shown}", "True")
    is_batch = layer.kind == "BatchNormalization"
    epsilon = layer.number("epsilon", 1e-3)
    learned = [name for name in ("scale", "center") if layer.flag(name, True)]
    names = [*learned, *(["mean", "variance"] if is_batch else [])]
    checked = _checked(layer, arrays, [(inputs,)] * len(names))
    found = dict(zip(names, checked, strict=True))
    if epsilon < 0 or (is_batch and not (found["variance"] + epsilon > 0).all()):
        raise refusal(f"variances above zero in {layer.shown}", "others")
    scale = found.get("scale", np.ones(inputs, np.float32))
    offset = found.get("center", np.zeros(inputs, np.float32))
    if not is_batch:
        return LayerNormalization(scale, offset, epsilon)
    factor = scale / np.sqrt(found["variance"].astype(np.float64) + epsilon)
    offset = offset - found["mean"] * factor
    return Scaling(factor.astype(np.float32), offset.astype(np.float32))


# Arrays


def _recurrent_arrays(
    layer: Layer, arrays: Arrays, inputs: int, version: Version
) -> Arrays:
    """Return kernel (D, G·U), recurrent kernel (U, G·U) and bias (G·U,), for G gates.

    A GRU whose reset gate works after the product has two, the input's and the state's.
    """
    units, gates = layer.size("units"), GATES[layer.kind]
    wide = gates * units
    shapes: list[tuple[int, ...]] = [(inputs, wide), (units, wide), (wide,)]
    if layer.kind.startswith("CuDNN"):
        shapes[2] = (2 * wide,)
        return _from_cudnn(_checked(layer, arrays, shapes), gates)
    if layer.kind == "GRU" and layer.flag("reset_after", _reset_after_default(version)):
        shapes[2] = (2, wide)
    return _with_bias(layer, arrays, shapes)


def _from_cudnn(arrays: Arrays, gates: int) -> Arrays:
    kernel, recurrent_kernel, bias = arrays
    inputs, units = kernel.shape[0], recurrent_kernel.shape[0]
    kernels = [x.reshape(units, inputs).T for x in np.split(kernel, gates, axis=1)]
    recurrents = [x.T for x in np.split(recurrent_kernel, gates, axis=1)]
    biases = bias.reshape(2, -1)
    return [
        np.concatenate(kernels, axis=1),
        np.concatenate(recurrents, axis=1),
        biases if gates == GATES["GRU"] else biases[0] + biases[1],
    ]


def _with_bias(
    layer: Layer, arrays: Arrays, shapes: Sequence[tuple[int, ...]]
) -> Arrays:
    """Check the arrays, the last one of which is a bias; without ``use_bias`` zero."""
    if layer.flag("use_bias", True):
        return _checked(layer, arrays, shapes)
    kernels = _checked(layer, arrays, shapes[:-1])
    return [*kernels, np.zeros(shapes[-1], np.float32)]


def _checked(layer: Layer, arrays: Arrays, shapes: Sequence[tuple[int, ...]]) -> Arrays:
    received = [array.shape for array in arrays]
    if received != list(shapes):
        expected = f"arrays of the shapes {shown(list(shapes))} for {layer.shown}"
        raise refusal(expected, shown(received))
    for array in arrays:
        # False for NaN too, which both return. Without a copy: arrays may be large.
        if array.size and not (array.max() <= MAX_WEIGHT >= -array.min()):
            expected = f"expected finite weights below {MAX_WEIGHT:g}"
            problem = f"{expected}, but {layer.shown} holds others"
            raise ModelFileError(problem, "train anew with a lower `learning_rate`")
    return arrays


# Settings


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
    """Return one of the ``known`` names, as it was meant in its version."""
    name = layer.settings.get(setting, default)
    if name is None and setting in layer.settings:
        name = "linear"  # no activation
    known = set(known) - {"hard_sigmoid_3"}
    if not isinstance(name, str) or name not in known:
        names = ", ".join(sorted(known))
        raise refusal(f"{setting} of {layer.shown} to be one of {names}", shown(name))
    if name == "hard_sigmoid" and version.number >= (3, 0):
        return "hard_sigmoid_3"
    return name
