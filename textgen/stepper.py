"""The trained network as a NumPy state machine: (state, id) → (state, logits).

A `Stepper` carries the LSTM state through a text, one symbol a step, for any number
of streams at once. A `WindowStepper` is for models trained on targets ``last``, which
have only ever seen windows of T symbols from zero state.

How it is made fast: sigmoid(x) = 0.5 tanh(0.5 x) + 0.5, so with the inner 0.5 folded
into the weights one ``tanh`` serves all four gates; the first layer's input product is
a row of a table; the layers' hidden states lie side by side in one buffer, so that a
deeper layer's input and its own state are one slice and go through one product; every
result goes to a buffer made beforehand.

The products are BLAS calls of a few microseconds. For a single stream one BLAS thread
is as fast as several up to some 256 units and leaves the other cores alone; a program
that wants that sets the environment variable OPENBLAS_NUM_THREADS to 1 before NumPy is
first imported. Nothing here changes such settings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textgen.config import WindowConfig

_HALF = np.array(0.5, np.float32)


@dataclass(frozen=True)
class LSTMWeights:
    """One LSTM layer in Keras' layout: gates side by side in the order i, f, c, o.

    Attributes:
        kernel: (D, 4U) float32, for the layer's input.
        recurrent_kernel: (U, 4U) float32, for its own output a step before.
        bias: (4U,) float32.
    """

    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray

    @property
    def units(self) -> int:
        """U, the size of the layer's output."""
        return len(self.recurrent_kernel)


@dataclass(frozen=True)
class Network:
    """All weights of a trained network.

    Attributes:
        embedding: (V, D) float32; the identity for one-hot input.
        layers: the LSTM layers, first to last.
        dense_kernel: (U, V) float32.
        dense_bias: (V,) float32.
    """

    embedding: np.ndarray
    layers: tuple[LSTMWeights, ...]
    dense_kernel: np.ndarray
    dense_bias: np.ndarray

    @property
    def vocabulary_size(self) -> int:
        """V, the number of symbols."""
        return len(self.embedding)


State = tuple[np.ndarray, ...]


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
        self.cell = np.zeros((rows, units), np.float32)
        self._scratch = np.empty((rows, units), np.float32)
        self._gates = np.empty((rows, 4 * units), np.float32)
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


class _Recurrence:
    """The stacked LSTM layers' states for a number of independent rows."""

    def __init__(self, network: Network, rows: int):
        first = network.layers[0]
        # (V, 4U): what the first layer's gates receive for each symbol.
        self.input_table = _gate_order(network.embedding @ first.kernel + first.bias)
        units = [layer.units for layer in network.layers]
        ends = np.cumsum(units)
        self._hidden = np.zeros((rows, ends[-1]), np.float32)
        self._layers = []
        below = 0
        for layer, start, end in zip(network.layers, ends - units, ends, strict=True):
            kernel = layer.recurrent_kernel
            if start > 0:
                kernel = np.concatenate([layer.kernel, kernel])
            self._layers.append(
                _Layer(
                    _gate_order(kernel),
                    _gate_order(layer.bias),
                    self._hidden[:, below:end],
                    self._hidden[:, start:end],
                )
            )
            below = start
        self.top = self._hidden[:, start:end]

    def advance(self, received: np.ndarray) -> None:
        """Take every row one symbol further and leave the last layer's h in `top`.

        Args:
            received: rows of `input_table`, in a shape that broadcasts to (rows, 4U).
        """
        first, *deeper = self._layers
        first.advance(received)
        for layer in deeper:
            layer.advance()

    def _parts(self) -> State:
        return (self._hidden, *(layer.cell for layer in self._layers))

    def clear(self, rows: np.ndarray | slice) -> None:
        """Set the states of some rows to zero."""
        for part in self._parts():
            part[rows] = 0

    def copy_state(self) -> State:
        return tuple(part.copy() for part in self._parts())

    def restore(self, state: State) -> None:
        for mine, theirs in zip(self._parts(), state, strict=True):
            if mine.shape != theirs.shape:
                raise ValueError(f"expected {mine.shape}, but received {theirs.shape}")
            mine[:] = theirs


