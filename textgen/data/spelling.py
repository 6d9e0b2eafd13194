"""A text → ids of symbols that have several characters: words, or byte pairs.

A text is cut into pieces (`textgen.data.pieces`), and each is spelled by symbols: a
word that is a symbol by itself and any other by its characters; byte pairs by joining
neighbours in the order in which the merges were learned (Sennrich et al. 2016,
https://aclanthology.org/P16-1162), which the library `tokenizers` does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from types import ModuleType

import numpy as np

from textgen.errors import VocabularyError

REMEMBERED_PIECES = 1 << 16  # whose spelling needn't be found again
Merges = tuple[tuple[str, str], ...]
Spelling = tuple[int, ...]  # the ids of a piece


def spell(
    pieces: Iterable[str], spelling: Callable[[str], Spelling], dtype: np.dtype
) -> np.ndarray:
    """Return a text's ids (N,): of each of its pieces those that ``spelling`` gives."""
    ids = itertools.chain.from_iterable(map(spelling, pieces))
    return np.fromiter(ids, dtype)


def by_words(symbols: Sequence[str]) -> Callable[[str], Spelling]:
    """Return what spells a piece by one symbol, or else by its characters."""
    ids = {symbol: number for number, symbol in enumerate(symbols)}

    @lru_cache(REMEMBERED_PIECES)
    def spelling(piece: str) -> Spelling:
        if piece in ids:
            return (ids[piece],)
        return tuple(ids[character] for character in piece)

    return spelling


def by_pairs(symbols: Sequence[str], merges: Merges) -> Callable[[str], Spelling]:
    """Return what spells a piece by joining neighbours, the earliest merge first."""
    tokenizers = tokenizers_library()
    ids = {symbol: number for number, symbol in enumerate(symbols)}
    pairs = tokenizers.Tokenizer(tokenizers.models.BPE(ids, list(merges)))

    @lru_cache(REMEMBERED_PIECES)
    def spelling(piece: str) -> Spelling:
        return tuple(pairs.encode(piece).ids)

    return spelling


def tokenizers_library() -> ModuleType:
    """Import the library `tokenizers`, or say how to get it."""
    try:
        import tokenizers
    except ImportError:
        problem = "byte pairs need the library tokenizers, which isn't installed"
        advice = "install it with: pip install 'textgen-lstm[bpe]'"
        raise VocabularyError(problem, advice) from None
    return tokenizers
