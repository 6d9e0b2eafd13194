"""What a model writes that stands in its own text already."""

from __future__ import annotations

from collections.abc import Callable

from textgen.data.stretches import Stretches
from textgen.data.vocabulary import end_symbol
from textgen.errors import OptionError
from textgen.saving.own_text import own_corpus
from textgen.saving.trained_model import TrainedModel

COPIED_SYMBOLS = 40  # running, which no one writes again by chance


def known_to(model: TrainedModel) -> Callable[[str], bool]:
    """Return a function that tells whether the text of the last training has a text.

    A line is one of its lines; a longer text shares `COPIED_SYMBOLS` running with it.
    An `OptionError` says that it isn't found.
    """
    try:
        corpus = own_corpus(model)
    except OptionError as error:
        raise OptionError(f"`novel` can't be told: {error.problem}") from None
    symbols = corpus.vocabulary
    if model.kind == "lines":
        end = end_symbol(corpus.kind, symbols) or ""
        return frozenset(symbols.decode(corpus.ids).split(end)).__contains__
    stretches = Stretches(corpus.ids, len(symbols))

    def has_copy(written: str) -> bool:
        ids = symbols.encode(symbols.fit(written).text)
        return bool(stretches.have(ids, COPIED_SYMBOLS).any())

    return has_copy
