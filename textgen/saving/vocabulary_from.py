"""The vocabulary of another program's model, which its file doesn't hold.

It is that of the text that the model was trained on, as the program read it:

    as it is, or in lower case
        with a byte-order mark before it, or with newlines made spaces

The number of the model's symbols tells which, if only one of these has as many. Or the
program saved it as JSON: a list in id order, ``char_indices``, ``indices_char``.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

from textgen.data.text_file import existing_file, text_pieces
from textgen.data.vocabulary import Vocabulary
from textgen.errors import (
    CorpusError,
    ModelFileError,
    OptionError,
    VocabularyError,
    shown,
    shown_path,
)
from textgen.saving.container import ANOTHER_FORM
from textgen.saving.keras_config import is_whole

NAME_TEXT = "name the text that it was trained on as `vocabulary_from`"
NAME_JSON = "save its symbols in id order as a list in vocab.json, and name that"
MAX_JSON_BYTES = 1 << 20
AS_IT_IS, LOWERED = "as it is", "in lower case"
BYTE_ORDER_MARK = "\ufeff"


def read_vocabulary(given: str | os.PathLike[str], size: int) -> Vocabulary:
    """Return the vocabulary of ``size`` symbols in a text or JSON file.

    Warns unless it is that of a text as it is. A `ModelFileError` says that none fits,
    or more than one; a `CorpusError`, that the file can't be read.
    """
    if not isinstance(given, str | os.PathLike):
        problem = f"`vocabulary_from` must be a path, but was {shown(given)}"
        raise OptionError(problem, NAME_TEXT)
    path = existing_file(given)
    if path is None:
        problem = f"expected a text, but {shown_path(given)} does not exist"
        raise CorpusError(problem, NAME_TEXT)
    if path.suffix.lower() == ".json":
        return _of_json(path, size)
    forms = _forms(path)
    fitting = {how: symbols for how, symbols in forms.items() if len(symbols) == size}
    if len(set(fitting.values())) != 1:
        if fitting:
            problem = f"fits the model's {size:,} symbols {' and also '.join(fitting)}"
            advice = NAME_JSON
        else:
            counts = (f"{len(symbols):,} {how}" for how, symbols in forms.items())
            problem = f"has other numbers of different symbols: {', '.join(counts)}"
            advice = NAME_TEXT
        expected = f"expected a text of {size:,} different symbols, as the model has"
        problem = f"{expected}, but {shown_path(path)} {problem}"
        raise ModelFileError(problem, advice)
    how = next(iter(fitting))
    if how != AS_IT_IS:
        it = f"the text {shown_path(path)} fits the model's {size:,} symbols"
        warnings.warn(f"{it} {how}", stacklevel=2)
    return Vocabulary(tuple(sorted(fitting[how])))


def _forms(path: Path) -> dict[str, frozenset[str]]:
    """Return the symbols of each form of a text, with what it is called."""
    symbols: set[str] = set()
    lowered: set[str] = set()
    for piece in text_pieces(path):
        symbols.update(piece)
        lowered.update(piece.lower())
    forms = {}
    for case, found in ((AS_IT_IS, symbols), (LOWERED, lowered)):
        forms[case] = frozenset(found)
        both = "" if case == AS_IT_IS else f"{case} and "
        forms[f"{both}with a byte-order mark"] = frozenset(found | {BYTE_ORDER_MARK})
        if {"\n", " "} <= found:  # without spaces it would be as many
            forms[f"{both}with newlines as spaces"] = frozenset(found - {"\n"})
    return forms


def _of_json(path: Path, size: int) -> Vocabulary:
    """Return the symbols that a program saved, in id order."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
        if len(data) > MAX_JSON_BYTES:
            raise ValueError("too long")
        vocabulary = Vocabulary(_in_order(json.loads(data)))
    except OSError as error:
        problem = f"{shown_path(path)} can't be read ({error.strerror or error})"
        raise CorpusError(f"expected a vocabulary, but {problem}") from None
    except (VocabularyError, *ANOTHER_FORM) as error:
        raise ModelFileError(
            "expected a list of different characters, or a mapping between them and "
            f"the numbers from 0 on, but {shown_path(path)} holds something else",
            NAME_JSON,
        ) from error
    if len(vocabulary) != size:
        problem = f"{shown_path(path)} has {len(vocabulary):,}"
        expected = f"expected a vocabulary of {size:,} symbols, as the model has"
        raise ModelFileError(f"{expected}, but {problem}", NAME_JSON)
    return vocabulary


def _in_order(saved: Any) -> tuple[str, ...]:
    """Return the symbols of a list, of ``char_indices`` or of ``indices_char``."""
    if isinstance(saved, list):
        return tuple(saved)
    if all(isinstance(value, str) for value in saved.values()):
        saved = {symbol: int(number) for number, symbol in saved.items()}
    numbers = {number: symbol for symbol, number in saved.items() if is_whole(number)}
    return tuple(numbers[number] for number in range(len(saved)))
