r"""A text cut into words, marks and spaces: what a symbol of several characters spans.

    >>> pieces_of("Don't go,  summer's\ndone.")
    ["Don't", ' go', ',', ' ', " summer's", '\n', 'done', '.']

The pieces joined are the text again, whatever it is. A word or a mark has the space
before it as its first character; of several spaces it has the last. Newlines and the
ends of documents are pieces of their own, so that no symbol reaches beyond one. A run
of letters or of spaces that is longer than `MOST_RUN`, as a text has that is written
without spaces, is cut after so many: what is to be done with a piece stays small.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache

JOINERS = "\u200c\u200d"  # stand inside words of Persian and of Indian languages
MARKS_BELOW = 0x20000  # combining marks in words; those beyond choose a glyph
MOST_RUN = 128  # letters between apostrophes, or spaces
MOST_APOSTROPHES = 7  # in a word
MAY_GO_ON = 2  # pieces at the end of a block, if the last is an apostrophe


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
