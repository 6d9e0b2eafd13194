"""What is saved of a training: its network, and what the model file says of it."""

from __future__ import annotations

import datetime
from typing import Any

import keras

from textgen.config import Config
from textgen.modeling.model import build_model
from textgen.saving.container import FORMAT_VERSION
from textgen.saving.trained_model import TrainedText
from textgen.training.checkpoint import Checkpoint
from textgen.training.history import EpochRow, saved_rows


def saved_form(trained: keras.Model, config: Config) -> keras.Model:
    """Return a copy of a network in training, in the form in which it is saved.

    While it is trained it predicts at every position. One of targets ``last`` is saved
    in the form of the exercise, with one prediction after a window.
    """
    symbols, targets = trained.output_shape[-1], config.windows.targets
    seed = config.training.seed
    model = build_model(config.model, symbols, targets=targets, seed=seed)
    model.set_weights(trained.get_weights())
    return model


def metadata_of(
    checkpoint: Checkpoint,
    *,
    held_out_nats: float | None = None,
    interrupted: bool = False,
    diverged: str | None = None,
    snapshot: bool = False,
    row: EpochRow | None = None,
    restored: bool = False,
) -> dict[str, Any]:
    """Return the metadata of the model that a checkpoint has the weights of.

    ``diverged`` says why the training could not go on from them, if so. A ``snapshot``
    is of a training that was still going on. The weights are those of the ``row``, if
    there is one, and otherwise of the last step, unless a callback ``restored`` others.
    """
    config, state = checkpoint.config, checkpoint.state
    steps = state.global_step
    own = TrainedText.of_training(checkpoint.corpus, config)
    # Training on in the same way is no other text.
    texts = [text for text in checkpoint.texts if text != own] + [own]
    return {
        "format": FORMAT_VERSION,
        **checkpoint.vocabulary.to_dict(),
        "corpus": checkpoint.corpus,
        "config": config.to_dict(),
        "texts": [vars(text) for text in texts],
        "training": {
            "run": checkpoint.run,
            "steps": steps,
            "weights_of_step": None if restored else row.step if row else steps,
            "val_loss": row.val_loss if row else None,
            "seconds": round(checkpoint.seconds, 1),
            "held_out_nats_per_char": held_out_nats,
            "interrupted": interrupted,
            "diverged": diverged,
            **({"snapshot": True} if snapshot else {}),
            "lengthened_at": list(checkpoint.lengthened_at),
            "seed": config.training.seed,
            "precision": config.training.precision,
            "parts": state.num_shards,
            "versions": dict(checkpoint.versions),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "history": saved_rows(checkpoint.history),
        },
    }