class Stepper:
    """Carries the state of B independent streams through their texts.

    Worked example, the logits after "ab" of one stream::

        stepper = Stepper(network)
        stepper.step(vocabulary.encode("a"))
        logits = stepper.step(vocabulary.encode("b"))[0]
    """

    def __init__(self, network: Network, streams: int = 1):
        """Begin ``streams`` texts, B, from zero state."""
        self.streams = streams
        self._recurrence = _Recurrence(network, streams)
        self._output = _Output(network, streams)

    def step(self, ids: np.ndarray | int) -> np.ndarray:
        """Take each stream one symbol further.

        Args:
            ids: (B,) ids, any integer dtype; a plain int goes to every stream.

        Returns:
            logits of the symbol to come, (B, V) float32. The buffer is used again by
            the next step: copy what must stay.
        """
        recurrence = self._recurrence
        recurrence.advance(recurrence.input_table[ids])
        return self._output.logits(recurrence.top)

    def reset(self, rows: np.ndarray | list[int] | None = None) -> None:
        """Begin new texts from zero state, in the given streams or in all."""
        self._recurrence.clear(slice(None) if rows is None else np.asarray(rows, int))

    @property
    def state(self) -> State:
        """A copy of everything that `step` changes, for `restore`."""
        return self._recurrence.copy_state()

    def restore(self, state: State) -> None:
        """Go on from a `state` of a stepper of the same network and streams.

        Raises:
            ValueError: if its arrays have other shapes.
        """
        self._recurrence.restore(state)


class WindowStepper:
    """Predicts from exactly the last T symbols from zero state, at each step.

    T staggered states a stream are advanced together as one batch. A slot begins from
    zero at every T-th symbol, each slot at another one, so that there is always one
    that has seen exactly the last T symbols: it gives the logits and begins again.
    While a text is shorter than T, the slot that began with it has seen all of it.
    """

    def __init__(self, network: Network, window_chars: int, streams: int = 1):
        """Begin ``streams`` texts, B, with windows of ``window_chars`` symbols, T."""
        self.streams = streams
        self._window = window_chars
        self._recurrence = _Recurrence(network, streams * window_chars)
        self._output = _Output(network, streams)
        self._first_rows = np.arange(streams) * window_chars
        self._seen = np.zeros(streams, np.int64)

    def step(self, ids: np.ndarray | int) -> np.ndarray:
        """Take each stream one symbol further; as `Stepper.step`."""
        recurrence = self._recurrence
        recurrence.clear(self._first_rows + self._seen % self._window)
        ids_of_rows = np.repeat(np.broadcast_to(ids, self.streams), self._window)
        recurrence.advance(recurrence.input_table[ids_of_rows])
        self._seen += 1
        oldest = np.maximum(self._seen - self._window, 0) % self._window
        return self._output.logits(recurrence.top[self._first_rows + oldest])

    def reset(self, rows: np.ndarray | list[int] | None = None) -> None:
        """Begin new texts, in the given streams or in all."""
        # The slots need no clearing: each is cleared when it begins.
        self._seen[slice(None) if rows is None else np.asarray(rows, int)] = 0

    @property
    def state(self) -> State:
        """A copy of everything that `step` changes, for `restore`."""
        return (self._seen.copy(), *self._recurrence.copy_state())

    def restore(self, state: State) -> None:
        """Go on from a `state` of a stepper of the same network, T and streams.

        Raises:
            ValueError: if its arrays have other shapes.
        """
        seen, *recurrence_state = state
        self._recurrence.restore(tuple(recurrence_state))
        self._seen[:] = seen


def make_stepper(
    network: Network, windows: WindowConfig, streams: int = 1
) -> Stepper | WindowStepper:
    """Return the stepper that shows a network what it was trained on.

    Args:
        network: the trained weights.
        windows: how its training windows were cut.
        streams: B, number of independent texts.
    """
    if windows.targets == "last":
        return WindowStepper(network, windows.window_chars, streams)
    return Stepper(network, streams)


class _Output:
    """The dense layer, without its softmax, and its buffer (B, V)."""

    def __init__(self, network: Network, streams: int):
        self._kernel = network.dense_kernel
        self._bias = network.dense_bias
        self._logits = np.empty((streams, len(self._bias)), np.float32)

    def logits(self, hidden: np.ndarray) -> np.ndarray:
        np.dot(hidden, self._kernel, out=self._logits)
        return np.add(self._logits, self._bias, out=self._logits)


def _gate_order(weights: np.ndarray) -> np.ndarray:
    """Reorder gates (..., 4U) from i, f, c, o to i, f, o, c and halve i, f and o."""
    i, f, c, o = np.split(weights, 4, axis=-1)
    return np.concatenate([0.5 * i, 0.5 * f, 0.5 * o, c], axis=-1, dtype=np.float32)
