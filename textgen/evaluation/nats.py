"""How well a trained model predicts a text: mean nats per character.

The nats of all symbols are divided by how many characters these have together, so that
models of characters, words and byte pairs compare.

A text is cut into up to 64 pieces that are read together, each from zero state and
with a lead, symbols before it that are read but don't count; so it takes a fraction of
the time that one stream would, and gives the same to 0.001 (docs/experiments.md). Lines
are read each from zero state, beginning with the end symbol. A model of a text that was
trained on targets ``last`` is judged by the symbol after each full window, the only
thing that it was trained for. To compare it with a model trained on ``all``,
``after_chars`` counts only symbols that have so many before them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np

from textgen.inference.decoder import AnyDecoder
from textgen.saving.trained_model import TrainedModel
from textgen.system.hardware import available_cores

LEAD_SYMBOLS = 128  # read before a piece of a text begins to count
PIECE_SYMBOLS = 128  # shorter pieces than this are not worth a lead
MOST_PIECES = 64
MOST_THREADS = 4
WINDOWS_AT_ONCE = 512
LINES_AT_ONCE = 64
BLOCK_FLOATS = 1 << 20  # logits kept before their loss is taken: 4 MiB


def bits_per_char(nats: float) -> float:
    """Return a mean cross-entropy per character in bits, given in nats."""
    return nats / math.log(2)


def perplexity(nats: float) -> float:
    """Return among how many symbols a uniform guess has this cross-entropy in nats."""
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf


def describe(nats: float) -> str:
    """Return a mean cross-entropy per character, given in nats, in all three units.

    >>> describe(1.632)
    '1.632 nats/char, 2.354 bits/char, perplexity 5.11'
    """
    return (
        f"{nats:.3f} nats/char, {bits_per_char(nats):.3f} bits/char, "
        f"perplexity {perplexity(nats):.2f}"
    )


class Losses(NamedTuple):
    """Sums over the symbols of a text, or of a part of it, that were predicted."""

    nats: float  # of their cross-entropies
    symbols: int
    characters: int  # that they have
    right: int  # how many of them the model thought the likeliest

    @property
    def nats_per_char(self) -> float:
        """The mean cross-entropy; NaN of no symbols."""
        return self.nats / self.characters if self.symbols else math.nan

    @property
    def accuracy(self) -> float:
        """The share of symbols that were thought the likeliest; NaN of none."""
        return self.right / self.symbols if self.symbols else math.nan


def held_out_nats(
    model: TrainedModel,
    ids: np.ndarray,
    max_symbols: int | None = None,
    *,
    after_chars: int = 0,
) -> float:
    """Return the mean cross-entropy of a text's ids (N,), in nats per character.

    The arguments are those of `total_losses`. Of no counted symbol the mean is NaN.
    """
    total = total_losses(model, ids, max_symbols, after_chars=after_chars)
    return total.nats_per_char


def total_losses(
    model: TrainedModel,
    ids: np.ndarray,
    max_symbols: int | None = None,
    *,
    after_chars: int = 0,
) -> Losses:
    """Return the losses of a text's ids (N,), summed over its counted symbols.

    Of ``lines``, only whole lines are read, from one end symbol to the next. About
    ``max_symbols`` are counted, evenly spread over the text (in pieces, windows or
    whole lines), or all; and only those with ``after_chars`` before them in the text
    or, of ``lines``, in the line with its leading end symbol.
    """
    return summed(losses(model, ids, max_symbols, after_chars=after_chars))


def summed(parts: Iterable[Losses]) -> Losses:
    """Return the losses of several parts of a text as those of all of them."""
    nats, symbols, characters, right = 0.0, 0, 0, 0
    for part in parts:
        nats += part.nats
        symbols += part.symbols
        characters += part.characters
        right += part.right
    return Losses(nats, symbols, characters, right)


def losses(
    model: TrainedModel,
    ids: np.ndarray,
    max_symbols: int | None = None,
    *,
    after_chars: int = 0,
) -> Iterator[Losses]:
    """Yield the losses of a text part by part, as they are measured.

    The arguments are those of `total_losses`.
    """
    for places, logits in predictions(model, ids, max_symbols, after_chars=after_chars):
        wanted = ids[places]
        nats = cross_entropy(logits, wanted).sum()
        right = int(np.count_nonzero(logits.argmax(axis=-1) == wanted))
        characters = int(model.vocabulary.characters[wanted].sum())
        yield Losses(float(nats), wanted.size, characters, right)


def predictions(
    model: TrainedModel,
    ids: np.ndarray,
    max_symbols: int | None = None,
    *,
    after_chars: int = 0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield places (M,) in a text and the logits (M, V) for what stands there.

    All parts together have each symbol that counts once, in any order. The arguments
    are those of `held_out_nats`.
    """
    if model.kind == "lines":
        read = _line_readings
    elif model.windows.targets == "last":
        read = _window_readings
    else:
        read = _text_readings
    size = len(model.vocabulary)
    readings = read(model, ids, max_symbols, after_chars)
    yield from _side_by_side(reading.parts(ids, size) for reading in readings)


def _threads() -> int:
    return min(available_cores(), MOST_THREADS)


