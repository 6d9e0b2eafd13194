"""Stacks of any recurrent layers that Keras has had, in NumPy, each by its formulas.

LSTM, GRU and simple recurrent layers of any activation, with dense layers and
normalizations between them, as other programs save them.
`textgen.inference.both_ways` has what reads in both directions, and
`textgen.inference.lstm` is the fast form for our own networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textgen.inference.activations import ACTIVATIONS
from textgen.inference.base import RecurrentStack, State, input_table
from textgen.inference.weights import (
    GRUWeights,
    LayerNormalization,
    LSTMWeights,
    Network,
    OneDirection,
    Pointwise,
    Scaling,
    SimpleRNNWeights,
    Stepwise,
)


class _LSTM:
    """c = f·c + i·g, h = o·act(c) (Gers et al. 2000)."""

    def __init__(self, weights: LSTMWeights, rows: int):
        units = weights.units
        self._recurrent_kernel = weights.recurrent_kernel
        self._activate = ACTIVATIONS[weights.activation]
        self._gate = ACTIVATIONS[weights.recurrent_activation]
        self.output = np.zeros((rows, units), np.float32)
        self._cell = np.zeros((rows, units), np.float32)
        self.state = (self.output, self._cell)
        self._sums = np.empty((rows, 4 * units), np.float32)
        self._i, self._f, self._g, self._o = np.split(self._sums, 4, axis=1)

    def step(self, received: np.ndarray) -> None:
        cell = self._cell
        np.dot(self.output, self._recurrent_kernel, out=self._sums)
        self._sums += received
        for gate in (self._i, self._f, self._o):
            self._gate(gate)
        self._activate(self._g)
        cell *= self._f
        cell += self._i * self._g
        self.output[:] = cell
        self._activate(self.output)
        self.output *= self._o


class _GRU:
    """h = z·h + (1 - z)·candidate (Cho et al. 2014)."""

    def __init__(self, weights: GRUWeights, rows: int):
        units = weights.units
        kernel = weights.recurrent_kernel
        self._gate_kernel = np.ascontiguousarray(kernel[:, : 2 * units])
        self._candidate_kernel = np.ascontiguousarray(kernel[:, 2 * units :])
        self._resets_product = weights.recurrent_bias is not None
        bias = weights.recurrent_bias
        self._bias = np.zeros(3 * units, np.float32) if bias is None else bias
        self._activate = ACTIVATIONS[weights.activation]
        self._gate = ACTIVATIONS[weights.recurrent_activation]
        self.output = np.zeros((rows, units), np.float32)
        self.state = (self.output,)
        self._gates = np.empty((rows, 2 * units), np.float32)
        self._z, self._r = self._gates[:, :units], self._gates[:, units:]
        self._candidate = np.empty((rows, units), np.float32)
        self._scratch = np.empty((rows, units), np.float32)

    def step(self, received: np.ndarray) -> None:
        h, gates, candidate = self.output, self._gates, self._candidate
        split = gates.shape[1]
        np.dot(h, self._gate_kernel, out=gates)
        gates += self._bias[:split]
        gates += received[..., :split]
        self._gate(gates)
        if self._resets_product:
            np.dot(h, self._candidate_kernel, out=candidate)
            candidate += self._bias[split:]
            candidate *= self._r
        else:
            np.multiply(self._r, h, out=self._scratch)
            np.dot(self._scratch, self._candidate_kernel, out=candidate)
        candidate += received[..., split:]
        self._activate(candidate)
        h *= self._z
        np.subtract(1, self._z, out=self._z)
        candidate *= self._z
        h += candidate


class _SimpleRNN:
    """h = act(received + h·R) (Elman 1990)."""

    def __init__(self, weights: SimpleRNNWeights, rows: int):
        self._recurrent_kernel = weights.recurrent_kernel
        self._activate = ACTIVATIONS[weights.activation]
        self.output = np.zeros((rows, weights.units), np.float32)
        self.state = (self.output,)

    def step(self, received: np.ndarray) -> None:
        sums = self.output @ self._recurrent_kernel
        sums += received
        self._activate(sums)
        self.output[:] = sums


# `textgen.inference.decoder` checks for numbers beyond float32 once, in the logits.
quietly = np.errstate(over="ignore", invalid="ignore")

Cell = _LSTM | _GRU | _SimpleRNN
_CELLS = {LSTMWeights: _LSTM, GRUWeights: _GRU, SimpleRNNWeights: _SimpleRNN}


def make_cell(weights: OneDirection, rows: int) -> Cell:
    """Return the cell of a recurrent layer, with zero states for so many sequences."""
    return _CELLS[type(weights)](weights, rows)


class GenericStack(RecurrentStack):
    """Any stack of recurrent layers, with dense layers and activations between them."""

    def __init__(self, network: Network, rows: int):
        """Begin so many sequences from zero state."""
        first = network.layers[0]
        assert isinstance(first, OneDirection)
        self._input_table = input_table(network.embedding, first.kernel, first.bias)
        self._cells = {
            number: make_cell(layer, rows)
            for number, layer in enumerate(network.layers)
            if isinstance(layer, OneDirection)
        }
        self._layers = network.layers
        self.output = self._cells[len(network.layers) - 1].output

    @quietly
    def step(self, ids: np.ndarray | int) -> None:
        """Let every sequence read one symbol; see `RecurrentStack.step`."""
        output: np.ndarray | None = None
        for number, layer in enumerate(self._layers):
            if isinstance(layer, OneDirection):
                if output is None:
                    received = self._input_table[ids]
                else:
                    received = output @ layer.kernel + layer.bias
                self._cells[number].step(received)
                output = self._cells[number].output
            else:
                assert output is not None
                assert isinstance(layer, Stepwise)
                output = _apply(output, layer)

    def states(self) -> State:
        """Return the arrays that hold the states; see `RecurrentStack.states`."""
        return tuple(state for cell in self._cells.values() for state in cell.state)

    def memories(self) -> State:
        """Return what each layer carries on; see `RecurrentStack.memories`."""
        return tuple(cell.state[-1] for cell in self._cells.values())


@quietly
def apply_stepwise(x: np.ndarray, layers: Sequence[Stepwise]) -> np.ndarray:
    """Return ``x`` (..., D) after layers that work on each step; ``x`` itself stays."""
    for layer in layers:
        x = _apply(x, layer)
    return x


def _apply(x: np.ndarray, layer: Stepwise) -> np.ndarray:
    if isinstance(layer, Pointwise):
        x = x.copy() if layer.kernel is None else x @ layer.kernel + layer.bias
        ACTIVATIONS[layer.activation](x)
        return x
    if isinstance(layer, Scaling):
        return x * layer.scale + layer.offset
    if isinstance(layer, LayerNormalization):
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        return centred / np.sqrt(variance + layer.epsilon) * layer.scale + layer.offset
    above = x if layer.max_value is None else np.minimum(x, layer.max_value)
    below = layer.negative_slope * (x - layer.threshold)
    return np.where(x > layer.threshold, above, below)
