"""A character n-gram that learns as it reads: what counting alone achieves.

Each symbol c is predicted from the symbols h before it, by what was counted in all that
stands before that place, as an interpolated Kneser–Ney model does:

    p(c | h) = (max(n(h c) - D, 0) + (D · t(h) + S) · p(c | h')) / (n(h) + S)

where n(h c) is how often c was seen after h, n(h) the sum of these over all symbols,
t(h) how many different symbols were seen after h, and h' is h without its first symbol;
D is the discount and S the strength. Below the empty context lies the uniform
distribution, and a context that was never seen says nothing: p(c | h) = p(c | h').
Only with the longest contexts is n(h c) the number of times: with shorter ones it is
how many different symbols were seen before h c, so that a lower order, which is asked
where the higher ones know nothing, counts what was new to them. (Kneser and Ney 1995;
with S it is the hierarchical Pitman–Yor process of Teh 2006 with one table a symbol.)

No loop goes through the text. How often a pair of a context and a symbol was seen
before each place is its rank among all places that hold this pair, which sorting gives.

>>> nats = ngram_nats(np.array([0, 1] * 50), np.arange(100), 2)
>>> [float(round(x, 3)) for x in nats[[0, 1, 99]]]
[0.693, 0.799, 0.002]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_CONTEXT_CHARS = 6
DISCOUNT, STRENGTH = 0.85, 0.5  # any near these do as well, on names as on long texts


def ngram_nats(
    ids: np.ndarray, readable: np.ndarray, vocabulary_size: int
) -> np.ndarray:
    """Return the loss (N,) of each of a text's ids (N,), in nats.

    ``readable`` (N,) is the number of symbols before each that may be read to predict
    it; see `readable_in_text` and `readable_in_lines`.
    """
    likelihoods = np.full(len(ids), 1 / vocabulary_size)
    level = _level(0, ids, readable, np.zeros(len(ids), np.int64), vocabulary_size)
    for length in range(MAX_CONTEXT_CHARS + 1):
        longer, counted = None, np.ones(len(level.places), bool)
        if length < MAX_CONTEXT_CHARS:
            longer = _level(
                length + 1, ids, readable, level.contexts_after(len(ids)),
                vocabulary_size,
            )  # fmt: skip
            # What is new after a longer context counts, and what has no longer one.
            is_new = readable <= length
            is_new[longer.places[longer.pairs.firsts]] = True
            counted = is_new[level.places]
        likelihoods[level.places] = level.likelihoods(
            counted, likelihoods[level.places]
        )
        if longer is None:
            break
        level = longer
    return -np.log(likelihoods)


def readable_in_text(ids: np.ndarray) -> np.ndarray:
    """Return (N,) how many symbols precede each: all of them may be read."""
    return np.arange(len(ids))


def readable_in_lines(ids: np.ndarray, end_id: int) -> np.ndarray:
    """Return (N,) how many symbols of its own line precede each of ids (N,).

    They are in the form of `textgen.data.corpus`: an end symbol begins the first line
    and ends each, and is the first symbol that the next line may read.
    """
    places = np.arange(len(ids))
    begins = np.maximum.accumulate(np.where(ids == end_id, places, 0))
    return places - np.concatenate([begins[:1], begins[:-1]])


class _Groups:
    """Places 0 … M - 1 grouped by their keys (M,)."""

    def __init__(self, keys: np.ndarray) -> None:
        self._order = np.argsort(keys, kind="stable")
        ordered = keys[self._order]
        begins = np.ones(len(keys), bool)
        begins[1:] = ordered[1:] != ordered[:-1]
        self._begins = begins
        self.firsts = self._order[begins]  # the first place of each group

    def numbers(self) -> np.ndarray:
        """Return the number (M,) of each place's group, counted from 0."""
        return self._in_places(np.cumsum(self._begins) - 1)

    def counts_before(self, counted: np.ndarray) -> np.ndarray:
        """Return (M,) how many earlier places of its group are ``counted``, for each.

        These are (M,) bool.
        """
        ordered = counted[self._order]
        before = np.cumsum(ordered) - ordered
        group_begins = np.flatnonzero(self._begins)
        lengths = np.diff(group_begins, append=len(before))
        return self._in_places(before - np.repeat(before[group_begins], lengths))

    def _in_places(self, ordered: np.ndarray) -> np.ndarray:
        values = np.empty_like(ordered)
        values[self._order] = ordered
        return values


@dataclass(frozen=True)
class _Level:
    """All symbols of a text that have a context of one length."""

    places: np.ndarray  # (M,) where they stand
    contexts: _Groups  # of the places 0 … M - 1, by their context
    pairs: _Groups  # by their context and the symbol itself

    def contexts_after(self, length: int) -> np.ndarray:
        """Return the context (N,) one longer of each symbol: the pair before it."""
        contexts = np.zeros(length + 1, np.int64)
        contexts[self.places + 1] = self.pairs.numbers()
        return contexts[:-1]

    def likelihoods(self, counted: np.ndarray, shorter: np.ndarray) -> np.ndarray:
        """Return the likelihoods (M,) of the symbols, given those by shorter contexts.

        The places that are ``counted`` (M,) bool are what later ones learn from.
        """
        is_first = np.zeros(len(self.places), bool)
        is_first[self.pairs.firsts] = True
        of_pair = self.pairs.counts_before(counted)
        of_context = self.contexts.counts_before(counted)
        types = self.contexts.counts_before(is_first)
        known = np.maximum(of_pair - DISCOUNT, 0)
        left = (DISCOUNT * types + STRENGTH) * shorter
        return np.where(of_context, (known + left) / (of_context + STRENGTH), shorter)


def _level(
    length: int,
    ids: np.ndarray,
    readable: np.ndarray,
    contexts: np.ndarray,
    vocabulary_size: int,
) -> _Level:
    """Group the symbols that may read ``length`` others, by their contexts (N,)."""
    places = np.flatnonzero(readable >= length)
    keys = contexts[places]
    pairs = keys * vocabulary_size + ids[places]
    return _Level(places, _Groups(keys), _Groups(pairs))
