"""A part of the training text that is kept out of it, to choose by.

The held-out part must not be chosen by, or its figure would no longer be that of a text
that the model has never had anything to do with. So the epoch whose weights are the
best, and whether more are worth it, are told by a validation part, which is cut from
the training part: the end of a ``text``, and of ``lines`` those that come next by the
hash that drew the held-out ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from textgen.config import Config, TrainingConfig
from textgen.data.corpus import Corpus
from textgen.errors import OptionError
from textgen.evaluation.nats import held_out_nats
from textgen.saving.trained_model import TrainedModel
from textgen.training.history import EpochRow, best_row, out_of_patience

MIN_MEASURED_SYMBOLS, MAX_MEASURED_SYMBOLS = 4_000, 100_000
MEASURED_SHARE = 0.01  # symbols measured after an epoch, per symbol trained on in it


class ValidationPart:
    """Measures a model on ids (M,) of the validation part, or on a sample of them.

    The same symbols are measured after each epoch, a hundredth as many as are trained
    on in it, since that goes symbol by symbol.
    """

    def __init__(self, ids: np.ndarray, training_symbols: int) -> None:
        self._ids = ids
        share = int(training_symbols * MEASURED_SHARE)
        self._most = min(max(share, MIN_MEASURED_SYMBOLS), MAX_MEASURED_SYMBOLS)

    def measure(self, model: TrainedModel) -> float:
        """Return the mean nats per character."""
        return held_out_nats(model, self._ids, max_symbols=self._most)


def cut_validation(
    corpus: Corpus, training: np.ndarray, config: Config
) -> tuple[np.ndarray, ValidationPart | None]:
    """Cut ids (N,) of a training part in what is trained on, and what validates.

    Raises:
        OptionError: the validation part would be too short to be measured.
    """
    share = config.training.validation
    if share is None:
        return training, None
    split = replace(corpus, ids=training).split(share)
    needed = config.windows.seq_length + 1 if config.windows.targets == "last" else 2
    is_text = corpus.kind == "text"
    if len(split.held_out) < needed if is_text else not len(split.held_out):
        least = f"{needed:,} characters" if is_text else "a line"
        raise OptionError(
            f"`validation` must be enough for at least {least}, but was {share:g} of a "
            f"training part of {len(training):,} characters",
            "give more, or a longer text",
        )
    return split.training, ValidationPart(split.held_out, len(split.training))


def outcome(rows: Sequence[EpochRow], config: TrainingConfig) -> list[str]:
    """Say in one line what was chosen by the validation part, if anything was."""
    best = best_row(rows)
    if best is None:
        return []
    which = f"that of step {best.step:,}, {best.val_loss:.3f}"
    if out_of_patience(rows, config.patience):
        saved = ", whose weights are saved" if config.keep_best else ""
        return [
            f"ended early: no validation figure of the last {config.patience:,} epochs "
            f"is better than {which}{saved}"
        ]
    if config.keep_best:
        return [f"the best validation figure is {which}, whose weights are saved"]
    return []
