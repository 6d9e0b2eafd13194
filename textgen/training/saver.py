"""What a training saves of its network: at the end, on the way, and for callbacks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from textgen.config import Config
from textgen.data.vocabulary import Vocabulary
from textgen.errors import OutputError, shown_path
from textgen.modeling.model import network_of
from textgen.saving.model_file import save_model, serialize
from textgen.saving.trained_model import TrainedModel
from textgen.system.signals import hang_up_ignored
from textgen.training.checkpoint import Checkpoint
from textgen.training.history import EpochRow
from textgen.training.output import save_keeping_previous
from textgen.training.saved_form import metadata_of, saved_form
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
