"""Where a completion ends that is counted in characters and stopped by texts.

Of a model of characters, ids tell that: each is a character, and a text to stop at is a
run of them. Of longer symbols, the last one may reach beyond the end and is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from textgen.data.vocabulary import Vocabulary


def stop_ids(vocabulary: Vocabulary, *stops: str | None) -> list[np.ndarray]:
    """Return the ids of those texts that can occur, of a model of characters."""
    if vocabulary.level != "character":
        return []
    return [
        vocabulary.encode(stop)
        for stop in stops
        if stop and all(symbol in vocabulary for symbol in stop)
    ]


def longest_at_end(ids: np.ndarray, texts: Sequence[np.ndarray]) -> int:
    """Return the length of the longest of some texts that ids (N,) end with, or 0."""
    lengths = (len(x) for x in texts if np.array_equal(ids[-len(x) :], x))
    return max(lengths, default=0)


def cut(text: str, length: int, stops: Sequence[str]) -> str:
    """Return a text up to so many characters, or to before the first stop text in it.

    That is the one which is complete first, and of several at that place the longest.
    """
    text = text[:length]
    starts = [(text.find(stop), len(stop)) for stop in stops if stop]
    found = [(place + size, place) for place, size in starts if place >= 0]
    return text[: min(found)[1]] if found else text


def has_stop(
    begun: str, ids: np.ndarray, vocabulary: Vocabulary, stops: Sequence[str]
) -> bool:
    """Tell whether what has begun and ids (N,) have a stop text, new with the last."""
    # As a symbol has a character at least, this many hold any that is complete now.
    enough = max(map(len, stops), default=0) + 1
    end = vocabulary.decode(ids[-enough:])
    if len(ids) < enough:
        end = begun + end
    return any(stop in end for stop in stops if stop)


@lru_cache(maxsize=64)
def completing(symbols: tuple[str, ...], stop: str) -> np.ndarray:
    """Return the ids of the symbols with which a stop text may be complete."""
    return np.flatnonzero([stop[-1] in symbol for symbol in symbols])
