"""The training loop: compiled steps, Keras callbacks, one measure at each epoch.

Our own loop instead of `Model.fit`: it knows its place inside an epoch, runs several
steps in one compiled call, and works on every `tf.distribute` strategy.
"""

from __future__ import annotations

import itertools
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
TIMED_CALLS = 3


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
        """Compile, time a few calls, and put every variable back as it was.

        Also sets how many steps go between two looks at callbacks and Ctrl-C.

        Returns:
            Median seconds of one step.
        """
        variables = [*self.model.variables, *self.model.optimizer.variables]
        before = [variable.numpy() for variable in variables]
        most = min(MAX_STEPS_PER_CALL, self.windows.steps_per_epoch)
        self._compile_lengths(most)
        fitting = int(CALL_SECONDS / self._timed_call(1))
        self._steps_per_call = min(max(1, fitting), most)
        calls = [self._timed_call(self._steps_per_call) for _ in range(TIMED_CALLS)]
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        self._last_rate, self._rate_scale = None, 1.0
        return statistics.median(calls) / self._steps_per_call

    def _compile_lengths(self, steps: int) -> None:
        """Take one step of each padded length that occurs in the first ``steps``."""
        lengths = [self._batch(0, at).inputs.shape[1] for at in range(steps)]
        for length in set(lengths):
            self._take_steps(lengths.index(length), 1, total_steps=steps)

    def _timed_call(self, count: int) -> float:
        """Return the seconds that a call of so many steps takes."""
        started = time.perf_counter()
        self._take_steps(0, count, total_steps=count)
        return time.perf_counter() - started

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
        hooks = keras.callbacks.CallbackList(list(callbacks), model=self.model)
        hooks.on_train_begin()
        try:
            steps = self._run_epochs(total_steps, measure, hooks)
        finally:
            hooks.on_train_end()
        return Outcome(steps, self.stop_requested)

    def _run_epochs(
        self,
        total_steps: int,
        measure: Callable[[], dict[str, float]],
        hooks: keras.callbacks.CallbackList,
    ) -> int:
        """Do the work of `run`; return the steps taken."""
        per_epoch = self.windows.steps_per_epoch
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
        return step

    @property
    def _stopping(self) -> bool:
        return self.stop_requested or self.model.stop_training

    def _take_steps(self, first_step: int, count: int, total_steps: int) -> np.ndarray:
        """Run steps of one epoch, those of one length together; return their losses."""
        epoch, at = divmod(first_step, self.windows.steps_per_epoch)
        batches = [self._batch(epoch, at + k) for k in range(count)]
        rates = learning_rates(self.config, total_steps, first_step, count)
        rates *= self._callback_scale()
        losses, step = [], first_step
        for _, same in itertools.groupby(batches, lambda batch: batch.inputs.shape):
            arrays = stack(list(same))
            ahead = len(arrays[0])
            share = rates[step - first_step :][:ahead]
            losses.append(self._step(*arrays, share, step))
            step += ahead
        self._last_rate = self._current_rate()
        return self._checked(np.concatenate(losses), first_step)

    def _batch(self, epoch: int, at: int) -> Batch:
        """Make a batch, padded to a length that depends on nothing but the batch.

        Each length is compiled once, and dropout depends on it: so there are few, and
        how many steps go into a call changes nothing.
        """
        batch = self.windows.batch(epoch, at)
        return pad(batch, padded_length(batch.inputs.shape[1], self.windows.longest))

    def _checked(self, losses: np.ndarray, first_step: int) -> np.ndarray:
        if not np.isfinite(losses).all():
            bad = int(np.argmin(np.isfinite(losses)))
            raise TrainingError(
                f"the loss must be a finite number, but was {losses[bad]} "
                f"at step {first_step + bad + 1}; nothing was saved; try "
                f"--learning-rate {self.config.learning_rate / 3:.1g} "
                "or --precision float32"
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


def padded_length(length: int, longest: int) -> int:
    """Return the shortest of ``longest``, its half, its quarter … to hold ``length``.

    >>> padded_length(14, 27), padded_length(15, 27)
    (14, 27)
    """
    while length <= (half := -(-longest // 2)) < longest:
        longest = half
    return longest


def pad(batch: Batch, length: int) -> Batch:
    """Pad a batch to (B, length), with weight 0 on what is added."""
    more = ((0, 0), (0, length - batch.inputs.shape[1]))
    return Batch(*(np.pad(x, more) for x in batch))


def stack(batches: Sequence[Batch]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stack K batches of one shape into (K, B, T) inputs, targets and weights."""
    return tuple(np.stack(arrays) for arrays in zip(*batches, strict=True))
