"""Keras' callbacks in a training: what can't work is refused before it.

Most work as they do with `fit`. Their model is the network that is measured and saved
(`textgen.training.loop.Training.run`), and what they save of it opens here with its
vocabulary.
"""

from __future__ import annotations

import os
import string
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from textgen.config import TrainingConfig
from textgen.errors import OptionError, shown, shown_path
from textgen.system.files import make_writable
from textgen.training.logs import (
    ANOTHER_PLACE,
    Logs,
    keep_events_before,
    keep_rows_before,
    need_tensorboard,
)
from textgen.training.output import check_apart

# Of Keras' own: why not, and what to do.
REFUSED = {
    "BackupAndRestore": "a training keeps checkpoints of its own; go on from them with "
    "`resume`",
    "SwapEMAWeights": "its optimizer keeps no averages; `schedule` averaged saves some",
}
ALWAYS_TOLD = ("loss", "learning_rate")


def checked_callbacks(
    callbacks: Iterable[keras.callbacks.Callback] | keras.callbacks.Callback | None,
    config: TrainingConfig,
    output: Path,
    *,
    measures: bool,
) -> list[keras.callbacks.Callback]:
    """Return the callbacks, one or none as a list, if all of them can work.

    Whether there will be ``val_loss`` and ``val_accuracy`` is told by ``measures``.

    Raises:
        OptionError: for what is no callback, or can't work.
        OutputError: for a file that can't be written.
    """
    if callbacks is None:
        return []
    given = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    for callback in given:
        if not isinstance(callback, keras.callbacks.Callback):
            raise OptionError(
                f"`callbacks` must be Keras callbacks, but one was {shown(callback)}"
            )
    told = [*ALWAYS_TOLD, *["val_loss", "val_accuracy"] * measures]
    may_add = any(_may_add_logs(callback) for callback in given)
    for callback in given:
        _check_kind(callback, config)
        _check_monitor(callback, told, may_add=may_add)
        if isinstance(callback, keras.callbacks.ModelCheckpoint):
            _check_place(callback, output)
            _check_fields(callback, told, may_add=may_add)
    return given


def _may_add_logs(callback: keras.callbacks.Callback) -> bool:
    """Tell whether it is no callback of Keras' own, which may tell further figures."""
    is_keras = type(callback).__module__.startswith("keras.")
    return not is_keras or isinstance(callback, keras.callbacks.LambdaCallback)


def _check_kind(callback: keras.callbacks.Callback, config: TrainingConfig) -> None:
    for name, reason in REFUSED.items():
        kind = getattr(keras.callbacks, name, None)
        if kind is not None and isinstance(callback, kind):
            raise OptionError(f"{name} can't work here: {reason}", "leave it out")
    if isinstance(callback, keras.callbacks.TensorBoard):
        need_tensorboard("the callback TensorBoard")
    varies = config.schedule == "cosine" or config.warmup_steps
    if isinstance(callback, keras.callbacks.LearningRateScheduler) and varies:
        raise OptionError(
            "LearningRateScheduler needs a rate that nothing else changes, but the "
            f"`schedule` was {config.schedule} with `warmup_steps` "
            f"{config.warmup_steps}",
            "give `schedule` constant and `warmup_steps` 0",
        )


def _check_monitor(
    callback: keras.callbacks.Callback, told: Collection[str], *, may_add: bool
) -> None:
    """Refuse what waits for a figure that never comes, or has no better and worse."""
    monitor = getattr(callback, "monitor", None)
    if monitor is None:
        return
    name = type(callback).__name__
    is_used = getattr(callback, "save_best_only", True)
    if is_used and monitor not in told and not may_add:
        held_out = "; nothing is held out" if monitor.startswith("val_") else ""
        raise OptionError(
            f"{name} watches {monitor!r}, but the logs of an epoch have only "
            f"{', '.join(told)}{held_out if 'val_loss' not in told else ''}",
            "give it another `monitor`",
        )
    if getattr(callback, "mode", None) != "auto" or monitor in ("loss", "val_loss"):
        return
    if monitor != "val_accuracy":
        raise OptionError(
            f"{name} can't know whether a high or a low {monitor!r} is better",
            "give it the `mode` max or min",
        )
    callback.mode = "max"  # Keras would look for the metric in the compiled model


def _check_place(callback: keras.callbacks.ModelCheckpoint, output: Path) -> None:
    """Refuse a file that the training itself writes, or a folder that can't be used."""
    path = os.fspath(callback.filepath)
    check_apart(path, "ModelCheckpoint", output)
    folder, name = os.path.split(path)
    if "{" not in folder:
        make_writable(Path(folder), "ModelCheckpoint", name, ANOTHER_PLACE)


def _check_fields(
    callback: keras.callbacks.ModelCheckpoint, told: Collection[str], *, may_add: bool
) -> None:
    """Refuse a file's name that has figures in it which nobody tells."""
    each_epoch = callback.save_freq == "epoch"
    known = ["epoch", *told] if each_epoch else ["epoch", "batch", "loss"]
    path = os.fspath(callback.filepath)
    unknown = [
        field
        for _, field, _, _ in string.Formatter().parse(path)
        if field and field not in known
    ]
    if unknown and not may_add:
        raise OptionError(
            f"ModelCheckpoint names its file by {', '.join(unknown)}, but can only by "
            f"{', '.join(known)}",
            "choose another name",
        )


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
