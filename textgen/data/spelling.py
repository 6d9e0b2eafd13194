r"""A text → ids of symbols that have several characters: words, or byte pairs.

A text is cut into words, marks and spaces:

    >>> pieces_of("Don't go,  summer's\ndone.")
    ["Don't", ' go', ',', ' ', " summer's", '\n', 'done', '.']

The pieces joined are the text again, whatever it is. A word or a mark has the space
before it as its first character; of several spaces it has the last. Newlines and the
ends of documents are pieces of their own, so that no symbol reaches beyond one. A run
of letters or of spaces that is longer than `MOST_RUN`, as a text has that is written
without spaces, is cut after so many: what is to be done with a piece stays small.

Each piece is spelled by symbols: a word that is a symbol by itself and any other by its
characters; byte pairs by joining neighbours in the order in which the merges were
learned (Sennrich et al. 2016, https://aclanthology.org/P16-1162), which the library
`tokenizers` does.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from types import ModuleType

import numpy as np

from textgen.errors import VocabularyError

JOINERS = "\u200c\u200d"  # stand inside words of Persian and of Indian languages
MARKS_BELOW = 0x20000  # combining marks in words; those beyond choose a glyph
MOST_RUN = 128  # letters between apostrophes, or spaces
MOST_APOSTROPHES = 7  # in a word
MAY_GO_ON = 2  # pieces at the end of a block, if the last is an apostrophe
REMEMBERED_PIECES = 1 << 16  # whose spelling needn't be found again
Merges = tuple[tuple[str, str], ...]
Spelling = tuple[int, ...]  # the ids of a piece


def pieces_of(text: str) -> list[str]:
    """Return the pieces of a text, in order; none is empty."""
    return _pattern().findall(text)


def pieces_of_blocks(blocks: Iterable[str]) -> Iterator[list[str]]:
    """Yield the pieces of a text that comes in blocks, those of about a block at once.

    They are those of the whole text, wherever its blocks end.

    >>> list(pieces_of_blocks(["to b", "e or ", "not"]))
    [['to', ' be'], [' or', ' not']]
    """
    rest = ""
    for block in blocks:
        pieces = pieces_of(rest + block)
        rest = "".join(pieces[-MAY_GO_ON:])
        if whole := pieces[:-MAY_GO_ON]:
            yield whole
    if rest:
        yield pieces_of(rest)


@cache
def _pattern() -> re.Pattern[str]:
    """Return the expression for a piece.

    The marks that combine with the letter before them are no letters to `re`, but they
    belong to the word. An apostrophe does if letters follow it.
    """
    marks = (
        chr(code)
        for code in range(0x300, MARKS_BELOW)
        if unicodedata.category(chr(code)).startswith("M")
    )
    letters = rf"[\w{''.join(marks)}{JOINERS}]{{1,{MOST_RUN}}}"
    return re.compile(
        rf"\ ?{letters}(?:['’]{letters}){{0,{MOST_APOSTROPHES}}}"  # a word
        r"|\ ?[^\w\s\0]"  # a mark
        r"|[\n\0]"
        # spaces but for one that the next piece begins with
        rf"|[^\S\n]{{1,{MOST_RUN}}}(?!\S)"
        r"|[^\S\n]"
    )


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
