"""How surprised a model is by each character of a text, and what it expected there.

The surprisal of a character is -ln p, where p is the probability that the model gave to
it. The entropy is the surprisal that the model itself expected before it came: high
where much is possible, near zero where only one thing is. Both figures of a symbol of
several characters, a word, are spread evenly over these.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from textgen.errors import checks_keywords
from textgen.evaluation.judging import Progress, ReadText, too_short
from textgen.evaluation.nats import predictions
from textgen.generation.streaming import as_model
from textgen.saving.trained_model import TrainedModel

LIKELIEST = 5  # characters that are told of each place


@dataclass(frozen=True, eq=False, repr=False)
class Surprise:
    """What a model expected at each of N characters of a text.

    Before the first character that is predicted, figures are NaN; see `surprise`.

    Attributes:
        text: the N characters, as the model read them.
        symbols: the model's characters or words, by their ids.
        surprisal: -ln p of each character, (N,) float64 in nats.
        entropy: of the prediction that the model made for it, (N,) float64 in nats.
        likeliest: ids of the five symbols that it thought the likeliest, the likeliest
            first, (N, 5) intp; (N, V) of fewer than five. All characters of a word have
            those for it.
        probabilities: of those, of the same shape, float64.
    """

    text: str
    symbols: tuple[str, ...]
    surprisal: np.ndarray
    entropy: np.ndarray
    likeliest: np.ndarray
    probabilities: np.ndarray

    def __repr__(self) -> str:
        figure = f"{self.nats_per_char:.3f} nats per character"
        return f"<Surprise: {self.characters:,} characters, {figure}>"

    @property
    def characters(self) -> int:
        """How many of them were predicted."""
        return int(np.isfinite(self.surprisal).sum())

    @property
    def nats_per_char(self) -> float:
        """The mean surprisal, which is what `textgen.evaluate` says of the text."""
        return float(np.nanmean(self.surprisal))


@checks_keywords
def surprise(
    model: TrainedModel | str | os.PathLike | None,
    text: str,
    *,
    strict: bool = False,
    progress: Progress | None = None,
) -> Surprise:
    """Tell of each character of a text how surprising it was to a model.

    Args:
        model: as for `textgen.generate_output`.
        text: what to read. As for `textgen.evaluate`, all but the first character is
            predicted; by a model of lines or of several documents, each with its end;
            by one that was trained on targets ``last``, what follows a full window.
        strict: refuse symbols that the model has never seen, rather than fold or skip
            them.
        progress: is called with how many symbols are predicted, and of how many.

    Returns:
        The figures of each character of the text as the model read it.

    Raises:
        OptionError: if the text is too short.
        VocabularyError: for unknown symbols if ``strict``.
        ModelFileError: if the model can't be found or read.

    Warns:
        UnknownSymbolsWarning: names the symbols that were folded or skipped.
    """
    model = as_model(model)
    return surprise_of(model, ReadText.of_string(model, text, strict), progress)


def surprise_of(
    model: TrainedModel, text: ReadText, progress: Progress | None = None
) -> Surprise:
    """Return a model's `Surprise` of a text that was read in its ids."""
    ids, size = text.ids, model.network.vocabulary_size
    shape = len(ids), min(LIKELIEST, size)
    surprisal, entropy = np.full((2, len(ids)), np.nan)
    likeliest, probabilities = np.zeros(shape, np.intp), np.full(shape, np.nan)
    predicted = 0
    for places, logits in predictions(model, ids):
        logs = _log_softmax(logits)
        chances = np.exp(logs)
        surprisal[places] = -np.take_along_axis(
            logs, ids[places, None].astype(np.intp), axis=-1
        )[:, 0]
        # 0 ln 0 is 0; a chance that is too small for a float is one of these.
        entropy[places] = -(chances * np.maximum(logs, -1e4)).sum(axis=-1)
        best = np.argsort(-logs, axis=-1, kind="stable")[:, : shape[1]]
        likeliest[places] = best
        probabilities[places] = np.take_along_axis(chances, best, axis=-1)
        predicted += len(places)
        if progress is not None:
            progress(predicted, len(ids))
    if not predicted:
        raise too_short(model, ids)
    text.warn()
    # The end before the first line or document is the reading's own, not the text's.
    own = slice(1 if ids[0] == model.end_id else 0, None)
    each = model.vocabulary.characters[ids[own]]
    return Surprise(
        model.vocabulary.decode(ids[own]),
        model.vocabulary.symbols,
        np.repeat(surprisal[own] / each, each),
        np.repeat(entropy[own] / each, each),
        np.repeat(likeliest[own], each, axis=0),
        np.repeat(probabilities[own], each, axis=0),
    )


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log probabilities (M, V) float64 of logits (M, V)."""
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
