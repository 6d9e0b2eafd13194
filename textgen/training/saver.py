"""What a training saves, at the end, on the way and for callbacks; its metadata."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from textgen.config import Config
from textgen.data.vocabulary import Vocabulary
from textgen.errors import OutputError, shown_path
from textgen.modeling.model import build_model, network_of
from textgen.saving.container import FORMAT_VERSION
from textgen.saving.model_file import save_model, serialize
from textgen.saving.trained_model import TrainedModel, TrainedText
from textgen.system.signals import hang_up_ignored
from textgen.training.checkpoint import Checkpoint
from textgen.training.history import EpochRow, saved_rows
from textgen.training.output import save_keeping_previous
from textgen.training.snapshots import ModelOnTheWay


class ModelSaver:
    """Makes models of a ``network`` in training, see `Training.result`.

    What their files tell of the training comes from ``checkpoint``, which returns where
    it is now.
    """

    def __init__(
        self,
        network: keras.Model,
        config: Config,
        vocabulary: Vocabulary,
        kind: str,
        checkpoint: Callable[[], Checkpoint],
    ) -> None:
        self._network = network
        self._config = config
        self._vocabulary = vocabulary
        self._kind = kind
        self._checkpoint = checkpoint
        self._last_weights: list[np.ndarray] | None = None
        self._restored = False  # whether callbacks put others in their place

    def current(self) -> TrainedModel:
        """Return the network as it is now, in the form that generates and measures."""
        network = network_of(self._network)
        return TrainedModel(
            network, self._vocabulary, self._kind, self._config, {}, path=None
        )

    def on_the_way(self) -> ModelOnTheWay:
        """Return the model file that would be saved now, marked as a snapshot."""
        checkpoint = self._checkpoint()
        model = saved_form(self._network, self._config)
        if checkpoint.best_weights:
            model.set_weights(checkpoint.best_weights)
        metadata = metadata_of(checkpoint, snapshot=True, row=checkpoint.chosen_row)
        step = checkpoint.state.global_step
        return ModelOnTheWay(step, serialize(model, metadata))

    def save_for_callback(
        self, filepath: str | os.PathLike[str], overwrite: bool = True
    ) -> None:
        """Save the network as it is now; a callback does so by ``model.save``.

        Unlike Keras' own, the file has the vocabulary and is written atomically. It is
        a snapshot, unless all steps are taken.
        """
        path = Path(filepath)
        if not overwrite and path.exists():
            raise OutputError(f"{shown_path(path)} exists, and was not to be replaced")
        checkpoint = self._checkpoint()
        metadata = metadata_of(
            checkpoint, snapshot=not checkpoint.is_ended, row=checkpoint.last_row
        )
        save_model(saved_form(self._network, self._config), metadata, path)

    def remember_weights(self) -> None:
        """Note the weights of the last step, before callbacks may set others."""
        self._last_weights = self._network.get_weights()

    def choose_weights(self, checkpoint: Checkpoint) -> EpochRow | None:
        """Put the best weights in place, if they are kept; return the row of what is.

        They are in the place of those in training, whose state is not to be taken then.
        """
        if checkpoint.best_weights:
            self._network.set_weights(checkpoint.best_weights)
        elif self._last_weights is not None:
            now = self._network.get_weights()
            self._restored = not all(map(np.array_equal, now, self._last_weights))
        return None if self._restored else checkpoint.chosen_row

    def save(
        self,
        checkpoint: Checkpoint,
        path: Path,
        row: EpochRow | None,
        **facts: Any,
    ) -> Path | None:
        """Save the network as it is now; return where the earlier model is, if any.

        The checkpoint is of its training; the other facts are for `metadata_of`.
        """
        metadata = metadata_of(checkpoint, row=row, restored=self._restored, **facts)
        model = saved_form(self._network, self._config)
        with hang_up_ignored():
            return save_keeping_previous(model, metadata, path)


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
