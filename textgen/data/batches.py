"""Windows gathered into batches: what all kinds of windows have in common.

A window is a run of symbols ``ids[s : s + T + 1]``: its inputs are all but the last of
them and its targets all but the first. A batch is gathered when it is asked for, and
which windows it holds is computed from (seed, epoch, step) by a keyed permutation. So
only the batches asked for take memory beyond the ids, and any step can be had at any
time. Where the windows of a text lie is told by `textgen.data.windows`.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from textgen.config import WindowConfig
from textgen.data.ids import blocks_of
from textgen.data.permutation import ROUNDS, permute

AVERAGED_BATCHES = 16  # for the characters of a step


class Located(NamedTuple):
    """Where R windows are, each as int64 (R,)."""

    starts: np.ndarray  # of their first inputs
    lengths: np.ndarray  # numbers of inputs
    lead: np.ndarray | int = 0  # first inputs whose targets don't count
    firsts: np.ndarray | None = None  # ids in place of their first inputs, if any


class WindowBatch(NamedTuple):
    """B windows; T is the length of the longest among them.

    Batches of one length may be stacked: then each array has K in front.
    """

    inputs: np.ndarray  # (B, T) int32 ids
    targets: np.ndarray  # (B, T) int32 ids, each the symbol after its input
    weights: np.ndarray  # (B, T) float32, 1 where the target counts and 0 elsewhere


class Windows(ABC):
    """All windows of an epoch, in a seeded order; made by `make_windows`."""

    # Whether each row of a batch goes on where that row of the one before ended.
    stateful = False
    labels = 0  # of the symbols, that are no text

    def __init__(
        self,
        ids: np.ndarray,
        config: WindowConfig,
        count: int,
        longest: int,
        batch_size: int,
        seed: int,
        padding_id: int,
    ) -> None:
        self._ids = ids
        self.symbols = self.characters = len(ids)
        self._config = config
        self._seed = seed
        self._padding_id = padding_id
        self.windows_per_epoch = count  # the same in every epoch
        self.batch_size = min(batch_size, count)  # B of every batch
        self.steps_per_epoch = -(-count // self.batch_size)  # the last is filled up
        self.longest = longest  # symbols in the longest window, the most that T can be

    @property
    def characters_per_symbol(self) -> float:
        """The mean of the text; 1 where each symbol is a character."""
        return (self.characters - self.labels) / (self.symbols - self.labels)

    @cached_property
    def characters_per_step(self) -> float:
        """About how many characters count in a step; batches of lines differ."""
        count = min(AVERAGED_BATCHES, self.steps_per_epoch)
        stacks = self.stacked_batches(0, 0, count)
        symbols = sum(float(stack.weights.sum()) for stack in stacks) / count
        return symbols * self.characters_per_symbol

    def counts(self, symbols: int) -> np.ndarray:
        """Return how often each of so many symbols is in the text, (V,) int64."""
        counts = np.zeros(symbols, np.int64)
        for block in blocks_of(self._ids):
            counts += np.bincount(block, minlength=symbols)
        return counts

    @abstractmethod
    def _locate(self, windows: np.ndarray, random: int) -> Located:
        """Return where windows are.

        ``windows`` (R,) int64 are numbers in the text's order, ``random`` is a number
        of this epoch, from 0 to 2⁶⁴ - 1.
        """

    def _order(self, places: np.ndarray, randoms: np.ndarray) -> np.ndarray:
        """Return which windows (R,) are at places (R,) of the epoch's batches."""
        return permute(places, self.windows_per_epoch, randoms)

    def batch(self, epoch: int, step: int) -> WindowBatch:
        """Return a batch: a function of its arguments and the seed alone.

        Steps are counted within the epoch, from 0 to ``steps_per_epoch - 1``; others
        raise IndexError. The last batch is filled up with rows of weight 0.
        """
        (length,), together = self._gather(epoch, step, 1)
        return WindowBatch(*(x[:, :length] for x in together))

    def stacked_batches(
        self, epoch: int, first_step: int, count: int, rows: slice | None = None
    ) -> Iterator[WindowBatch]:
        """Yield ``count`` batches, neighbours of one length stacked to (K, B, T).

        Gathering them together takes a seventh of the time. Each batch is padded, with
        weight 0, to the next of few lengths: the longest window, half of it, a quarter
        and so on. A training step is compiled once for each length, and dropout depends
        on it, so the length follows from the batch alone and not from its neighbours.

        With ``rows`` only these are gathered of each batch, for one of several
        processes. Their weights are divided by the number of targets that count in the
        whole batch, which a process doesn't see.
        """
        lengths, together = self._gather(epoch, first_step, count, rows=rows)
        size = len(together.inputs) // count
        padded = [padded_length(length, self.longest) for length in lengths]
        first = 0
        for length, same in itertools.groupby(padded):
            shape = (len(list(same)), size, length)
            these = slice(first, first + shape[0] * size)
            yield WindowBatch(*(x[these, :length].reshape(shape) for x in together))
            first = these.stop

    def arrays(self, epoch: int = 0) -> WindowBatch:
        """Return all windows of an epoch at once, as `keras.Model.fit` takes them.

        That takes about 30 bytes for each of N x T symbols, so it is for small corpora.
        For targets ``last`` on ``lines`` the model must predict at each position, as
        `textgen.modeling.model.build_model` makes it for targets ``all``.

        Returns:
            inputs (N, T) int32, targets (N, T) int32 and weights (N, T) float32, with
            T the longest window; for targets ``last`` on a ``text``, targets and
            weights (N,).
        """
        _, together = self._gather(epoch, 0, self.steps_per_epoch, self.longest)
        # The last batch may be filled up.
        return WindowBatch(*(x[: self.windows_per_epoch] for x in together))

    def _gather(
        self,
        epoch: int,
        first_step: int,
        count: int,
        width: int | None = None,
        rows: slice | None = None,
    ) -> tuple[list[int], WindowBatch]:
        """Return the length of each of ``count`` batches, and all of them as one.

        They are padded to ``width``; None means the next length of `stacked_batches`,
        where ``rows`` are explained.
        """
        last_step = first_step + count - 1
        if epoch < 0 or not 0 <= first_step <= last_step < self.steps_per_epoch:
            raise IndexError(f"an epoch has steps 0 to {self.steps_per_epoch - 1}")
        size = self.batch_size
        places = first_step * size + np.arange(count * size, dtype=np.int64)
        fillers = places >= self.windows_per_epoch
        # Fillers repeat the first window of the last batch, which makes it no longer.
        places[fillers] = last_step * size
        entropy = np.random.SeedSequence((self._seed, epoch))
        randoms = entropy.generate_state(ROUNDS + 1, np.uint64)
        windows = self._order(places, randoms[1:])
        starts, lengths, lead, firsts = self._locate(windows, int(randoms[0]))
        width = width or padded_length(int(lengths.max()), self.longest)
        longest = lengths.reshape(count, size).max(axis=1).tolist()
        counted = None
        if rows is not None:
            targets = 1 if self._config.targets == "last" else lengths - lead
            targets = np.where(fillers, 0, targets).reshape(count, size)
            counted = np.maximum(targets.sum(axis=1), 1).astype(np.float32)
            mine = np.arange(count * size).reshape(count, size)[:, rows].ravel()
            starts, lengths, fillers = starts[mine], lengths[mine], fillers[mine]
            lead = np.broadcast_to(lead, count * size)[mine]
            firsts = firsts if firsts is None else firsts[mine]
        offsets = starts[:, None] + np.arange(width + 1)
        symbols = self._ids.take(offsets, mode="clip").astype(np.int32)
        inputs, targets = symbols[:, :-1].copy(), symbols[:, 1:].copy()
        if firsts is not None:
            inputs[:, 0] = firsts
        steps = np.arange(width)
        padding = steps >= lengths[:, None]
        inputs[padding] = self._padding_id
        targets[padding] = self._padding_id
        last = steps == lengths[:, None] - 1
        if self._config.targets == "last":
            counts = last
        else:
            counts = ~padding & (steps >= np.reshape(lead, (-1, 1)))
        weights = counts.astype(np.float32)
        weights[fillers] = 0
        if counted is not None:
            weights /= np.repeat(counted, len(weights) // count)[:, None]
        return longest, WindowBatch(inputs, targets, weights)


def padded_length(length: int, longest: int) -> int:
    """Return the shortest of ``longest``, its half, its quarter … to hold ``length``.

    >>> padded_length(14, 27), padded_length(15, 27)
    (14, 27)
    """
    while length <= (half := -(-longest // 2)) < longest:
        longest = half
    return longest
