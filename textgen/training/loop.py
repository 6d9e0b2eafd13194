"""The training loop: compiled steps, Keras callbacks, one measure at each epoch.

Our own loop instead of `Model.fit`: it knows its place inside an epoch, runs several
steps in one compiled call, and works on every `tf.distribute` strategy.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from textgen.config import TrainingConfig
from textgen.data.windows import LineWindows, TextWindows
from textgen.errors import CheckpointError, TrainingError
from textgen.modeling.optimizer import make_optimizer
from textgen.training.checkpoint import TrainingState
from textgen.training.schedule import EACH_STEP_UNTIL, averaging_shares, learning_rates
from textgen.training.step import TrainStep

CALL_SECONDS = 0.5  # aim for one compiled call; how long Ctrl-C may have to wait
MAX_STEPS_PER_CALL = 64
TIMED_CALLS = 3
EXPLODED = 10.0  # times the loss of one who knows nothing: far from any that learns


class Training:
    """Train a network on windows; see `run`.

    Attributes:
        model: the network in training.
        result: the network to measure and save: the same, or one whose weights are
            its running averages, which callbacks that set weights don't reach.
        windows: as given.
        config: as given.
        step: optimizer steps taken so far.
        stop_requested: whether `request_stop` was called.

    Args:
        model: a many-to-many network of `textgen.modeling.model.build_model`, built in
        the
            strategy's scope. Its ``optimizer`` is set here, so that callbacks find
            it where they look.
        windows: of `textgen.data.windows.make_windows`.
        config: optimizer, schedule and seed.
        precision: ``float32`` or ``bfloat16``.
        strategy: a `tf.distribute.Strategy`; None means the current one.
    """

    def __init__(
        self,
        model: keras.Model,
        windows: TextWindows | LineWindows,
        config: TrainingConfig,
        *,
        precision: str = "float32",
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        self.model = model
        self.windows = windows
        self.config = config
        self.stop_requested = False
        self.step = 0
        self._epoch_losses: list[float] = []
        self._steps_per_call = 1
        self._last_rate = None
        self._rate_scale = 1.0
        strategy = strategy or tf.distribute.get_strategy()
        with strategy.scope():
            model.optimizer = make_optimizer(config)
            model.optimizer.build(model.trainable_variables)
            averaged = config.schedule == "averaged"
            self.result = _copy_of(model) if averaged else model
        self._step = TrainStep(
            model,
            precision=precision,
            seed=config.seed,
            batch_size=windows.batch_size,
            strategy=strategy,
            average=self.result if averaged else None,
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
        before = self.state()
        most = min(MAX_STEPS_PER_CALL, self.windows.steps_per_epoch)
        self._compile_lengths(most)
        fitting = int(CALL_SECONDS / self._timed_call(1))
        self._steps_per_call = min(max(1, fitting), most)
        calls = [self._timed_call(self._steps_per_call) for _ in range(TIMED_CALLS)]
        self.restore(before)
        return statistics.median(calls) / self._steps_per_call

    def state(self) -> TrainingState:
        """Return a copy of everything that determines how the training goes on."""
        return TrainingState(
            self.step,
            self._rate_scale,
            self._last_rate,
            self.parts,
            np.array(self._epoch_losses, np.float32),
            tuple(np.asarray(x.value.numpy()) for x in self._variables),
        )

    def restore(self, state: TrainingState) -> None:
        """Go back or on to a state, of this process or another.

        Args:
            state: of `state`, of a training with the same network and configuration.

        Raises:
            CheckpointError: it is of another network, or of parts that the replicas
                can't make.
        """
        forms = [(x.shape, x.dtype.name) for x in state.variables]
        if forms != [(tuple(x.shape), x.dtype) for x in self._variables]:
            raise CheckpointError(
                f"expected the state of this network, {len(self._variables)} arrays, "
                f"but received {len(forms)} of other shapes or types: use the version "
                "of textgen that began the training"
            )
        for variable, value in zip(self._variables, state.variables, strict=True):
            variable.assign(value)
        self.step, self._epoch_losses = state.step, list(state.epoch_losses)
        self._rate_scale, self._last_rate = state.rate_scale, state.last_rate
        self._step.cut_as_before(state.parts)

    @property
    def _variables(self) -> list[keras.Variable]:
        averages = self.result.weights if self.result is not self.model else []
        return [*self.model.weights, *self.model.optimizer.variables, *averages]

    def _compile_lengths(self, steps: int) -> None:
        """Take one step of each padded length that occurs in the first ``steps``."""
        first_steps, step = {}, 0
        for batch in self.windows.stacked_batches(0, 0, steps):
            count, _, length = batch.inputs.shape
            first_steps.setdefault(length, step)
            step += count
        for step in first_steps.values():
            self._take_steps(step, 1, total_steps=steps)

    def _timed_call(self, count: int) -> float:
        """Return the seconds that a call of so many steps takes, but early ones.

        Those average the weights each time.
        """
        shares = averaging_shares(self.config, EACH_STEP_UNTIL, count)
        started = time.perf_counter()
        self._take_steps(0, count, total_steps=count, shares=shares)
        return time.perf_counter() - started

    def run(
        self,
        total_steps: int,
        *,
        measure: Callable[[], dict[str, float]] = dict,
        callbacks: Iterable[keras.callbacks.Callback] = (),
        after_call: Callable[[bool], None] = lambda epoch_ended: None,
    ) -> None:
        """Go on until ``total_steps`` steps are taken in all, or until stopped.

        Stops early when a callback sets ``model.stop_training`` or something sets
        ``stop_requested`` (an interrupt), at the end of the current compiled call.

        Args:
            total_steps: length of the schedule.
            measure: called at the end of each epoch; what it returns joins the logs.
            callbacks: Keras callbacks. Batch hooks fire once per compiled call, with
                the number of its first step before it and of its last one after it.
                An epoch that is gone on with begins again for them. A rate that they
                set scales all later ones; set to 0, it stays there.
            after_call: called after each compiled call and its callbacks, with
                whether it ended an epoch; `state` then holds all that matters.

        Raises:
            TrainingError: when the loss is no longer a finite number, or explodes.
        """
        if self._last_rate is None:  # what callbacks find before the first step
            self._last_rate = self._current_rate()
        hooks = keras.callbacks.CallbackList(list(callbacks), model=self.model)
        hooks.on_train_begin()
        try:
            self._run_epochs(total_steps, measure, hooks, after_call)
        finally:
            hooks.on_train_end()

    def _run_epochs(
        self,
        total_steps: int,
        measure: Callable[[], dict[str, float]],
        hooks: keras.callbacks.CallbackList,
        after_call: Callable[[bool], None],
    ) -> None:
        """Do the work of `run`."""
        per_epoch = self.windows.steps_per_epoch
        begun = None
        while self.step < total_steps and not self._stopping:
            epoch, at = divmod(self.step, per_epoch)
            if at == 0:
                self._epoch_losses = []
            if epoch != begun:
                hooks.on_epoch_begin(epoch)
                begun = epoch
            count = min(self._steps_per_call, per_epoch - at, total_steps - self.step)
            hooks.on_train_batch_begin(self.step)
            losses = self._take_steps(self.step, count, total_steps)
            self._check(losses)
            self.step += count
            self._epoch_losses.extend(losses)
            logs = {"loss": float(losses[-1]), "step": self.step}
            hooks.on_train_batch_end(self.step - 1, logs)
            ended = self.step % per_epoch == 0 or self.step == total_steps
            if ended:
                logs = {"loss": float(np.mean(self._epoch_losses)), **measure()}
                hooks.on_epoch_end(epoch, logs)
            after_call(ended)

    @property
    def _stopping(self) -> bool:
        return self.stop_requested or self.model.stop_training

    def _take_steps(
        self,
        first_step: int,
        count: int,
        total_steps: int,
        shares: np.ndarray | None = None,
    ) -> np.ndarray:
        """Run steps of one epoch, those of one length together; return their losses.

        Their shares in the average are by the schedule, unless others are given.
        """
        epoch, at = divmod(first_step, self.windows.steps_per_epoch)
        rates = learning_rates(self.config, total_steps, first_step, count)
        self._follow_callbacks()
        rates *= self._rate_scale
        if shares is None:
            shares = averaging_shares(self.config, first_step, count)
        losses, step = [], first_step
        for batch in self.windows.stacked_batches(epoch, at, count):
            ahead = len(batch.inputs)
            these = slice(step - first_step, step - first_step + ahead)
            losses.append(self._step(*batch, rates[these], step, shares[these]))
            step += ahead
        self._last_rate = self._current_rate()
        return np.concatenate(losses)

    def _check(self, losses: np.ndarray) -> None:
        """Raise if the losses (K,) of the steps from ``step`` on aren't sound."""
        most = EXPLODED * math.log(max(2, self.model.output_shape[-1]))
        sound = (losses <= most) & np.isfinite(losses)
        if not sound.all():
            bad = int(np.argmin(sound))
            raise TrainingError(
                f"the loss must be a finite number of at most {most:.0f}, but was "
                f"{losses[bad]:g} at step {self.step + bad + 1}"
            )

    def _follow_callbacks(self) -> None:
        """Note by what factor callbacks (ReduceLROnPlateau, say) changed the rate.

        They assign ``model.optimizer.learning_rate``; the schedule goes on from there
        in proportion.
        """
        current = self._current_rate()
        if self._last_rate and current != self._last_rate:
            self._rate_scale *= current / self._last_rate

    def _current_rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))


def _copy_of(model: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy
