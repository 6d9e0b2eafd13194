"""What is measured after each epoch: a validation part or, without one, held-out text.

The held-out part must not be chosen by, or its figure would no longer be that of a text
that the model has never had anything to do with. So the epoch whose weights are the
best, and whether more are worth it, are told by a validation part, which is cut from
the training part: the end of a ``text``, and of ``lines`` those that come next by the
hash that drew the held-out ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from textgen.config import Config
from textgen.data.corpus import Corpus
from textgen.errors import OptionError
from textgen.evaluation.nats import total_losses
from textgen.saving.trained_model import TrainedModel
from textgen.training.checkpoint import Checkpoint
from textgen.training.history import EpochRow, best_row, out_of_patience

RISE_WORTH_TELLING = 1.03  # of the figure after an epoch, above its lowest


@dataclass(frozen=True)
class EpochMeasure:
    """Measures a model on ids (M,) after each epoch: always on the same sample of them.

    The sample is a share of the symbols that an epoch is trained on, since measuring
    goes symbol by symbol.
    """

    name: str  # of the figure, for people
    ids: np.ndarray  # maybe none
    max_symbols: int

    @classmethod
    def of(
        cls, validation: np.ndarray, held_out: np.ndarray, training_symbols: int
    ) -> EpochMeasure:
        """Measure the ids of the validation part if there are any, or the held-out."""
        if len(validation):
            most = min(max(training_symbols // 100, 4_000), 100_000)
            return cls("validation", validation, most)
        most = min(max(training_symbols // 500, 1_000), 200_000)
        return cls("quick held-out", held_out, most)

    def __call__(self, model: TrainedModel) -> dict[str, float]:
        """Return the mean nats per character and the accuracy, as Keras names them.

        There are none if too little is there to be measured: nothing, or for targets
        ``last`` less than a window and the symbol after it.
        """
        if not len(self.ids):
            return {}
        total = total_losses(model, self.ids, max_symbols=self.max_symbols)
        if not total.symbols:
            return {}
        return {"val_loss": total.nats_per_char, "val_accuracy": total.accuracy}


def cut_validation(
    corpus: Corpus, training: np.ndarray, config: Config
) -> tuple[np.ndarray, np.ndarray]:
    """Cut ids (N,) of a training part in what is trained on, and what validates.

    Raises:
        OptionError: the validation part would be too short to be measured.
    """
    share = config.training.validation
    if share is None:
        return training, training[:0]
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
    return split.training, split.held_out


def outcome(checkpoint: Checkpoint, saved: EpochRow | None, figure: str) -> list[str]:
    """Say in one line what was chosen, or that an earlier end would have been better.

    The checkpoint is that of the end, the weights that are ``saved`` are those of this
    row if they are of one, and ``figure`` is the name of what was measured.
    """
    rows, config = checkpoint.history, checkpoint.config.training
    best = best_row(rows)
    if best is None:
        return []
    which = f"that of step {best.step:,}, {best.val_loss:.3f}"
    if out_of_patience(rows, config.patience):
        chosen = ", whose weights are saved" if config.keep_best else ""
        return [
            f"ended early: no validation figure of the last {config.patience:,} epochs "
            f"is better than {which}{chosen}"
        ]
    if config.keep_best:
        return [f"the best validation figure is {which}, whose weights are saved"]
    latest = saved.val_loss if saved else None
    if latest is None or latest <= RISE_WORTH_TELLING * (best.val_loss or 0.0):
        return []
    return [
        f"the {figure} figure was lowest at epoch {best.epoch:,}, {best.val_loss:.3f}, "
        f"and higher at the end, {latest:.3f}: a shorter training may serve better"
    ]
