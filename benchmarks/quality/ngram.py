"""A character n-gram with Witten–Bell smoothing: what counting alone achieves.

The probability of a symbol c after a context h of k symbols is

    p(c | h) = (count(h c) + types(h) · p(c | h')) / (count(h) + types(h))

where types(h) is the number of different symbols seen after h, and h' is h without its
first symbol; below the empty context lies the uniform distribution. A context that was
never seen says nothing: p(c | h) = p(c | h'). (Witten and Bell, The zero-frequency
problem, IEEE Transactions on Information Theory 37(4), 1991, method C, interpolated.)

Contexts are numbered instead of being kept as strings: the pair of a context of k − 1
symbols and the symbol after it is a context of k symbols of what follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_CONTEXT_CHARS = 8
VALIDATION_SHARE = 0.1  # of the training part, for choosing the context's length


@dataclass(frozen=True)
class Level:
    """What was counted with contexts of one length.

    Attributes:
        pairs: (E,) sorted; context's number · V + symbol, of all that occur.
        counts: (E,) how often each was seen.
        totals: (C,) how often each context was seen before a symbol.
        types: (C,) number of different symbols seen after it.
    """

    pairs: np.ndarray
    counts: np.ndarray
    totals: np.ndarray
    types: np.ndarray


class NGram:
    """An n-gram of every length of context up to a longest one.

    Args:
        ids: (N,) training ids below ``vocabulary_size``.
        readable: (N,) number of symbols before each that may be read to predict it;
            see `readable_in_stream` and `readable_in_lines`. Symbols with none before
            them are not predicted.
        vocabulary_size: V.
        max_context: symbols in the longest context.
    """

    def __init__(
        self,
        ids: np.ndarray,
        readable: np.ndarray,
        vocabulary_size: int,
        max_context: int = MAX_CONTEXT_CHARS,
    ) -> None:
        self._size = vocabulary_size
        self._levels: list[Level] = []
        ids = ids.astype(np.int64)
        contexts, contexts_count = np.zeros(len(ids), np.int64), 1
        for length in range(max_context + 1):
            known = contexts >= 0
            if not known.any():
                break  # no line is as long as that
            pairs, numbers = np.unique(
                contexts[known] * vocabulary_size + ids[known], return_inverse=True
            )
            predicted = (readable[known] > 0).astype(np.int64)
            counts = np.bincount(numbers, predicted, len(pairs))
            before = pairs // vocabulary_size
            self._levels.append(
                Level(
                    pairs,
                    counts,
                    totals=np.bincount(before, counts, contexts_count),
                    types=np.bincount(before, counts > 0, contexts_count),
                )
            )
            found = np.full(len(ids), -1)
            found[known] = numbers
            contexts, contexts_count = _longer(found, readable, length), len(pairs)

    def nats(self, ids: np.ndarray, readable: np.ndarray) -> list[float]:
        """Return the mean negative log-likelihood of a text, for each length.

        Args:
            ids: (M,) ids.
            readable: (M,) as for the training.

        Returns:
            Nats per predicted symbol with contexts of at most 0, 1, 2, … symbols.
        """
        ids = ids.astype(np.int64)
        contexts = np.zeros(len(ids), np.int64)
        likelihoods = np.full(len(ids), 1 / self._size)
        means = []
        for length, level in enumerate(self._levels):
            pairs = contexts * self._size + ids
            places = np.minimum(
                np.searchsorted(level.pairs, pairs), len(level.pairs) - 1
            )
            seen = (contexts >= 0) & (level.pairs[places] == pairs)
            counts = np.where(seen, level.counts[places], 0)
            totals = np.where(contexts >= 0, level.totals[contexts], 0)
            types = np.where(contexts >= 0, level.types[contexts], 0)
            smoothed = (counts + types * likelihoods) / np.maximum(totals + types, 1)
            likelihoods = np.where(totals > 0, smoothed, likelihoods)
            means.append(float(-np.log(likelihoods[readable > 0]).mean()))
            contexts = _longer(np.where(seen, places, -1), readable, length)
        return means


def _longer(found: np.ndarray, readable: np.ndarray, length: int) -> np.ndarray:
    """Return each symbol's context of one more symbol: the pair found before it."""
    contexts = np.concatenate([[-1], found[:-1]])
    contexts[readable <= length] = -1
    return contexts


def readable_in_stream(ids: np.ndarray) -> np.ndarray:
    """Return (N,) how many symbols precede each: all of them may be read."""
    return np.arange(len(ids))


def readable_in_lines(ids: np.ndarray, end_id: int) -> np.ndarray:
    """Return (N,) how many symbols of its own line precede each.

    Args:
        ids: (N,) ids in the form of `textgen.data.corpus`: end symbols around all
        lines.
        end_id: the end symbol; one begins a line and one, which is predicted, ends it.
    """
    places = np.arange(len(ids))
    starts = np.maximum.accumulate(np.where(ids == end_id, places, 0))
    readable = places - np.concatenate([[0], starts[:-1]])
    return readable


def best_ngram_nats(
    training: np.ndarray,
    held_out: np.ndarray,
    vocabulary_size: int,
    end_id: int | None = None,
) -> tuple[int, float]:
    """Return the best context's length and what it achieves on held-out text.

    The length is chosen on the last tenth of the training part, with what is counted
    in the rest; then everything is counted.

    Args:
        training: (N,) ids.
        held_out: (M,) ids.
        vocabulary_size: V.
        end_id: the end symbol if the text is made of lines; None for a stream.

    Returns:
        Symbols in the context, and nats per held-out symbol.
    """

    def readable(ids: np.ndarray) -> np.ndarray:
        if end_id is None:
            return readable_in_stream(ids)
        return readable_in_lines(ids, end_id)

    cut = int(len(training) * (1 - VALIDATION_SHARE))
    first, validation = training[:cut], training[cut:]
    if end_id is not None:  # an end symbol closes the first part and opens the second
        cut = int(np.flatnonzero(first == end_id)[-1])
        first, validation = training[: cut + 1], training[cut:]
    shorter = NGram(first, readable(first), vocabulary_size)
    best = int(np.argmin(shorter.nats(validation, readable(validation))))
    whole = NGram(training, readable(training), vocabulary_size, best)
    return best, whole.nats(held_out, readable(held_out))[best]
