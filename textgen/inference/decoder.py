"""The trained network as a NumPy state machine: (state, id) → (state, logits).

A `Decoder` carries the recurrent state through a text, one symbol a step, for any
number of streams at once. A `WindowDecoder` is for models trained on targets ``last``,
which have only ever seen windows of T symbols from zero state.

The layers themselves are in `textgen.inference.lstm` (fast, for what we train) and
`textgen.inference.generic` (anything that Keras has had).
"""

from __future__ import annotations

import numpy as np

from textgen.config import WindowConfig
from textgen.errors import ModelFileError
from textgen.inference.base import Recurrence, State
from textgen.inference.generic import MixedStack, apply_pointwise
from textgen.inference.lstm import LSTMStack, aligned_zeros
from textgen.inference.weights import Network


def _recurrence(network: Network, rows: int) -> Recurrence:
    return (LSTMStack if network.is_plain_lstm else MixedStack)(network, rows)


class Decoder:
    """Carries the state of B independent streams through their texts.

    Worked example, the logits after "ab" of one stream::

        decoder = Decoder(network)
        decoder.step(vocabulary.encode("a"))
        logits = decoder.step(vocabulary.encode("b"))[0]
    """

    def __init__(self, network: Network, streams: int = 1):
        """Begin ``streams`` texts, B, from zero state."""
        self.streams = streams
        self._recurrence = _recurrence(network, streams)
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
        recurrence.advance(ids)
        return self._output.logits(recurrence.top)

    def reset(self, rows: np.ndarray | list[int] | None = None) -> None:
        """Begin new texts from zero state, in the given streams or in all."""
        self._recurrence.clear(slice(None) if rows is None else np.asarray(rows, int))

    @property
    def state(self) -> State:
        """A copy of everything that `step` changes, for `restore`."""
        return self._recurrence.copy_state()

    def restore(self, state: State) -> None:
        """Go on from a `state` of a decoder of the same network and streams.

        Raises:
            ValueError: if its arrays have other shapes.
        """
        self._recurrence.restore(state)


class WindowDecoder:
    """Predicts from exactly the last T symbols from zero state, at each step.

    T staggered states a stream are advanced together as one batch. A slot begins from
    zero at every T-th symbol, each slot at another one, so that there is always one
    that has seen exactly the last T symbols: it gives the logits and begins again.
    While a text is shorter than T, the slot that began with it has seen all of it.
    """

    def __init__(self, network: Network, seq_length: int, streams: int = 1):
        """Begin ``streams`` texts, B, with windows of ``seq_length`` symbols, T."""
        self.streams = streams
        self._window = seq_length
        self._recurrence = _recurrence(network, streams * seq_length)
        self._output = _Output(network, streams)
        self._first_rows = np.arange(streams) * seq_length
        self._seen = np.zeros(streams, np.int64)

    def step(self, ids: np.ndarray | int) -> np.ndarray:
        """Take each stream one symbol further; as `Decoder.step`."""
        recurrence = self._recurrence
        recurrence.clear(self._first_rows + self._seen % self._window)
        ids_of_rows = np.repeat(np.broadcast_to(ids, self.streams), self._window)
        recurrence.advance(ids_of_rows)
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
        """Go on from a `state` of a decoder of the same network, T and streams.

        Raises:
            ValueError: if its arrays have other shapes.
        """
        seen, *recurrence_state = state
        self._recurrence.restore(tuple(recurrence_state))
        self._seen[:] = seen


def make_stepper(
    network: Network, windows: WindowConfig, streams: int = 1
) -> Decoder | WindowDecoder:
    """Return the decoder that shows a network what it was trained on.

    Args:
        network: the trained weights.
        windows: how its training windows were cut.
        streams: B, number of independent texts.
    """
    if windows.targets == "last":
        return WindowDecoder(network, windows.seq_length, streams)
    return Decoder(network, streams)


class _Output:
    """The last dense layer, without its softmax, and its buffer (B, V)."""

    def __init__(self, network: Network, streams: int):
        self._head = network.head
        self._bias = network.dense_bias
        self._kernel, self._logits = aligned_zeros(
            network.dense_kernel.shape, (streams, len(self._bias))
        )
        self._kernel[:] = network.dense_kernel
        # Plain LSTM layers can't overflow, whatever their weights.
        self._may_overflow = not network.is_plain_lstm

    def logits(self, hidden: np.ndarray) -> np.ndarray:
        if self._head:
            hidden = apply_pointwise(hidden, self._head)
        np.dot(hidden, self._kernel, out=self._logits)
        np.add(self._logits, self._bias, out=self._logits)
        if self._may_overflow and not np.isfinite(self._logits).all():
            raise ModelFileError(
                "expected finite logits, but this model's layers grow beyond float32 "
                "on this text: use another model"
            )
        return self._logits