def _side_by_side(readings: Iterator[Iterator[_Part]]) -> Iterator[_Part]:
    """Yield the parts of several readings, as many at a time as there are threads."""
    with ThreadPoolExecutor(_threads()) as pool:
        while group := list(islice(readings, _threads())):
            while parts := list(filter(None, pool.map(_next_part, group))):
                yield from parts


def _next_part(reading: Iterator[_Part]) -> _Part | None:
    return next(reading, None)


_Part = tuple[np.ndarray, np.ndarray]  # places and logits, as of `predictions`


class _Reading(NamedTuple):
    """B texts that are read together, symbol by symbol, in N steps."""

    decoder: AnyDecoder  # of batch size B, in the state to begin with
    places: np.ndarray  # (N, B) of what is predicted, each after the one before it
    counted: np.ndarray  # (N, B) bool, the places whose loss counts

    def parts(self, ids: np.ndarray, vocabulary_size: int) -> Iterator[_Part]:
        """Read them, and yield what counts as `predictions` does."""
        block = max(1, BLOCK_FLOATS // (self.decoder.batch_size * vocabulary_size))
        for start in range(0, len(self.places), block):
            places, counted = (x[start : start + block] for x in self[1:])
            inputs = ids[places - 1]
            logits = np.array([self.decoder.step(row).copy() for row in inputs])
            yield places[counted], logits[counted]


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return -log softmax (N,) float64 of logits (N, V) at target ids (N,), in nats."""
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(scores, targets[:, None].astype(np.intp), -1)[:, 0]
    return np.log(np.exp(scores).sum(axis=-1)) - chosen


def _text_readings(
    model: TrainedModel, ids: np.ndarray, max_symbols: int | None, after_chars: int
) -> Iterator[_Reading]:
    first = max(1, after_chars)
    symbols = max(0, len(ids) - first)
    if max_symbols is not None:
        symbols = min(symbols, max_symbols)
    pieces = min(MOST_PIECES, max(1, symbols // PIECE_SYMBOLS))
    length = -(-symbols // pieces)
    # Pieces of a whole text overlap by a few symbols, which count for the later one.
    starts = np.linspace(first, len(ids) - length, pieces).astype(np.int64)
    ends = np.minimum(starts + length, np.append(starts[1:], len(ids)))
    begins = np.maximum(1, starts - LEAD_SYMBOLS)
    for part in np.array_split(np.arange(pieces), min(pieces, _threads())):
        steps = np.arange((ends - begins)[part].max(initial=0))[:, None]
        places = begins[part] + steps
        counted = (places >= starts[part]) & (places < ends[part])
        places = np.minimum(places, len(ids) - 1)
        yield _Reading(model.decoder(len(part)), places, counted)


def _window_readings(
    model: TrainedModel, ids: np.ndarray, max_symbols: int | None, after_chars: int
) -> Iterator[_Reading]:
    window = model.windows.seq_length
    ends = np.arange(max(window, after_chars), len(ids))
    if max_symbols is not None and max_symbols < len(ends):
        ends = ends[_spread(len(ends), max_symbols)]
    steps = np.arange(1 - window, 1)[:, None]
    both_ways = model.reads_both_ways  # each of whose windows is kept whole
    most = min(WINDOWS_AT_ONCE, model.max_batch_size) if both_ways else WINDOWS_AT_ONCE
    for start in range(0, len(ends), most):
        places = ends[start : start + most] + steps
        counted = np.broadcast_to(steps == 0, places.shape)
        decoder = model.decoder_within(window, places.shape[1])
        yield _Reading(decoder, places, counted)


def _line_readings(
    model: TrainedModel, ids: np.ndarray, max_symbols: int | None, after_chars: int
) -> Iterator[_Reading]:
    if model.end_id is None:
        raise ValueError("expected a vocabulary with the end symbol, but it has none")
    ends = np.flatnonzero(ids == model.end_id)
    starts, lengths = ends[:-1], np.diff(ends)
    if model.vocabulary.labels:  # a line is read from its label on, if it has one
        is_labelled = model.vocabulary.is_label[ids[starts + 1]]
        starts, lengths = starts + is_labelled, lengths - is_labelled
    if max_symbols is not None and max_symbols < lengths.sum():
        lines = max(1, round(len(starts) * max_symbols / lengths.sum()))
        chosen = _spread(len(starts), lines)
        starts, lengths = starts[chosen], lengths[chosen]
    # Lines of like length are read together, so that little is computed in vain.
    order = np.argsort(lengths, kind="stable")
    for begin in range(0, len(order), LINES_AT_ONCE):
        rows = order[begin : begin + LINES_AT_ONCE]
        longest = int(lengths[rows].max())
        steps = np.arange(longest)[:, None]
        places = np.minimum(starts[rows] + steps + 1, len(ids) - 1)
        counted = (steps < lengths[rows]) & (steps + 1 >= after_chars)
        yield _Reading(model.decoder_within(longest, len(rows)), places, counted)


def _spread(length: int, count: int) -> np.ndarray:
    """Return ``count`` places from the first to the last of so many, evenly spread."""
    return np.linspace(0, length - 1, count).astype(np.int64)
