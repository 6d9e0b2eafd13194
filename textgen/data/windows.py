"""Ids → batches of windows: the one place where a corpus is cut up for training.

A window is a run of symbols ``ids[s : s + T + 1]``: its inputs are all but the last of
them and its targets all but the first. A batch is gathered when it is asked for, and
which windows it holds is computed from (seed, epoch, step) by a keyed permutation. So
only the batches asked for take memory beyond the ids (and, for ``lines``, four bytes a
line), and any step can be had at any time.

    >>> ids = np.arange(10, dtype=np.uint8)
    >>> config = WindowConfig(seq_length=3, targets="last")
    >>> windows = make_windows(ids, "text", config, batch_size=2, seed=0)
    >>> windows.windows_per_epoch, windows.steps_per_epoch
    (7, 4)
    >>> batch = windows.batch(epoch=0, step=0)
    >>> (batch.inputs + 1 == batch.targets).all()
    np.True_
    >>> batch.weights[0]
    array([0., 0., 1.], dtype=float32)
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from textgen.config import WindowConfig
from textgen.data.permutation import ROUNDS, permute
from textgen.errors import CorpusError

BLOCK_IDS = 1 << 20  # searched together by `places_of`
AVERAGED_BATCHES = 16  # for the characters of a step
BLOCK_LINES = 1 << 18  # cut together by `with_bounds_between`


class Located(NamedTuple):
    """Where R windows are, each as int64 (R,)."""

    starts: np.ndarray  # of their first inputs
    lengths: np.ndarray  # numbers of inputs
    lead: np.ndarray | int = 0  # first inputs whose targets don't count


class WindowBatch(NamedTuple):
    """B windows; T is the length of the longest among them.

    Batches of one length may be stacked: then each array has K in front.
    """

    inputs: np.ndarray  # (B, T) int32 ids
    targets: np.ndarray  # (B, T) int32 ids, each the symbol after its input
    weights: np.ndarray  # (B, T) float32, 1 where the target counts and 0 elsewhere


class Windows(ABC):
    """All windows of an epoch, in a seeded order; made by `make_windows`."""

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
        return self.characters / self.symbols

    @cached_property
    def characters_per_step(self) -> float:
        """About how many characters count in a step; batches of lines differ."""
        count = min(AVERAGED_BATCHES, self.steps_per_epoch)
        stacks = self.stacked_batches(0, 0, count)
        symbols = sum(float(stack.weights.sum()) for stack in stacks) / count
        return symbols * self.characters_per_symbol

    @abstractmethod
    def _locate(self, windows: np.ndarray, random: int) -> Located:
        """Return where windows are.

        ``windows`` (R,) int64 are numbers in the text's order, ``random`` is a number
        of this epoch, from 0 to 2⁶⁴ - 1.
        """

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
        windows = permute(places, self.windows_per_epoch, randoms[1:])
        starts, lengths, lead = self._locate(windows, int(randoms[0]))
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
        offsets = starts[:, None] + np.arange(width + 1)
        symbols = self._ids.take(offsets, mode="clip").astype(np.int32)
        inputs, targets = symbols[:, :-1].copy(), symbols[:, 1:].copy()
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


class TextWindows(Windows):
    """Windows of T symbols, a stride apart, over one long text.

    For targets ``all`` the first window of an epoch starts at a random phase below the
    stride, so that no symbol is always left out, and a window that would reach beyond
    the text is moved back to end with it. For targets ``last`` the phase is 0.
    """

    def __init__(
        self, ids: np.ndarray, config: WindowConfig, batch_size: int, seed: int
    ) -> None:
        window = config.seq_length
        if len(ids) <= window:
            raise CorpusError(
                f"expected at least {window + 1:,} symbols to train on for windows of "
                f"{window:,}, but there are {len(ids):,}",
                "give a smaller `seq_length` or `held_out`, or a longer text",
            )
        self._stride = config.stride or (window if config.targets == "all" else 1)
        self._last_start = len(ids) - window - 1
        count = self._last_start // self._stride + 1
        super().__init__(ids, config, count, window, batch_size, seed, padding_id=0)

    def _locate(self, windows: np.ndarray, random: int) -> Located:
        phase = 0
        if self._config.targets == "all":
            phase = random % min(self._stride, self._last_start + 1)
        starts = np.minimum(phase + windows * self._stride, self._last_start)
        return Located(starts, np.full(len(windows), self._config.seq_length))

    def arrays(self, epoch: int = 0) -> WindowBatch:
        """See `Windows.arrays`."""
        inputs, targets, weights = super().arrays(epoch)
        if self._config.targets == "last":
            targets, weights = targets[:, -1].copy(), weights[:, -1].copy()
        return WindowBatch(inputs, targets, weights)


class LineWindows(Windows):
    """Each example from its opening end symbol on, predicting it and its closing one.

    For targets ``all`` a window is a line. A line of more than T goes on in further
    windows of T inputs, of which the first half or more only lead in to what is
    predicted, so that every symbol is a target once; ``stride`` has no meaning. For
    targets ``last`` a window is the at most T symbols of the line before one symbol,
    and the stride is that of these symbols.
    """

    def __init__(
        self,
        ids: np.ndarray,
        config: WindowConfig,
        batch_size: int,
        seed: int,
        end_id: int,
    ) -> None:
        if len(ids) < 2:
            raise CorpusError(
                "expected at least one line to train on, but there is none",
                "give a smaller `held_out`, or a text with more lines",
            )
        if ids[0] != end_id or ids[-1] != end_id:
            raise ValueError("ids of lines must begin and end with the end symbol")
        self._ends = places_of(end_id, ids)
        self._stride = config.stride or 1
        if config.targets == "all":
            window = config.seq_length
            self._bounds = with_bounds_between(self._ends, window, -(-window // 2))
            count = len(self._bounds) - 1
            longest = min(int(np.diff(self._ends).max()), window)
        else:
            count = (len(ids) - 2) // self._stride + 1
            longest = min(int(np.diff(self._ends).max()), config.seq_length)
        super().__init__(ids, config, count, longest, batch_size, seed, end_id)

    def _locate(self, windows: np.ndarray, random: int) -> Located:
        window = self._config.seq_length
        if self._config.targets == "all":
            firsts = self._bounds[windows].astype(np.int64)
            ends = self._bounds[windows + 1].astype(np.int64)
            if self._bounds is self._ends:  # no line is longer than a window
                return Located(firsts, ends - firsts)
            starts = np.maximum(self._openings(firsts), ends - window)
            return Located(starts, ends - starts, firsts - starts)
        last_inputs = windows * self._stride
        starts = np.maximum(self._openings(last_inputs), last_inputs + 1 - window)
        return Located(starts, last_inputs + 1 - starts)

    def _openings(self, places: np.ndarray) -> np.ndarray:
        """Return where the end symbols are that begin the lines of places (R,)."""
        # Of the ends' own type, or searchsorted would convert all the ends.
        keys = places.astype(self._ends.dtype)
        lines = np.searchsorted(self._ends, keys, side="right") - 1
        return self._ends[lines].astype(np.int64)


def make_windows(
    ids: np.ndarray,
    kind: str,
    config: WindowConfig,
    batch_size: int,
    seed: int,
    end_id: int | None = None,
    characters: int | None = None,
) -> TextWindows | LineWindows:
    """Return the windows of a text.

    Args:
        ids: (N,) of any integer type, maybe a memory map; not copied. Those of
            ``lines`` begin and end with the end symbol.
        kind: ``lines`` or ``text``.
        config: T, stride and targets.
        batch_size: windows B in a batch.
        seed: determines phase and order, with the epoch.
        end_id: id of the end symbol; needed for ``lines``.
        characters: of the text, if its symbols have several.

    Raises:
        CorpusError: when the text is too short for a single window.
        ValueError: when ``ids`` of ``lines`` don't begin and end with ``end_id``, or
            ``kind`` is neither.
    """
    windows: TextWindows | LineWindows
    if kind == "text":
        windows = TextWindows(ids, config, batch_size, seed)
    elif kind == "lines" and end_id is not None:
        windows = LineWindows(ids, config, batch_size, seed, end_id)
    else:
        raise ValueError(f"kind must be 'text', or 'lines' with an end_id: {kind!r}")
    windows.characters = characters or len(ids)
    return windows


def padded_length(length: int, longest: int) -> int:
    """Return the shortest of ``longest``, its half, its quarter … to hold ``length``.

    >>> padded_length(14, 27), padded_length(15, 27)
    (14, 27)
    """
    while length <= (half := -(-longest // 2)) < longest:
        longest = half
    return longest


def places_of(wanted: int, ids: np.ndarray) -> np.ndarray:
    """Return where an id stands in ids (N,), in order, as uint32 if that suffices.

    >>> places_of(0, np.array([0, 5, 6, 7, 8, 9, 0, 5, 0], np.uint8))
    array([0, 6, 8], dtype=uint32)
    """
    dtype = np.uint32 if len(ids) < 2**32 else np.int64
    places = [np.empty(0, dtype)]
    for start in range(0, len(ids), BLOCK_IDS):
        found = np.flatnonzero(ids[start : start + BLOCK_IDS] == wanted)
        places.append((found + start).astype(dtype))
    return np.concatenate(places)


def with_bounds_between(bounds: np.ndarray, first: int, others: int) -> np.ndarray:
    """Return increasing bounds with more between those further apart than ``first``.

    The first is so far away, and the ``others`` are so far apart at the most.

    >>> with_bounds_between(np.array([0, 9, 11]), first=4, others=2)
    array([ 0,  4,  6,  8,  9, 11])
    """
    if np.diff(bounds).max() <= first:
        return bounds
    cut = [bounds[:1]]
    for start in range(0, len(bounds) - 1, BLOCK_LINES):
        begins = bounds[start : start + BLOCK_LINES + 1].astype(np.int64)
        pieces = 1 + -(-np.maximum(0, np.diff(begins) - first) // others)
        ends = np.cumsum(pieces)  # number of the piece after each line's last one
        left = np.repeat(ends, pieces) - np.arange(1, ends[-1] + 1)  # in its line
        number = np.repeat(pieces, pieces) - left
        places = np.repeat(begins[:-1], pieces) + first + (number - 1) * others
        places[left == 0] = begins[1:]
        cut.append(places.astype(bounds.dtype))
    return np.concatenate(cut)
