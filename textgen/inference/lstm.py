"""Stacked plain LSTM layers in NumPy, made fast: what our own training gives.

sigmoid(x) = 0.5 tanh(0.5 x) + 0.5, so with the inner 0.5 folded into the weights one
``tanh`` serves all four gates; the first layer's input product is a row of a table;
the layers' hidden states lie side by side in one buffer, so that a deeper layer's input
and its own state are one slice and go through one product; every result goes to a
buffer made beforehand.

The products are BLAS calls of a few microseconds, by as many threads as BLAS is set to;
nothing here changes that (`textgen.inference.blas_threads` does, for the command
lines).
"""

from __future__ import annotations

import math

import numpy as np

from textgen.inference.base import Recurrence, State, input_table
from textgen.inference.weights import Network

# Float32 arrays that begin at cache lines, and large ones at huge pages.
#
# NumPy's own begin at multiples of 16 bytes, so that every other vector read of a
# processor (or each, if its vectors are as long as a cache line) takes two lines. A
# matrix that is multiplied with a single row is read from end to end for each symbol:
# that is most of the time of a text that is made alone.
CACHE_LINE_BYTES = 64
HUGE_PAGE_BYTES = 2 << 20  # of x86-64 and most ARM systems


def aligned_zeros(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Return float32 zeros, side by side in one piece of memory.

    From two megabytes on, it begins at a huge page. NumPy advises Linux to use such
    pages for arrays of more than four megabytes, but that goes for whole ones only.

    Args:
        *shapes: of the arrays, each of which begins at a cache line.
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


_HALF = np.array(0.5, np.float32)


class _Layer:
    """One LSTM layer for a number of rows: weights in our gate order, and buffers.

    The cell is that of Gers et al. (2000), as in Keras: c = f·c + i·g, h = o·tanh(c).
    """

    def __init__(
        self,
        kernel: np.ndarray,
        bias: np.ndarray,
        inputs: np.ndarray,
        output: np.ndarray,
    ):
        """Make the buffers; ``inputs`` and ``output`` are views of all layers' h.

        Args:
            kernel: (columns of ``inputs``, 4U) in our gate order.
            bias: (4U,) in our gate order.
            inputs: what the product reads: the layer below's h, if any, then its own.
            output: (rows, U), its own h.
        """
        rows, units = output.shape
        self._kernel, self._bias = kernel, bias
        self._inputs, self._output = inputs, output
        self.cell, self._scratch, self._gates = aligned_zeros(
            (rows, units), (rows, units), (rows, 4 * units)
        )
        self._sigmoids = self._gates[:, : 3 * units]
        self._i, self._f, self._o, self._g = np.split(self._gates, 4, axis=1)

    def advance(self, bias: np.ndarray | None = None) -> None:
        """Take every row one symbol further; ``bias`` (…, 4U) in place of its own."""
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


class LSTMStack(Recurrence):
    """Stacked plain LSTM layers' states for a number of independent rows."""

    def __init__(self, network: Network, rows: int):
        """Make the buffers for ``rows`` texts of a network that `is_plain_lstm`."""
        first = network.layers[0]
        self._input_table = input_table(
            network.embedding, _gate_order(first.kernel), _gate_order(first.bias)
        )
        units = [layer.units for layer in network.layers]
        widths = np.add(units, [0, *units[:-1]])  # of what each layer reads
        kernels = aligned_zeros(
            *((width, 4 * own) for width, own in zip(widths, units, strict=True))
        )
        (self._hidden,) = aligned_zeros((rows, sum(units)))
        self._layers = []
        for layer, kernel, end in zip(
            network.layers, kernels, np.cumsum(units), strict=True
        ):
            width, own = len(kernel), layer.units
            if width > own:  # not the first, whose input comes by the table
                kernel[:-own] = _gate_order(layer.kernel)
            kernel[-own:] = _gate_order(layer.recurrent_kernel)
            self._layers.append(
                _Layer(
                    kernel,
                    _gate_order(layer.bias),
                    self._hidden[:, end - width : end],
                    self._hidden[:, end - own : end],
                )
            )
        self.top = self._hidden[:, -units[-1] :]

    def advance(self, ids: np.ndarray | int) -> None:
        """Take every row one symbol further; see `Recurrence.advance`."""
        first, *deeper = self._layers
        first.advance(self._input_table[ids])
        for layer in deeper:
            layer.advance()

    def parts(self) -> State:
        """Return the arrays that hold the state; see `Recurrence.parts`."""
        return (self._hidden, *(layer.cell for layer in self._layers))


def _gate_order(weights: np.ndarray) -> np.ndarray:
    """Reorder gates (..., 4U) from i, f, c, o to i, f, o, c and halve i, f and o."""
    i, f, c, o = np.split(weights, 4, axis=-1)
    return np.concatenate([0.5 * i, 0.5 * f, 0.5 * o, c], axis=-1, dtype=np.float32)
