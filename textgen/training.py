"""The training loop: compiled steps, Keras callbacks, one measure at each epoch.

Our own loop instead of `Model.fit`: it knows its place inside an epoch, runs several
steps in one compiled call, and works on every `tf.distribute` strategy.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from textgen.config import TrainingConfig
from textgen.errors import TextgenError
from textgen.schedule import learning_rates
from textgen.train_step import TrainStep, make_optimizer
from textgen.windows import Batch, LineWindows, StreamWindows

CALL_SECONDS = 0.5  # aim for one compiled call; how long Ctrl-C may have to wait
MAX_STEPS_PER_CALL = 64
TIMED_CALLS = 5
LINE_LENGTH_MULTIPLE = 8  # each padded length of a batch is compiled anew: keep few


class TrainingError(TextgenError):
    """A training can't go on in a way that is worth anything."""


@dataclass(frozen=True)
class Outcome:
    """How a training ended: steps taken and why it stopped."""

    steps: int
    interrupted: bool


class Training:
    """Train a network on windows; see `run`.

    Args:
        model: a many-to-many network of `textgen.model.build_model`, built in the
            strategy's scope. Its ``optimizer`` is set here, so that callbacks find
            it where they look.
        windows: of `textgen.windows.make_windows`.
        config: optimizer, schedule and seed.
        precision: ``float32`` or ``bfloat16``.
        strategy: a `tf.distribute.Strategy`; None means the current one.
    """

    def __init__(
        self,
        model: keras.Model,
        windows: StreamWindows | LineWindows,
        config: TrainingConfig,
        *,
        precision: str = "float32",
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        self.model = model
        self.windows = windows
        self.config = config
        self.stop_requested = False
        self._steps_per_call = 1
        lines = isinstance(windows, LineWindows)
        self._length_multiple = LINE_LENGTH_MULTIPLE if lines else 1
        self._last_rate = None
        self._rate_scale = 1.0
        strategy = strategy or tf.distribute.get_strategy()
        with strategy.scope():
            model.optimizer = make_optimizer(config)
            model.optimizer.build(model.trainable_variables)
        self._step = TrainStep(
            model,
            precision=precision,
            seed=config.seed,
            batch_size=windows.batch_size,
            strategy=strategy,
        )
        model.stop_training = False

    @property
    def parts(self) -> int:
        """Parts that a batch is cut into; the sums depend on it in the last bits."""
        return self._step.parts

    def request_stop(self) -> None:
        """Make `run` stop at the end of the current compiled call."""
        self.stop_requested = True

    def calibrate(self) -> float:
        """Compile, time a few steps, and put every variable back as it was.

        Returns:
            Median seconds of one step.
        """
        variables = [*self.model.variables, *self.model.optimizer.variables]
        before = [variable.numpy() for variable in variables]
        seconds = []
        for call in range(TIMED_CALLS + 1):
            started = time.perf_counter()
            self._take_steps(0, 1, total_steps=1)
            if call:  # the first one compiles
                seconds.append(time.perf_counter() - started)
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        self._last_rate, self._rate_scale = None, 1.0
        step_s = statistics.median(seconds)
        fitting = int(CALL_SECONDS / step_s)
        self._steps_per_call = min(max(1, fitting), MAX_STEPS_PER_CALL)
        return step_s

    def run(
        self,
        total_steps: int,
        *,
        measure: Callable[[], dict[str, float]] = dict,
        callbacks: Iterable[keras.callbacks.Callback] = (),
    ) -> Outcome:
        """Take ``total_steps`` steps, or fewer if stopped.

        Stops early when a callback sets ``model.stop_training`` or something sets
        ``stop_requested`` (an interrupt), at the end of the current compiled call.

        Args:
            total_steps: length of the schedule.
            measure: called at the end of each epoch; what it returns joins the logs.
            callbacks: Keras callbacks. Batch hooks fire once per compiled call, with
                the number of the last step in it.

        Raises:
            TrainingError: when the loss is no longer a finite number.
        """
        per_epoch = self.windows.steps_per_epoch
        hooks = keras.callbacks.CallbackList(list(callbacks), model=self.model)
        hooks.on_train_begin()
        step, epoch_losses = 0, []
        while step < total_steps and not self._stopping:
            epoch, at = divmod(step, per_epoch)
            if at == 0:
                hooks.on_epoch_begin(epoch)
                epoch_losses = []
            count = min(self._steps_per_call, per_epoch - at, total_steps - step)
            hooks.on_train_batch_begin(step)
            losses = self._take_steps(step, count, total_steps)
            step += count
            epoch_losses.extend(losses)
            logs = {"loss": float(losses[-1]), "step": step}
            hooks.on_train_batch_end(step - 1, logs)
            if step % per_epoch == 0 or step == total_steps:
                logs = {"loss": float(np.mean(epoch_losses)), **measure()}
                hooks.on_epoch_end(epoch, logs)
        hooks.on_train_end()
        return Outcome(step, self.stop_requested)

    @property
    def _stopping(self) -> bool:
        return self.stop_requested or self.model.stop_training

    def _take_steps(self, first_step: int, count: int, total_steps: int) -> np.ndarray:
        """Run steps of one epoch in one compiled call; return their losses."""
        epoch, at = divmod(first_step, self.windows.steps_per_epoch)
        batches = [self.windows.batch(epoch, at + k) for k in range(count)]
        rates = learning_rates(self.config, total_steps, first_step, count)
        arrays = stack(batches, self._length_multiple)
        losses = self._step(*arrays, rates * self._callback_scale(), first_step)
        self._last_rate = self._current_rate()
        if not np.isfinite(losses).all():
            bad = first_step + int(np.argmin(np.isfinite(losses)))
            raise TrainingError(
                f"the loss must be a finite number, but was {losses[bad - first_step]} "
                f"at step {bad + 1}; nothing was saved; try --learning-rate "
                f"{self.config.learning_rate / 3:.1g} or --precision float32"
            )
        return losses

    def _callback_scale(self) -> float:
        """Factor by which callbacks (ReduceLROnPlateau, say) changed the rate.

        They assign ``model.optimizer.learning_rate``; the schedule goes on from there
        in proportion.
        """
        current = self._current_rate()
        if self._last_rate and current != self._last_rate:
            self._rate_scale *= current / self._last_rate
        return self._rate_scale

    def _current_rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))


def stack(
    batches: Sequence[Batch], multiple: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stack K batches into (K, B, T) arrays, padded to one length with weight 0.

    Args:
        batches: of the same B; T may differ.
        multiple: the common T is the longest of theirs, rounded up to this multiple.
    """
    longest = max(batch.inputs.shape[1] for batch in batches)
    length = -(-longest // multiple) * multiple

    def padded(x: np.ndarray) -> np.ndarray:
        return np.pad(x, ((0, 0), (0, length - x.shape[1])))

    return tuple(
        np.stack([padded(getattr(batch, name)) for batch in batches])
        for name in ("inputs", "targets", "weights")
    )
