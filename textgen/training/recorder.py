"""What follows a training as it goes: its rows, the best weights, and when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import keras
import numpy as np

from textgen.training.checkpoint import Checkpoint
from textgen.training.history import (
    EpochRow,
    best_row,
    finite,
    out_of_patience,
)
from textgen.training.logs import RowLog
from textgen.training.loop import Training


class Recorder(keras.callbacks.Callback):
    """Makes a row of each epoch, and acts on what it says, as the configuration asks.

    It goes on from a checkpoint, if there is one ``before``.

    Attributes:
        rows: of all epochs so far, those of earlier processes included.
        best_weights: of the best of them, if they are to be kept; otherwise empty.
        sample: a text by the network as it is, for the next row; set by its owner.
    """

    def __init__(
        self,
        loop: Training,
        logs: Sequence[RowLog],
        seconds: Callable[[], float],
        before: Checkpoint | None = None,
    ) -> None:
        super().__init__()
        self.rows = before.history if before else ()
        self.best_weights = before.best_weights if before else ()
        self.sample = ""
        self._loop = loop
        self._logs = logs
        self._seconds = seconds
        self._characters_per_step = loop.windows.characters_per_step

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Begin the logs; a training that had ended when it was killed ends again."""
        self._write()
        self._row_at = self._loop.global_step, time.monotonic()
        self._end_if_due()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Add the epoch's row, keep its weights if they are the best so far, or end."""
        step, now = self._loop.global_step, time.monotonic()
        last_step, last = self._row_at
        self._row_at = step, now
        characters = (step - last_step) * self._characters_per_step
        row = EpochRow(
            epoch=epoch + 1,
            step=step,
            seconds=round(self._seconds(), 1),
            loss=logs["loss"],
            val_loss=finite(logs.get("val_loss")),
            val_accuracy=logs.get("val_accuracy"),
            learning_rate=float(f"{self._loop.learning_rate:.6g}"),
            characters_per_s=round(characters / max(now - last, 1e-6)),
            sample=self.sample,
        )
        self.rows = (*self.rows, row)
        if self._loop.config.keep_best and row is best_row(self.rows):
            weights = self._loop.result.get_weights()
            self.best_weights = tuple(np.array(x) for x in weights)
        self._write()
        self._end_if_due()

    def _write(self) -> None:
        for log in self._logs:
            log.update(self.rows)

    def _end_if_due(self) -> None:
        if out_of_patience(self.rows, self._loop.config.patience):
            self.model.stop_training = True
