"""The trained network as a state machine: it reads one symbol and predicts the next.

A `Decoder` carries the recurrent state through its texts. A `WindowDecoder` is for
models trained on targets ``last``, which have only ever seen windows of T symbols from
zero state; a `WholeWindowDecoder` is for those that read them in both directions, too.
All advance a batch of B independent texts together, and so does a mixture of them,
`textgen.inference.mixture`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from textgen.errors import ModelFileError
from textgen.inference.base import RecurrentStack, State
from textgen.inference.both_ways import BothWays
from textgen.inference.generic import GenericStack, apply_stepwise
from textgen.inference.lstm import LSTMStack, aligned_zeros
from textgen.inference.weights import Network


class Decoder:
    """Carries the state of B independent texts.

    Worked example, the logits after "ab" in a batch of one text::

        decoder = Decoder(network)
        decoder.step(vocabulary.encode("a"))
        logits = decoder.step(vocabulary.encode("b"))[0]
    """

    def __init__(self, network: Network, batch_size: int = 1):
        """Begin ``batch_size`` texts from zero state."""
        self.batch_size = batch_size
        self._stack = _recurrent_stack(network, batch_size)
        self._output_layer = _OutputLayer(network, batch_size)

    def step(self, ids: np.ndarray | int) -> np.ndarray:
        """Let each text read one symbol: ids (B,), or one id → logits (B, V) float32.

        The next step overwrites the logits, so copy what you keep. A `ModelFileError`
        says that the network's numbers grow beyond float32.
        """
        self._stack.step(ids)
        return self._output_layer.logits(self._stack.output)

    def reset(self, slots: np.ndarray | list[int]) -> None:
        """Begin new texts from zero state in some slots, 0 to B - 1, of the batch."""
        self._stack.reset(slots)

    def state(self, slot: int = 0) -> State:
        """Return a copy of what a slot, mostly the first, has read, for `set_state`."""
        return tuple(state[slot].copy() for state in self._stack.states())

    def set_state(self, slots: np.ndarray | list[int], state: State) -> None:
        """Let texts go on in some slots from what was read elsewhere."""
        for own, saved in zip(self._stack.states(), state, strict=True):
            own[slots] = saved

    def reorder(self, slots: np.ndarray) -> None:
        """Let the first slots go on from what these slots (N,) have read, N <= B."""
        for state in self._stack.states():
            state[: len(slots)] = state[slots]

    def memories(self) -> State:
        """Return what each recurrent layer remembers of the texts, (B, U) each.

        That is the cell c of an LSTM layer, and the output h of any other. The next
        step overwrites it, so copy what you keep.
        """
        return self._stack.memories()


class WindowDecoder:
    """Predicts each symbol from exactly the T symbols before it, from zero state.

    T copies of each text's state advance together. A different one of them is set to
    zero at each step, so that at every step there is one that has read exactly the last
    T symbols (all, while a text is shorter): the logits are made from it.
    """

    def __init__(self, network: Network, seq_length: int, batch_size: int = 1):
        """Begin ``batch_size`` texts, with windows of ``seq_length`` symbols, T."""
        self.batch_size = batch_size
        self._seq_length = seq_length
        self._stack = _recurrent_stack(network, batch_size * seq_length)
        self._output_layer = _OutputLayer(network, batch_size)
        self._first_rows = np.arange(batch_size) * seq_length
        self._symbols_read = np.zeros(batch_size, np.int64)

    def step(self, ids: np.ndarray | int) -> np.ndarray:
        """Let each text read one symbol; see `Decoder.step`."""
        window = self._seq_length
        self._stack.reset(self._first_rows + self._symbols_read % window)
        self._stack.step(np.repeat(np.broadcast_to(ids, self.batch_size), window))
        self._symbols_read += 1
        return self._output_layer.logits(self._stack.output[self._oldest_rows()])

    def _oldest_rows(self) -> np.ndarray:
        """Return where the states are that have read all of the windows, (B,)."""
        window = self._seq_length
        oldest = np.maximum(self._symbols_read - window, 0) % window
        return self._first_rows + oldest

    def reset(self, slots: np.ndarray | list[int]) -> None:
        """Begin new texts in some slots, 0 to B - 1, of the batch."""
        # `step` sets a state to zero before its first symbol, so none needs it here.
        self._symbols_read[slots] = 0

    def state(self, slot: int = 0) -> State:
        """Return what a slot has read; see `Decoder.state`."""
        read = self._symbols_read[slot : slot + 1].copy()
        return read, *(state[slot].copy() for state in self._states())

    def set_state(self, slots: np.ndarray | list[int], state: State) -> None:
        """Let texts go on from what was read elsewhere; see `Decoder.set_state`."""
        self._symbols_read[slots] = state[0]
        for own, saved in zip(self._states(), state[1:], strict=True):
            own[slots] = saved

    def reorder(self, slots: np.ndarray) -> None:
        """Let the first slots go on from others; see `Decoder.reorder`."""
        for state in (self._symbols_read, *self._states()):
            state[: len(slots)] = state[slots]

    def memories(self) -> State:
        """Return what each layer remembers of the windows; see `Decoder.memories`."""
        rows = self._oldest_rows()
        return tuple(memory[rows] for memory in self._stack.memories())

    def _states(self) -> State:
        """Return the states of all windows, (B, T, U) each."""
        shape = (self.batch_size, self._seq_length, -1)
        return tuple(state.reshape(shape) for state in self._stack.states())


class WholeWindowDecoder:
    """Predicts each symbol from the T before it, all of which are read at each step."""

    def __init__(self, network: Network, seq_length: int, batch_size: int = 1):
        """Begin ``batch_size`` texts, with windows of ``seq_length`` symbols, T."""
        self.batch_size = batch_size
        self._network = BothWays(network)
        self._output_layer = _OutputLayer(network, batch_size)
        self._ids = np.zeros((batch_size, seq_length), np.int64)
        self._lengths = np.zeros(batch_size, np.int64)  # of the windows so far

    def step(self, ids: np.ndarray | int) -> np.ndarray:
        """Let each text read one symbol; see `Decoder.step`."""
        self._ids[:, :-1] = self._ids[:, 1:]
        self._ids[:, -1] = ids
        self._lengths = np.minimum(self._lengths + 1, self._ids.shape[1])
        return self._output_layer.logits(self._network.read(self._ids, self._lengths))

    def reset(self, slots: np.ndarray | list[int]) -> None:
        """Begin new texts in some slots, 0 to B - 1, of the batch."""
        self._lengths[slots] = 0

    def state(self, slot: int = 0) -> State:
        """Return what a slot has read; see `Decoder.state`."""
        return self._lengths[slot : slot + 1].copy(), self._ids[slot].copy()

    def set_state(self, slots: np.ndarray | list[int], state: State) -> None:
        """Let texts go on from what was read elsewhere; see `Decoder.set_state`."""
        self._lengths[slots], self._ids[slots] = state

    def reorder(self, slots: np.ndarray) -> None:
        """Let the first slots go on from others; see `Decoder.reorder`."""
        for state in (self._lengths, self._ids):
            state[: len(slots)] = state[slots]


class AnyDecoder(Protocol):
    """What all decoders can do."""

    batch_size: int

    def step(self, ids: np.ndarray | int) -> np.ndarray:
        """See `Decoder.step`."""

    def reset(self, slots: np.ndarray | list[int]) -> None:
        """See `Decoder.reset`."""

    def state(self, slot: int = 0) -> State:
        """See `Decoder.state`."""

    def set_state(self, slots: np.ndarray | list[int], state: State) -> None:
        """See `Decoder.set_state`."""

    def reorder(self, slots: np.ndarray) -> None:
        """See `Decoder.reorder`."""


def _recurrent_stack(network: Network, rows: int) -> RecurrentStack:
    stack = LSTMStack if network.is_plain_lstm else GenericStack
    return stack(network, rows)


class _OutputLayer:
    """The last dense layer without its softmax."""

    def __init__(self, network: Network, batch_size: int):
        self._head = network.head
        self._bias = network.drawn_bias
        self._kernel, self._logits = aligned_zeros(
            network.dense_kernel.shape, (batch_size, len(self._bias))
        )
        self._kernel[:] = network.dense_kernel
        # Plain LSTM layers can't overflow, whatever their weights.
        self._may_overflow = not network.is_plain_lstm

    def logits(self, hidden: np.ndarray) -> np.ndarray:
        if self._head:
            hidden = apply_stepwise(hidden, self._head)
        np.dot(hidden, self._kernel, out=self._logits)
        if self._may_overflow and not np.isfinite(self._logits).all():
            problem = "this model's numbers grow beyond float32 on this text"
            raise ModelFileError(problem, "use another model")
        return np.add(self._logits, self._bias, out=self._logits)
