"""Stacked plain LSTM layers in NumPy, made fast: what our own training gives.

- sigmoid(x) = 0.5 tanh(0.5 x) + 0.5. The inner 0.5 is multiplied into the weights
  beforehand, so that one ``tanh`` serves all four gates.
- The first layer's input product is looked up in a table, a row for each symbol.
- The layers' hidden states lie side by side in one array, so that a deeper layer's
  input and its own state are one slice of it, and one product is enough for both.
- Every result is written to an array that was made beforehand.

A product is a BLAS call of a few microseconds, by as many threads as BLAS is set to;
for the commands that is one (`textgen.system.process`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from textgen.inference.base import RecurrentStack, State, input_table
from textgen.inference.weights import LSTMWeights, Network

CACHE_LINE_BYTES = 64
HUGE_PAGE_BYTES = 2 << 20  # of x86-64 and most ARM systems
_HALF = np.array(0.5, np.float32)


def aligned_zeros(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Return float32 zeros that begin at cache lines, in one piece of memory.

    NumPy's own arrays begin at multiples of 16 bytes, so that most vectors that are
    read touch two cache lines. In a batch of one, reading the weights for each symbol
    is most of the time, so this counts. From two megabytes on, the memory begins at a
    huge page, since Linux can use huge pages only where a whole one fits.
    """
    lines = [-(-4 * math.prod(shape) // CACHE_LINE_BYTES) for shape in shapes]
    total_bytes = CACHE_LINE_BYTES * sum(lines)
    alignment = HUGE_PAGE_BYTES if total_bytes >= HUGE_PAGE_BYTES else CACHE_LINE_BYTES
    memory = np.zeros(total_bytes + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    arrays = []
    for shape, count in zip(shapes, lines, strict=True):
        array = memory[start : start + 4 * math.prod(shape)].view(np.float32)
        arrays.append(array.reshape(shape))
        start += CACHE_LINE_BYTES * count
    return arrays


class _Layer:
    """One LSTM layer: c = f·c + i·g, h = o·tanh(c) (Gers et al. 2000), as in Keras."""

    def __init__(
        self,
        kernel: np.ndarray,  # (columns of inputs, 4U), gates in the order i, f, o, g
        bias: np.ndarray,  # (4U,), in the same order
        inputs: np.ndarray,  # (rows, …): h of the layer below, if any, then its own
        output: np.ndarray,  # (rows, U), its own h, a part of inputs
    ):
        rows, units = output.shape
        self._kernel, self._bias = kernel, bias
        self._inputs, self._output = inputs, output
        self.cell, self._scratch, self._gates = aligned_zeros(
            (rows, units), (rows, units), (rows, 4 * units)
        )
        self._sigmoids = self._gates[:, : 3 * units]
        self._i, self._f, self._o, self._g = np.split(self._gates, 4, axis=1)

    def step(self, bias: np.ndarray | None = None) -> None:
        """Let every row read one symbol; ``bias`` (…, 4U) in place of its own."""
        gates, sigmoids = self._gates, self._sigmoids
        cell, scratch = self.cell, self._scratch
        np.dot(self._inputs, self._kernel, out=gates)
        np.add(gates, self._bias if bias is None else bias, out=gates)
        np.tanh(gates, out=gates)
        np.multiply(sigmoids, _HALF, out=sigmoids)
        np.add(sigmoids, _HALF, out=sigmoids)
        np.multiply(cell, self._f, out=cell)
        np.multiply(self._i, self._g, out=scratch)
        np.add(cell, scratch, out=cell)
        np.tanh(cell, out=scratch)
        np.multiply(self._o, scratch, out=self._output)


class LSTMStack(RecurrentStack):
    """Stacked plain LSTM layers; of networks that are `Network.is_plain_lstm`."""

    def __init__(self, network: Network, rows: int):
        """Begin so many sequences from zero state."""
        prepared = _prepared(network)
        self._input_table = prepared.input_table
        units = [bias.shape[0] // 4 for bias in prepared.biases]
        (self._hidden,) = aligned_zeros((rows, sum(units)))
        self._layers = []
        ends = np.cumsum(units).tolist()
        for kernel, bias, end, own in zip(*prepared[1:], ends, units, strict=True):
            inputs = self._hidden[:, end - len(kernel) : end]
            self._layers.append(_Layer(kernel, bias, inputs, inputs[:, -own:]))
        self.output = self._hidden[:, -units[-1] :]

    def step(self, ids: np.ndarray | int) -> None:
        """Let every sequence read one symbol; see `RecurrentStack.step`."""
        first, *deeper = self._layers
        first.step(self._input_table[ids])
        for layer in deeper:
            layer.step()

    def states(self) -> State:
        """Return the arrays that hold the states; see `RecurrentStack.states`."""
        return (self._hidden, *(layer.cell for layer in self._layers))

    def memories(self) -> State:
        """Return the cells of all layers; see `RecurrentStack.memories`."""
        return tuple(layer.cell for layer in self._layers)


class _Prepared(NamedTuple):
    """A network's weights as the layers need them."""

    input_table: Any  # what `input_table` returns
    kernels: list[np.ndarray]
    biases: list[np.ndarray]


_PREPARED: WeakKeyDictionary[Network, _Prepared] = WeakKeyDictionary()


def _prepared(network: Network) -> _Prepared:
    """Return a network's weights in their fast form, made once for all its stacks."""
    if network in _PREPARED:
        return _PREPARED[network]
    layers = [x for x in network.layers if isinstance(x, LSTMWeights)]
    biases = [_gate_order(layer.bias) for layer in layers]
    table = input_table(network.embedding, _gate_order(layers[0].kernel), biases[0])
    units = [layer.units for layer in layers]
    widths = np.add(units, [0, *units[:-1]])  # of what each layer reads
    shapes = [(width, 4 * own) for width, own in zip(widths, units, strict=True)]
    kernels = aligned_zeros(*shapes)
    for layer, kernel in zip(layers, kernels, strict=True):
        own = layer.units
        if len(kernel) > own:  # not the first, whose input product is in the table
            kernel[:-own] = _gate_order(layer.kernel)
        kernel[-own:] = _gate_order(layer.recurrent_kernel)
    prepared = _PREPARED[network] = _Prepared(table, kernels, biases)
    return prepared


def _gate_order(weights: np.ndarray) -> np.ndarray:
    """Reorder gates (..., 4U) from i, f, g, o to i, f, o, g, and halve i, f and o."""
    i, f, g, o = np.split(weights, 4, axis=-1)
    return np.concatenate([0.5 * i, 0.5 * f, 0.5 * o, g], axis=-1, dtype=np.float32)
