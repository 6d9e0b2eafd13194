"""Labels of rows, such as their authors: each is a symbol that its rows begin with.

A network that has read the symbol of an author before each of his poems has learned
what follows it (a control code: Keskar et al., "CTRL: A Conditional Transformer
Language Model for Controllable Generation", 2019, arXiv 1909.05858). The symbols are
code points that Unicode leaves to private use, which no labelled text may hold, so that
ids and vocabulary are what they are without labels.

    >>> labels = Labels("author")
    >>> text = labels.marked("Keats", "O solitude!")
    >>> text[0] == label_symbol(0), text[1:], labels.names
    (True, 'O solitude!', ('Keats',))
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from textgen.errors import CorpusError, shown

FIRST_CODE = 0x100000  # where plane 16 begins, which is for private use
MOST_LABELS = 1000
MOST_LABEL_CHARS = 100
SYMBOLS = re.compile(f"[{chr(FIRST_CODE)}-{chr(FIRST_CODE + MOST_LABELS - 1)}]")


def label_symbol(number: int) -> str:
    """Return the symbol of the label with this number, from 0 on."""
    return chr(FIRST_CODE + number)


def label_name(value: Any) -> str | None:
    """Return what a label is called, with single spaces; None if it can't be one.

    It is up to `MOST_LABEL_CHARS` printable characters, or a whole number.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    name = " ".join(value.split()) if isinstance(value, str) else ""
    is_fit = 0 < len(name) <= MOST_LABEL_CHARS and name.isprintable()
    return name if is_fit else None


class Labels:
    """The labels of a corpus, in the order of their appearance, and how often each."""

    def __init__(self, column: str, known: Sequence[str] = ()) -> None:
        """Begin with the ``known`` ones of a saved model, whose symbols stay theirs."""
        self._column = column
        self._numbers = {name: number for number, name in enumerate(known)}
        self.counts: Counter[str] = Counter()

    @property
    def names(self) -> tuple[str, ...]:
        """All labels, in the order of their symbols."""
        return tuple(self._numbers)

    def marked(self, name: str, text: str) -> str:
        """Return the text of a row with the symbol of its label before it.

        A `CorpusError` says that there are too many labels.
        """
        number = self._numbers.setdefault(name, len(self._numbers))
        if number == MOST_LABELS:
            problem = (
                f"expected at most {MOST_LABELS:,} labels in column "
                f"{shown(self._column)}, since each is a symbol to be learned from its "
                f"own rows, but there are more, {shown(name)} say"
            )
            raise CorpusError(problem, "name another `label_column`")
        self.counts[name] += 1
        return label_symbol(number) + text

    def spelled_out(self, text: str) -> str:
        """Return a text with the names of labels in place of their symbols.

        It is the same whatever other labels a model knows.
        """
        names = self.names
        return SYMBOLS.sub(lambda x: f"\1{names[ord(x[0]) - FIRST_CODE]}\1", text)
