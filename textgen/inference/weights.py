"""The weights of a trained network, layer by layer, as plain arrays.

    ids ─► input table ─► recurrent layers (others between) ─► head ─► logits

The others work on each step alone: dense layers, activations, normalizations.

All arrays are float32 in the layout of Keras 3; `textgen.saving.keras_layers` converts
what older files hold. Activations have the names of `textgen.inference.activations`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class _OneLine:
    """Shows shapes in place of numbers."""

    def __repr__(self) -> str:
        values = vars(self).items()
        shown = [f"{name}={getattr(value, 'shape', value)}" for name, value in values]
        return f"{type(self).__name__}({', '.join(shown)})"


class _RecurrentWeights(_OneLine):
    """What the weights of all recurrent layers have in common."""

    recurrent_kernel: np.ndarray

    @property
    def units(self) -> int:
        """U, the size of the layer's output."""
        return len(self.recurrent_kernel)


@dataclass(frozen=True, eq=False, repr=False)
class LSTMWeights(_RecurrentWeights):
    """One LSTM layer: gates side by side in the order i, f, g, o."""

    kernel: np.ndarray  # (D, 4U), for the layer's input
    recurrent_kernel: np.ndarray  # (U, 4U), for its own output a step before
    bias: np.ndarray  # (4U,)
    activation: str = "tanh"  # of the candidate g and of the cell c
    recurrent_activation: str = "sigmoid"  # of the gates i, f and o


@dataclass(frozen=True, eq=False, repr=False)
class GRUWeights(_RecurrentWeights):
    """One GRU layer: gates side by side in the order z, r, h.

    With a recurrent bias the reset gate is applied to the state's product and that bias
    (as in cuDNN, and in Keras with ``reset_after``), without it to the state itself.
    """

    kernel: np.ndarray  # (D, 3U), for the layer's input
    recurrent_kernel: np.ndarray  # (U, 3U), for its own output a step before
    bias: np.ndarray  # (3U,), added to the input's product
    recurrent_bias: np.ndarray | None  # (3U,)
    activation: str = "tanh"  # of the candidate h
    recurrent_activation: str = "sigmoid"  # of the gates z and r


@dataclass(frozen=True, eq=False, repr=False)
class SimpleRNNWeights(_RecurrentWeights):
    """One simple recurrent layer (Elman 1990)."""

    kernel: np.ndarray  # (D, U), for the layer's input
    recurrent_kernel: np.ndarray  # (U, U), for its own output a step before
    bias: np.ndarray  # (U,)
    activation: str = "tanh"  # of the sum


@dataclass(frozen=True, eq=False, repr=False)
class Pointwise(_OneLine):
    """A dense layer, the same at every step; without a kernel, an activation alone."""

    kernel: np.ndarray | None  # (D, U)
    bias: np.ndarray | None  # (U,); None together with the kernel
    activation: str  # of the sum

    @property
    def units(self) -> int | None:
        """U, the size of the layer's output; None if it is that of its input."""
        return None if self.bias is None else len(self.bias)


@dataclass(frozen=True, eq=False, repr=False)
class Scaling(_OneLine):
    """x · scale + offset: a batch normalization, once a model is trained."""

    scale: np.ndarray  # (U,)
    offset: np.ndarray  # (U,)
    units = None


@dataclass(frozen=True, eq=False, repr=False)
class LayerNormalization(_OneLine):
    """(x - mean) / sqrt(variance + epsilon) · scale + offset (Ba et al. 2016)."""

    scale: np.ndarray  # (U,)
    offset: np.ndarray  # (U,)
    epsilon: float
    units = None


@dataclass(frozen=True, eq=False, repr=False)
class Rectifier(_OneLine):
    """x above a threshold, up to a maximum; below it, slope · (x - threshold)."""

    negative_slope: float
    max_value: float | None = None
    threshold: float = 0.0
    units = None


OneDirection = LSTMWeights | GRUWeights | SimpleRNNWeights


@dataclass(frozen=True, eq=False, repr=False)
class BidirectionalWeights(_OneLine):
    """Two recurrent layers, one of which reads the window from its end."""

    forward: OneDirection
    backward: OneDirection
    merge: str  # of both outputs: ``concat``, ``sum``, ``ave`` or ``mul``

    @property
    def units(self) -> int:
        """The size of the layer's output."""
        return self.forward.units * (2 if self.merge == "concat" else 1)


Recurrent = OneDirection | BidirectionalWeights
Stepwise = Pointwise | Scaling | LayerNormalization | Rectifier


@dataclass(frozen=True, eq=False, repr=False)
class Network(_OneLine):
    """All weights of a trained network."""

    embedding: np.ndarray | None  # (V, D); None: one-hot input, no identity is stored
    layers: tuple[Recurrent | Stepwise, ...]  # the first and the last are recurrent
    dense_kernel: np.ndarray  # (U, V), of the last dense layer, which gives the logits
    dense_bias: np.ndarray  # (V,)
    head: tuple[Stepwise, ...] = ()  # layers before the last dense one
    undrawn: np.ndarray | None = (
        None  # (V,) bool, symbols whose logits are -inf, if any
    )

    @property
    def vocabulary_size(self) -> int:
        """V, the number of symbols."""
        return len(self.dense_bias)

    @property
    def drawn_bias(self) -> np.ndarray:
        """The last dense layer's bias (V,), -inf for symbols that are never drawn."""
        if self.undrawn is None:
            return self.dense_bias
        return np.where(self.undrawn, np.float32(-np.inf), self.dense_bias)

    @property
    def reads_both_ways(self) -> bool:
        """Whether a layer reads windows from their end, too."""
        return any(isinstance(layer, BidirectionalWeights) for layer in self.layers)

    @property
    def plain_cell(self) -> str | None:
        """The cell by its name in `ModelConfig`, if the network is what we train.

        That is layers of one kind, as by Keras' defaults, and a dense one.
        """
        if self.head:
            return None
        kinds = {_plain_cell(layer) for layer in self.layers}
        return kinds.pop() if len(kinds) == 1 else None

    @property
    def is_plain_lstm(self) -> bool:
        """Whether it is LSTM layers of Gers et al. 2000 and a dense one."""
        return self.plain_cell == "lstm"


def _plain_cell(layer: Recurrent | Stepwise) -> str | None:
    if isinstance(layer, SimpleRNNWeights):
        return "rnn" if layer.activation == "tanh" else None
    if not isinstance(layer, LSTMWeights | GRUWeights):
        return None
    if (layer.activation, layer.recurrent_activation) != ("tanh", "sigmoid"):
        return None
    if isinstance(layer, LSTMWeights):
        return "lstm"
    return None if layer.recurrent_bias is None else "gru"
