"""How well a model predicts a text, beside what learns the text while it reads it.

    evaluate           judges a text, or the part of its own that the model never saw
    evaluate_corpus    the same, of a text that was read by `textgen.data.corpus`

A text is measured as `textgen.evaluation.nats` says, and the references
(`textgen.evaluation.references`) read the very same symbols.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from textgen.data.corpus import Corpus
from textgen.data.levels import in_characters
from textgen.data.vocabulary import (
    END_OF_TEXT,
    END_SYMBOL,
    Fitted,
    Vocabulary,
    end_symbol,
)
from textgen.errors import OptionError, checks_keywords, shown
from textgen.evaluation.nats import Losses, bits_per_char, losses, perplexity, summed
from textgen.evaluation.references import MOST_CHARS, reference_nats
from textgen.evaluation.seen import unseen_share, was_trained_on
from textgen.generation.streaming import (
    UnknownSymbolsWarning,
    as_model,
    callers_level,
)
from textgen.saving.own_text import own_corpus
from textgen.saving.trained_model import TrainedModel

PIECE_CHARS = 1 << 18  # of a corpus, made text at once
Progress = Callable[[int, int], None]  # told how many symbols are done, and of how many


@dataclass(frozen=True)
class Evaluation:
    """How well a model predicts a text, and what the references make of it."""

    characters: int  # how many were predicted; of lines their ends, too
    nats_per_char: float  # mean cross-entropy
    bits_per_char: float
    perplexity: float  # exp of `nats_per_char`
    accuracy: float  # share of them, or of words, that the model thought the likeliest
    references: Mapping[str, float]  # nats per character of ``n-gram``, ``bz2``, ``xz``
    reference_characters: int  # so many at the beginning are what these have read
    trained_on: bool | None  # whether the model was, on this text; None: not known
    changed: int = 0  # characters, unknown to the model, that were folded or skipped


@checks_keywords
def evaluate(
    model: TrainedModel | str | os.PathLike | None,
    text: str | None = None,
    *,
    strict: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure how well a model predicts a text, beside an n-gram, bz2 and xz.

    Args:
        model: as for `textgen.generate_output`.
        text: what to predict: all but its first character; by a model of lines, each
            line with its end; by one of several documents, all with its end; by one
            that was trained on targets ``last``, each character after a full window.
            None means the part of its own text that the model never saw, if that is a
            named corpus or found again in the current folder.
        strict: refuse symbols that the model has never seen, rather than fold or skip
            them.
        progress: is called with how many symbols are measured, and of how many.

    Returns:
        The figures. The references begin with nothing and learn the text while they
        read it; before a held-out part they have read the rest of the text.

    Raises:
        OptionError: if the text is too short; nothing of its own was held out, or it
            can't be found.
        VocabularyError: for unknown symbols if ``strict``.
        ModelFileError: if the model can't be found or read.

    Warns:
        UnknownSymbolsWarning: names the symbols that were folded or skipped.
    """
    model = as_model(model)
    if text is None:
        corpus = own_corpus(model)
        return evaluate_corpus(
            model, corpus, held_out=True, strict=strict, progress=progress
        )
    text_read = ReadText.of_string(model, text, strict)
    sha256 = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return _judged(model, text_read, was_trained_on(model, sha256), progress)


