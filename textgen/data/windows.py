"""Ids → windows: the one place where a corpus is cut up for training.

There are windows of one long text, of streams of it whose state is carried on, and of
lines. Each kind says where its windows lie; `textgen.data.batches` gathers them. Those
of lines take four bytes a line.

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

from collections.abc import Sequence

import numpy as np

from textgen.config import WindowConfig
from textgen.data.batches import Located, WindowBatch, Windows
from textgen.data.permutation import ROUNDS, permute
from textgen.errors import CorpusError, OptionError

BLOCK_IDS = 1 << 20  # searched together by `places_of`
BLOCK_LINES = 1 << 18  # cut together by `with_bounds_between`


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
        _check_length(ids, window)
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


class StreamWindows(Windows):
    """Windows of T symbols, of B streams into which a text is cut, in their order.

    Row b of each batch goes on where row b of the batch before ended, so that the state
    can be carried on, as in char-rnn (Karpathy 2015). The first stream of an epoch
    starts at a random phase, so that windows begin elsewhere in each epoch. What an
    epoch leaves out, before that and after the last stream, is about a batch at most.
    """

    stateful = True

    def __init__(
        self, ids: np.ndarray, config: WindowConfig, batch_size: int, seed: int
    ) -> None:
        window = config.seq_length
        _check_length(ids, window)
        most = max(1, len(ids) // window - 1)
        streams = min(batch_size, most)
        self._of_a_stream = most // streams
        count = streams * self._of_a_stream
        self._phases = len(ids) - count * window
        super().__init__(ids, config, count, window, streams, seed, padding_id=0)

    def _order(self, places: np.ndarray, randoms: np.ndarray) -> np.ndarray:
        step, stream = np.divmod(places, self.batch_size)
        return stream * self._of_a_stream + step

    def _locate(self, windows: np.ndarray, random: int) -> Located:
        window = self._config.seq_length
        starts = random % self._phases + windows * window
        return Located(starts, np.full(len(windows), window))


class LineWindows(Windows):
    """Each example from its opening end symbol on, predicting it and its closing one.

    For targets ``all`` a window is a line. A line of more than T goes on in further
    windows of T inputs, of which the first half or more only lead in to what is
    predicted, so that every symbol is a target once; ``stride`` has no meaning. For
    targets ``last`` a window is the at most T symbols of the line before one symbol,
    and the stride is that of these symbols.

    The first input of each window of a line with a label is the label's symbol, which
    is no target; or, of a share of the windows that is drawn anew for each epoch, what
    it would be without labels.
    """

    def __init__(
        self,
        ids: np.ndarray,
        config: WindowConfig,
        batch_size: int,
        seed: int,
        end_id: int,
        label_ids: Sequence[int] = (),
    ) -> None:
        if len(ids) < 2:
            raise CorpusError(
                "expected at least one line to train on, but there is none",
                "give a smaller `held_out`, or a text with more lines",
            )
        if ids[0] != end_id or ids[-1] != end_id:
            raise ValueError("ids of lines must begin and end with the end symbol")
        if len(label_ids) and (config.targets == "last" or config.seq_length < 2):
            wanted = "`targets` all and a `seq_length` of at least 2"
            received = f"{config.targets} and {config.seq_length}"
            raise OptionError(f"training with labels needs {wanted}, not {received}")
        self._label_ids = np.array(label_ids, np.int64)
        self._ends = places_of(end_id, ids)
        begin = ids[self._ends[:-1].astype(np.int64) + 1]
        self.labels = int(np.isin(begin, self._label_ids).sum())
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
            if len(self._label_ids):
                return self._locate_labelled(windows, random)
            firsts = self._bounds[windows].astype(np.int64)
            ends = self._bounds[windows + 1].astype(np.int64)
            if self._bounds is self._ends:  # no line is longer than a window
                return Located(firsts, ends - firsts)
            starts = np.maximum(self._openings(firsts), ends - window)
            return Located(starts, ends - starts, firsts - starts)
        last_inputs = windows * self._stride
        starts = np.maximum(self._openings(last_inputs), last_inputs + 1 - window)
        return Located(starts, last_inputs + 1 - starts)

    def counts(self, symbols: int) -> np.ndarray:
        """See `Windows.counts`; labels count as 0, since they are no targets."""
        counts = super().counts(symbols)
        counts[self._label_ids] = 0
        return counts

    def _locate_labelled(self, windows: np.ndarray, random: int) -> Located:
        firsts = self._bounds[windows].astype(np.int64)
        ends = self._bounds[windows + 1].astype(np.int64)
        openings = self._openings(firsts)
        labels = self._ids[openings + 1].astype(np.int64)
        has_label = np.isin(labels, self._label_ids)
        starts = np.maximum(openings + has_label, ends - self._config.seq_length)
        is_first = has_label & (starts == openings + 1)
        without = np.where(is_first, self._padding_id, self._ids[starts])
        keys = np.random.SeedSequence(random).generate_state(ROUNDS, np.uint64)
        order = permute(windows, self.windows_per_epoch, keys)
        is_dropped = order < self._config.label_dropout * self.windows_per_epoch
        given = np.where(has_label & ~is_dropped, labels, without)
        lead = np.maximum(firsts - starts, 0)
        return Located(starts, ends - starts, lead, given)

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
    label_ids: Sequence[int] = (),
    characters: int | None = None,
) -> TextWindows | StreamWindows | LineWindows:
    """Return the windows of a text.

    Args:
        ids: (N,) of any integer type, maybe a memory map; not copied. Those of
            ``lines`` begin and end with the end symbol.
        kind: ``lines`` or ``text``.
        config: T, stride and targets.
        batch_size: windows B in a batch.
        seed: determines phase and order, with the epoch.
        end_id: id of the end symbol; needed for ``lines``.
        label_ids: ids of labels, of which ``lines`` may begin with one each.
        characters: of the text, if its symbols have several.

    Raises:
        CorpusError: when the text is too short for a single window.
        OptionError: for labels with targets ``last`` or windows of one symbol, or for
            ``lines`` whose state is to be carried on.
        ValueError: when ``ids`` of ``lines`` don't begin and end with ``end_id``, or
            ``kind`` is neither.
    """
    windows: TextWindows | StreamWindows | LineWindows
    if kind == "text":
        made = StreamWindows if config.stateful else TextWindows
        windows = made(ids, config, batch_size, seed)
    elif config.stateful:
        raise OptionError(
            "`stateful` is for a text: each of `kind` lines begins from zero state"
        )
    elif kind == "lines" and end_id is not None:
        windows = LineWindows(ids, config, batch_size, seed, end_id, label_ids)
    else:
        raise ValueError(f"kind must be 'text', or 'lines' with an end_id: {kind!r}")
    windows.characters = characters or len(ids)
    return windows


def _check_length(ids: np.ndarray, window: int) -> None:
    """Raise `CorpusError` unless a text (N,) has a window of so many inputs."""
    if len(ids) <= window:
        raise CorpusError(
            f"expected at least {window + 1:,} symbols to train on for windows of "
            f"{window:,}, but there are {len(ids):,}",
            "give a smaller `seq_length` or `held_out`, or a longer text",
        )


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
