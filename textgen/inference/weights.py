"""The weights of a trained network, layer by layer, as plain arrays.

    ids ─► input table ─► recurrent layers (pointwise layers between) ─► head ─► logits

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
    """One LSTM layer: gates side by side in the order i, f, g, o.

    Attributes:
        kernel: (D, 4U), for the layer's input.
        recurrent_kernel: (U, 4U), for its own output a step before.
        bias: (4U,).
        activation: of the candidate g and of the cell c.
        recurrent_activation: of the gates i, f and o.
    """

    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"


@dataclass(frozen=True, eq=False, repr=False)
class GRUWeights(_RecurrentWeights):
    """One GRU layer: gates side by side in the order z, r, h.

    Attributes:
        kernel: (D, 3U), for the layer's input.
        recurrent_kernel: (U, 3U), for its own output a step before.
        bias: (3U,), added to the input's product.
        recurrent_bias: (3U,), added to the state's product, to which the reset gate is
            applied then; None: it is applied to the state, before the product.
        activation: of the candidate h.
        recurrent_activation: of the gates z and r.
    """

    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray
    recurrent_bias: np.ndarray | None
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"


@dataclass(frozen=True, eq=False, repr=False)
class SimpleRNNWeights(_RecurrentWeights):
    """One simple recurrent layer (Elman 1990).

    Attributes:
        kernel: (D, U), for the layer's input.
        recurrent_kernel: (U, U), for its own output a step before.
        bias: (U,).
        activation: of the sum.
    """

    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray
    activation: str = "tanh"


@dataclass(frozen=True, eq=False, repr=False)
class Pointwise(_OneLine):
    """A dense layer, the same at every step; without a kernel, an activation alone.

    Attributes:
        kernel: (D, U), or None.
        bias: (U,), or None together with the kernel.
        activation: of the sum.
    """

    kernel: np.ndarray | None
    bias: np.ndarray | None
    activation: str

    @property
    def units(self) -> int | None:
        """U, the size of the layer's output; None if it is that of its input."""
        return None if self.bias is None else len(self.bias)

    def is_only(self, activation: str) -> bool:
        """Tell whether it is nothing but this activation."""
        return self.kernel is None and self.activation == activation


Recurrent = LSTMWeights | GRUWeights | SimpleRNNWeights


@dataclass(frozen=True, eq=False, repr=False)
class Network(_OneLine):
    """All weights of a trained network.

    Attributes:
        embedding: (V, D); None for one-hot input, so that no identity is stored.
        layers: first to last; the first and the last one are recurrent.
        dense_kernel: (U, V), of the last dense layer.
        dense_bias: (V,); what comes out are logits, the softmax is not applied.
        head: pointwise layers before the last dense one.
        masked: (V,) bool, symbols that the recurrent layers skip as padding; None means
            no symbol.
    """

    embedding: np.ndarray | None
    layers: tuple[Recurrent | Pointwise, ...]
    dense_kernel: np.ndarray
    dense_bias: np.ndarray
    head: tuple[Pointwise, ...] = ()
    masked: np.ndarray | None = None

    @property
    def vocabulary_size(self) -> int:
        """V, the number of symbols."""
        return len(self.dense_bias)

    @property
    def is_plain_lstm(self) -> bool:
        """Whether it is what we train: LSTM layers of Gers et al. 2000, a dense one."""
        plain = all(
            isinstance(layer, LSTMWeights)
            and (layer.activation, layer.recurrent_activation) == ("tanh", "sigmoid")
            for layer in self.layers
        )
        return plain and not self.head and self.masked is None
