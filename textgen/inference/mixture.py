"""Several networks that read a text together and predict its next symbol as one.

Each advances by a decoder of its own, in the ids of its own vocabulary; the mixture has
a vocabulary of V symbols, and for each network two tables from its ids to theirs. Of
networks with probabilities p and weights w, whose sum is 1, the mixture predicts
Σ wᵢ pᵢ: what any of them finds likely is likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from textgen.inference.activations import log_softmax
from textgen.inference.base import State
from textgen.inference.decoder import AnyDecoder


class Voice(NamedTuple):
    """What one network is in a mixture of V symbols."""

    weight: float  # above 0
    reads: np.ndarray  # (V,) its id for each of the mixture's; -1: it reads nothing
    predicts: np.ndarray  # (V,) likewise; -1: a symbol to which it gives no probability
    size: int  # of its own vocabulary


class MixtureDecoder:
    """Carries the states of several networks; what else there is, is as in `Decoder`.

    Where a network reads nothing, its state and its last prediction stay. Before it has
    read anything it predicts all of its symbols alike.
    """

    def __init__(self, decoders: Sequence[AnyDecoder], voices: Sequence[Voice]):
        """Begin as many texts as each of the decoders, one for each voice, has."""
        self.batch_size = decoders[0].batch_size
        self._decoders, self._voices = decoders, voices
        weights = np.array([voice.weight for voice in voices])
        self._log_weights = np.log(weights)[:, None, None]
        self._states = [len(decoder.state()) for decoder in decoders]
        none = -np.inf
        self._unread = np.array(
            [np.where(x.predicts < 0, none, -np.log(x.size)) for x in voices]
        )
        shape = len(voices), self.batch_size, self._unread.shape[1]
        # The logarithms of what each network gave each symbol, (N, B, V).
        self._given = np.empty(shape)
        self.reset(np.arange(self.batch_size))
        # What a network predicts, and a column for what it can't: index -1 is the last.
        self._own = [np.full((self.batch_size, x.size + 1), none) for x in voices]
        self._logits = np.empty(shape[1:], np.float32)

    def step(self, ids: np.ndarray | int) -> np.ndarray:
        """Let each text read one symbol; see `Decoder.step`."""
        ids = np.broadcast_to(ids, self.batch_size)
        for number in range(len(self._voices)):
            self._read(number, ids)
        self._logits[:] = np.logaddexp.reduce(self._given + self._log_weights, axis=0)
        return self._logits

    def _read(self, number: int, ids: np.ndarray) -> None:
        """Let one of the networks read what it can of the mixture's ids (B,)."""
        decoder, voice = self._decoders[number], self._voices[number]
        own, predicted = voice.reads[ids], self._own[number]
        skipping = np.flatnonzero(own < 0).tolist()
        kept = [(slot, decoder.state(slot)) for slot in skipping]
        predicted[:, :-1] = log_softmax(decoder.step(np.maximum(own, 0)))
        for slot, state in kept:
            decoder.set_state([slot], state)
        before = self._given[number, skipping]
        np.take(predicted, voice.predicts, axis=1, out=self._given[number], mode="wrap")
        self._given[number, skipping] = before

    def reset(self, slots: np.ndarray | list[int]) -> None:
        """Begin new texts in some slots, 0 to B - 1, of the batch."""
        self._given[:, slots] = self._unread[:, None]
        for decoder in self._decoders:
            decoder.reset(slots)

    def state(self, slot: int = 0) -> State:
        """Return what a slot has read; see `Decoder.state`."""
        states = (decoder.state(slot) for decoder in self._decoders)
        return self._given[:, slot].copy(), *chain.from_iterable(states)

    def set_state(self, slots: np.ndarray | list[int], state: State) -> None:
        """Let texts go on from what was read elsewhere; see `Decoder.set_state`."""
        given, *others = state
        self._given[:, slots] = given[:, None]
        arrays = iter(others)
        for decoder, count in zip(self._decoders, self._states, strict=True):
            decoder.set_state(slots, tuple(islice(arrays, count)))

    def reorder(self, slots: np.ndarray) -> None:
        """Let the first slots go on from others; see `Decoder.reorder`."""
        self._given[:, : len(slots)] = self._given[:, slots]
        for decoder in self._decoders:
            decoder.reorder(slots)
