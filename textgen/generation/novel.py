"""What a model writes that stands in its own text already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from textgen.data.vocabulary import end_symbol
from textgen.errors import OptionError
from textgen.generation.stretches import Stretches
from textgen.saving.mixed_model import MixedModel
from textgen.saving.own_text import own_corpus
from textgen.saving.trained_model import TrainedModel

COPIED_SYMBOLS = 40  # running, which no one writes again by chance


def known_to(model: TrainedModel) -> Callable[[str, str], bool]:
    """Return a function that tells whether a model's own text has a text.

    That of a mixture are those of all of its models; see `_known_to_one`.
    """
    if not isinstance(model, MixedModel):
        return _known_to_one(model)
    # In the mixture's symbols, all of which it may write.
    parts = [replace(part, vocabulary=model.vocabulary) for part in model.models]
    known = [_known_to_one(part) for part in parts]
    return lambda prompt, text: any(knows(prompt, text) for knows in known)


def _known_to_one(model: TrainedModel) -> Callable[[str, str], bool]:
    """Return a function that tells whether the text of the last training has a text.

    It is told a prompt and what follows that. A line is one of the text's lines; of a
    longer text `COPIED_SYMBOLS` running stand there, which aren't all of the prompt. An
    `OptionError` says that the text of the training isn't found.
    """
    try:
        corpus = own_corpus(model)
    except OptionError as error:
        raise OptionError(f"`novel` can't be told: {error.problem}") from None
    symbols = corpus.vocabulary
    if model.kind == "lines":
        end = end_symbol(corpus.kind, symbols) or ""
        text = symbols.decode(symbols.without_labels(corpus.ids))
        lines = frozenset(text.split(end))
        return lambda prompt, text: prompt + text in lines
    stretches = Stretches(corpus.ids, len(symbols))

    def has_copy(prompt: str, text: str) -> bool:
        written = symbols.fit(prompt).text[1 - COPIED_SYMBOLS :] + text
        ids = symbols.encode(written)
        return bool(stretches.have(ids, COPIED_SYMBOLS).any())

    return has_copy
