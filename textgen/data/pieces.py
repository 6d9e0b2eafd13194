r"""A text cut into words, marks and spaces: what a symbol of several characters spans.

    >>> pieces_of("Don't go,  summer's\ndone.")
    ["Don't", ' go', ',', ' ', " summer's", '\n', 'done', '.']

The pieces joined are the text again, whatever it is. A word or a mark has the space
before it as its first character; of several spaces it has the last. Newlines and the
ends of documents are pieces of their own, so that no symbol reaches beyond one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache

JOINERS = "\u200c\u200d"  # stand inside words of Persian and of Indian languages
MARKS_BELOW = 0x20000  # combining marks in words; those beyond choose a glyph


def pieces_of(text: str) -> list[str]:
    """Return the pieces of a text, in order; none is empty."""
    return _pattern().findall(text)


def in_whole_pieces(blocks: Iterable[str]) -> Iterator[str]:
    """Yield a text that comes in blocks in others, at whose ends pieces end.

    A piece ends before any space that has none before it, whatever else is around.

    >>> list(in_whole_pieces(["to b", "e or ", "not"]))
    ['to', ' be or', ' not']
    """
    rest = ""
    for block in blocks:
        rest += block
        last = max(rest.rfind(" "), rest.rfind("\n"))
        if whole := rest[: last + 1].rstrip():
            yield whole
            rest = rest[len(whole) :]
    if rest:
        yield rest


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
    letters = rf"[\w{''.join(marks)}{JOINERS}]+"
    return re.compile(
        rf"\ ?{letters}(?:['’]{letters})*"  # a word
        r"|\ ?[^\w\s\0]"  # a mark
        r"|[\n\0]"
        r"|[^\S\n]+(?!\S)"  # spaces but for one that the next piece begins with
        r"|[^\S\n]+"
    )
