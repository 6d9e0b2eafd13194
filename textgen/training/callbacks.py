"""Keras' callbacks in a training, and those that write its logs.

Most work as they do with `fit`. Their model is the network that is measured and saved
(`textgen.training.loop.Training.run`), and what they save of it opens here with its
vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf

from textgen.errors import OptionError, shown, shown_path
from textgen.training.logs import (
    Logs,
    keep_events_before,
    keep_rows_before,
)

# Of Keras' own, which change weights behind the training's back: what does it here.
REFUSED = {
    "BackupAndRestore": "a training keeps checkpoints; go on from them with `resume`",
    "SwapEMAWeights": "`schedule` averaged saves averaged weights",
}


def checked_callbacks(
    callbacks: Iterable[keras.callbacks.Callback] | keras.callbacks.Callback | None,
) -> list[keras.callbacks.Callback]:
    """Return the callbacks, one or none as a list; `OptionError` for what is none."""
    if callbacks is None:
        return []
    given = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    for callback in given:
        if not isinstance(callback, keras.callbacks.Callback):
            raise OptionError(
                f"`callbacks` must be Keras callbacks, but one was {shown(callback)}"
            )
        for name, instead in REFUSED.items():
            if isinstance(callback, getattr(keras.callbacks, name, ())):
                raise OptionError(f"`callbacks` can't have {name}", instead)
        watched = getattr(callback, "monitor", None), getattr(callback, "mode", None)
        if watched == ("val_accuracy", "auto"):
            callback.mode = "max"  # Keras would look for it in the compiled model
    return given


def log_callbacks(
    logs: Logs, first_epoch: int, say: Callable[[str], None]
) -> list[keras.callbacks.Callback]:
    """Return the callbacks that write the logs, and go on where they can't.

    Rows from epoch ``first_epoch`` on are those of a training that is resumed there.
    """
    writers = []
    if logs.csv is not None:
        if first_epoch:
            keep_rows_before(logs.csv, first_epoch)
        writer = _CSVLogger(logs.csv, append=first_epoch > 0)
        writers.append(_Forgiving(writer, f"the log {shown_path(logs.csv)}", say))
    if logs.tensorboard is not None:
        if first_epoch:
            keep_events_before(logs.tensorboard, first_epoch)
        writer = keras.callbacks.TensorBoard(logs.tensorboard)
        what = f"the log for TensorBoard in {shown_path(logs.tensorboard)}"
        writers.append(_Forgiving(writer, what, say))
    return writers


class _CSVLogger(keras.callbacks.CSVLogger):
    """Has columns for what is told; Keras' adds others where there is no validation."""

    keys: list[str] | None

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if self.keys is None:
            self.keys = sorted(logs)
        super().on_epoch_end(epoch, logs)


class _Forgiving(keras.callbacks.Callback):
    """Lets another callback write what only shows progress: a failure ends just that.

    It is said once, and the other callback is left alone from then on.
    """

    def __init__(
        self,
        callback: keras.callbacks.Callback,
        what: str,
        say: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._callback, self._what, self._say = callback, what, say
        self._failed = False

    def _try(self, hook: str, *arguments: Any) -> None:
        if self._failed:
            return
        try:
            getattr(self._callback, hook)(*arguments)
        except (OSError, tf.errors.OpError) as error:
            self._failed = True
            reason = getattr(error, "strerror", None) or str(error)
            self._say(f"{self._what} can't be written ({reason}); training goes on")

    def set_params(self, params: dict) -> None:
        self._try("set_params", params)

    def set_model(self, model: keras.Model) -> None:
        self._try("set_model", model)

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._try("on_train_begin", logs)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._try("on_epoch_begin", epoch, logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._try("on_epoch_end", epoch, logs)

    def on_train_end(self, logs: dict | None = None) -> None:
        self._try("on_train_end", logs)
