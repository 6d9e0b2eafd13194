"""What can be said of each character of a text by looking at it: is it in quotes, say.

Each is known once the character has been read, from it and what stands before it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from textgen.data.vocabulary import END_OF_TEXT

OPENING = {"“": "”", "«": "»", "„": "“", '"': '"'}
BRACKETS = {"(": ")", "[": "]", "{": "}"}
LINE_ENDS = ("\n", END_OF_TEXT)
VOWELS = frozenset("aeiouAEIOU")

Feature = Callable[[str], Iterator[float]]  # yields a number for each character


def features_of(text: str) -> dict[str, np.ndarray]:
    """Return the features of a text by their names, (N,) float64 each.

    What is so or not is 1 or 0; positions count from 0 on.

    >>> {name: row.astype(int).tolist() for name, row in features_of('"Oh" a').items()}
    ... # doctest: +NORMALIZE_WHITESPACE
    {'inside quotes': [1, 1, 1, 0, 0, 0], 'inside brackets': [0, 0, 0, 0, 0, 0],
     'position in the line': [1, 2, 3, 4, 5, 6],
     'line of the paragraph': [0, 0, 0, 0, 0, 0],
     'beginning of a word': [0, 1, 0, 0, 0, 1],
     'position in the word': [0, 1, 2, 0, 0, 1],
     'vowel': [0, 1, 0, 0, 0, 1], 'capital': [0, 1, 0, 0, 0, 0],
     'space': [0, 0, 0, 0, 1, 0], 'line end': [0, 0, 0, 0, 0, 0],
     'punctuation': [1, 0, 0, 1, 0, 0], 'digit': [0, 0, 0, 0, 0, 0]}
    """
    return {
        name: np.fromiter(feature(text), np.float64, len(text))
        for name, feature in FEATURES.items()
    }


def _between(pairs: Mapping[str, str], text: str) -> Iterator[float]:
    """Tell what is between two marks of a paragraph, the first of them included."""
    closing = ""
    before = ""
    for symbol in text:
        if closing and (symbol == closing or symbol == before == "\n"):
            closing = ""
        elif not closing:
            closing = pairs.get(symbol, "")
        before = symbol
        yield bool(closing)


def _inside_quotes(text: str) -> Iterator[float]:
    return _between(OPENING, text)


def _inside_brackets(text: str) -> Iterator[float]:
    return _between(BRACKETS, text)


def _position_in_line(text: str) -> Iterator[float]:
    position = 0
    for symbol in text:
        position = 0 if symbol in LINE_ENDS else position + 1
        yield position


def _line_of_paragraph(text: str) -> Iterator[float]:
    line, before = 0, ""
    has_paragraphs = "\n\n" in text or END_OF_TEXT in text
    for symbol in text:
        if symbol == END_OF_TEXT or symbol == before == "\n":
            line = 0
        elif symbol == "\n":
            line += has_paragraphs
        before = symbol
        yield line


def _position_in_word(text: str) -> Iterator[float]:
    position = 0
    for symbol in text:
        # An apostrophe within a word belongs to it.
        in_word = symbol.isalpha() or (symbol in "'’" and position)
        position = position + 1 if in_word else 0
        yield position


def _beginning_of_word(text: str) -> Iterator[float]:
    return (position == 1 for position in _position_in_word(text))


def _each(is_so: Callable[[str], bool]) -> Feature:
    """Return the feature that is told by the character alone."""
    return lambda text: map(is_so, text)


FEATURES: Mapping[str, Feature] = {
    "inside quotes": _inside_quotes,
    "inside brackets": _inside_brackets,
    "position in the line": _position_in_line,
    "line of the paragraph": _line_of_paragraph,
    "beginning of a word": _beginning_of_word,
    "position in the word": _position_in_word,
    "vowel": _each(VOWELS.__contains__),
    "capital": _each(str.isupper),
    "space": _each(" \t".__contains__),
    "line end": _each(LINE_ENDS.__contains__),
    "punctuation": _each(lambda symbol: unicodedata.category(symbol)[0] == "P"),
    "digit": _each(str.isdigit),
}