def evaluate_corpus(
    model: TrainedModel,
    corpus: Corpus,
    *,
    held_out: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure how well a model predicts a corpus, or the part that it never saw.

    The corpus was read as the model's kind. With ``held_out``, an `OptionError` says
    that the model wasn't trained on it, or was on all of it. What else there is, is as
    for `evaluate`.
    """
    if not held_out:
        text = ReadText(model, _texts(corpus, corpus.ids), strict)
        return _judged(model, text, was_trained_on(model, corpus.sha256), progress)
    split = corpus.split(_held_out_share(model, corpus))
    text = ReadText(model, _texts(corpus, split.held_out), strict)
    before = ReadText(model, _texts(corpus, split.training), strict=False).ids
    return _judged(model, text, False, progress, before)


def read_beginning(
    model: TrainedModel, corpus: Corpus, most: int, held_out: bool, strict: bool
) -> tuple[ReadText, int]:
    """Read at most about so many symbols of a corpus, or of its held-out part.

    Lines are read whole, and one at least. The second value is how many characters
    there are in all, without the end that stands before the first line or document.
    What else there is, is as for `evaluate_corpus`.
    """
    ids = corpus.ids
    if held_out:
        ids = corpus.split(_held_out_share(model, corpus)).held_out
    cut = most
    if model.kind == "lines" and len(ids) > most:
        ends = np.flatnonzero(ids == corpus.ids[0])
        cut = int(ends[max(1, int(np.searchsorted(ends, most)) - 1)]) + 1
    text = ReadText(model, _texts(corpus, ids[:cut]), strict)
    known = int(model.vocabulary.characters[text.ids].sum())
    whole = len(ids) if cut < len(ids) else known
    begins_with_end = len(text.ids) > 0 and text.ids[0] == model.end_id
    return text, whole - begins_with_end


def _held_out_share(model: TrainedModel, corpus: Corpus) -> float:
    share = unseen_share(model.texts, corpus)
    if share is None:
        raise OptionError(
            "`held_out` is for a text that the model was trained on, but it wasn't on "
            f"{shown(corpus.name)}, as it is now",
            "leave it out to measure all of that text",
        )
    if not share:
        raise OptionError(
            f"the model was trained on all of {shown(corpus.name)}, and nothing of it "
            "was held out",
            "measure another text",
        )
    return share


def _judged(
    model: TrainedModel,
    text: ReadText,
    trained_on: bool | None,
    progress: Progress | None,
    before: np.ndarray | None = None,
) -> Evaluation:
    """Measure a text; the references have read ids ``before`` (M,) it."""
    ids, first = text.ids, _first_place(model)
    parts: list[Losses] = []
    done = 0
    for part in losses(model, ids):
        parts.append(part)
        done += part.symbols
        if progress is not None:
            progress(done, len(ids) - first)
    total = summed(parts)
    if not total.symbols:
        raise too_short(model, ids)
    text.warn()
    mean = total.nats_per_char
    return Evaluation(
        total.characters,
        mean,
        bits_per_char(mean),
        perplexity(mean),
        total.accuracy,
        _references(model, ids, before, first),
        min(total.characters, MOST_CHARS),
        trained_on,
        text.changed,
    )


def _references(
    model: TrainedModel, ids: np.ndarray, before: np.ndarray | None, first: int
) -> dict[str, float]:
    """Return what the references make of a text's ids (N,), character by character."""
    vocabulary, alphabet = model.vocabulary, model.vocabulary.alphabet
    first = int(vocabulary.characters[ids[:first]].sum())
    ids = in_characters(vocabulary, ids[:MOST_CHARS])
    if before is not None:
        before = in_characters(vocabulary, before[-MOST_CHARS:])
    end_id = int(ids[0]) if model.kind == "lines" else None
    return reference_nats(ids, alphabet, end_id, before=before, first=first)


def too_short(model: TrainedModel, ids: np.ndarray) -> OptionError:
    """Return what to raise for a text's ids (N,) of which nothing can be predicted."""
    first = _first_place(model)
    wanted = "a line" if model.kind == "lines" else f"more than {first:,} symbols"
    return OptionError(
        f"`text` is too short to be measured: it needs {wanted} that the model "
        f"knows, but has {len(ids):,} symbols"
    )


def _first_place(model: TrainedModel) -> int:
    """Return where the first symbol stands that a model predicts."""
    if model.kind == "text" and model.windows.targets == "last":
        return model.windows.seq_length
    return 1


def _texts(corpus: Corpus, ids: np.ndarray) -> Iterator[str]:
    """Yield a corpus' ids as text, in pieces."""
    for start in range(0, len(ids), PIECE_CHARS):
        yield corpus.vocabulary.decode(ids[start : start + PIECE_CHARS])


class ReadText:
    """A text in a model's ids, and which symbols had to be folded or skipped for it."""

    def __init__(
        self, model: TrainedModel, pieces: Iterable[str], strict: bool
    ) -> None:
        """Read a text that comes in pieces; if ``strict``, nothing is changed."""
        self.changed = 0  # characters
        self._given = 0
        self._stand_ins: dict[str, str] = {}
        vocabulary = model.vocabulary
        fitting = self._fitting(vocabulary, pieces, strict)
        ids = [np.empty(0, vocabulary.dtype), *vocabulary.encoded(fitting)]
        self.ids = np.concatenate(ids)  # (N,)
        if model.kind == "lines" and len(self.ids):
            # A line all of whose symbols were skipped is none.
            is_end = self.ids == model.end_id
            follows_end = np.concatenate([[False], is_end[:-1]])
            self.ids = self.ids[~(is_end & follows_end)]

    @classmethod
    def of_string(cls, model: TrainedModel, text: str, strict: bool) -> ReadText:
        """Read a text between ends, where the model's texts have them.

        An `OptionError` says that it is no text.
        """
        if not isinstance(text, str):
            raise OptionError(f"`text` must be text, but was {shown(text)}")
        if end := end_symbol(model.kind, model.vocabulary):
            text = end.join(["", *filter(None, text.split(end)), ""])
        return cls(model, [text], strict)

    def _fitting(
        self, vocabulary: Vocabulary, pieces: Iterable[str], strict: bool
    ) -> Iterator[str]:
        """Yield the pieces as they are read: folded, unless ``strict``."""
        for piece in pieces:
            if END_OF_TEXT not in vocabulary:  # it knows no documents
                piece = piece.replace(END_OF_TEXT, END_SYMBOL)
            self._given += len(piece)
            yield piece if strict else self._fitted(vocabulary, piece)

    def _fitted(self, vocabulary: Vocabulary, piece: str) -> str:
        fitted = vocabulary.fit(piece)
        replaced = dict(fitted.folded) | dict.fromkeys(fitted.skipped, "")
        self._stand_ins |= replaced
        self.changed += sum(map(piece.count, replaced))
        return fitted.text

    def warn(self) -> None:
        """Say which symbols were changed, if any, and how many characters these are."""
        stand_ins = self._stand_ins.items()
        fitted = Fitted(
            "",
            folded=tuple((old, new) for old, new in stand_ins if new),
            skipped=tuple(old for old, new in stand_ins if not new),
        )
        if note := fitted.describe():
            share = f"{self.changed:,} of {self._given:,} characters"
            warnings.warn(
                f"{note}: {share}; all figures are of the text so changed",
                UnknownSymbolsWarning,
                stacklevel=callers_level(),
            )
