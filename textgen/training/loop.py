"""The training loop: compiled steps, Keras callbacks, one measuring at each epoch.

It is our own and not `Model.fit`, so that a training can be resumed inside an epoch,
runs several steps in one compiled call, and works on every `tf.distribute` strategy.
"""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from textgen.config import WIDE_SYMBOLS, TrainingConfig
from textgen.data.batches import WindowBatch, Windows
from textgen.errors import CheckpointError, TrainingError
from textgen.modeling.sampled_softmax import SampledSoftmax
from textgen.training.checkpoint import TrainingState
from textgen.training.distributed import Peers
from textgen.training.schedule import EACH_STEP_UNTIL, averaging_factors, learning_rates
from textgen.training.step import TrainStep

CALL_SECONDS = 0.5  # of one compiled call, about: Ctrl-C has to wait for its end
MAX_STEPS_PER_CALL = 64
TIMED_CALLS, TIMED_SECONDS = 3, 0.15  # so many of so long tell a step's time
EXPLODED = 10.0  # times ln V, the loss of a uniform guess: nothing learns from there


class Training:
    """Train a many-to-many network of `textgen.modeling.model` on windows; see `run`.

    Network and configuration are as for `TrainStep`. Where ``peers`` are several
    processes, each makes its own `Training` and calls the same methods in turn; only
    the chief has callbacks and measures.

    Attributes:
        result: the network to measure and save, see `TrainStep`.
        global_step: optimizer steps taken so far.
        stop_requested: whether `run` was to stop, or is to.
    """

    def __init__(
        self,
        model: keras.Model,
        windows: Windows,
        config: TrainingConfig,
        peers: Peers | None = None,
    ) -> None:
        self.model = model
        self.windows = windows
        self.config = config
        self._peers = peers = peers or Peers()
        # Words and byte pairs are too many for it; characters are few, mostly.
        folded = windows.characters == windows.symbols
        symbols = model.output_shape[-1]
        wide = symbols >= WIDE_SYMBOLS
        softmax = SampledSoftmax(windows.counts(symbols)) if wide else None
        make = functools.partial(
            TrainStep,
            process=peers.index,
            cores=peers.cores,
            stateful=windows.stateful,
            folded=folded,
            softmax=softmax,
        )
        self._step = peers.call(
            lambda: make(model, config, windows.batch_size, peers.strategy)
        )
        self.result = self._step.result
        self.global_step = 0
        self.stop_requested = self.result.stop_training = False
        self._epoch_losses: list[np.float32] = []
        self._steps_per_call = 1
        self._last_rate = self._step.learning_rate
        self._rate_scale = 1.0

    @property
    def num_shards(self) -> int:
        """Shards that a batch is cut into; see `TrainStep.num_shards`."""
        return self._step.num_shards

    @property
    def learning_rate(self) -> float:
        """That of the last step, whatever a callback has set for the next ones."""
        return self._last_rate

    def request_stop(self) -> None:
        """Make `run` stop at the end of the current compiled call."""
        self.stop_requested = True

    def calibrate(self) -> float:
        """Compile, time a few calls, and return the median seconds of a step.

        Every variable is put back as it was. How many steps go into one compiled call,
        between which callbacks run and Ctrl-C is noticed, is chosen here, too.
        """
        before = self.state()
        most = min(MAX_STEPS_PER_CALL, self.windows.steps_per_epoch)
        # One step of each length that batches are padded to compiles the step for it.
        by_length = {
            stack.inputs.shape[2]: WindowBatch(*(x[:1] for x in stack))
            for stack in self._stacks(0, 0, most)
        }
        self._take(by_length.values(), np.zeros(len(by_length)), 0)
        # The first steps would take longer, since each of them updates the average.
        factors = averaging_factors(self.config, EACH_STEP_UNTIL, most)
        count, step_s = 1, []
        for _ in range(1 + TIMED_CALLS):
            stacks = self._stacks(0, 0, count)
            started_s = time.perf_counter()
            self._take(stacks, np.zeros(count), 0, factors[:count])
            taken_s = (time.perf_counter() - started_s) / count
            step_s.append(self._peers.from_chief(taken_s))
            count = min(max(1, int(TIMED_SECONDS / step_s[0])), most)
        self._steps_per_call = min(max(1, int(CALL_SECONDS / step_s[0])), most)
        self.restore(before)
        return statistics.median(step_s[1:])

    def state(self) -> TrainingState:
        """Return a copy of everything that determines how the training goes on."""
        return TrainingState(
            self.global_step,
            self._rate_scale,
            self._last_rate,
            self.num_shards,
            np.array(self._epoch_losses, np.float32),
            tuple(np.asarray(x.value.numpy()) for x in self._step.variables),
        )

    def restore(self, state: TrainingState) -> None:
        """Go back or on to a state, of this process or another.

        Args:
            state: of `state`, of a training with the same network and configuration.

        Raises:
            CheckpointError: it is of another network.
        """
        variables = self._step.variables
        forms = [(x.shape, x.dtype.name) for x in state.variables]
        if forms != [(tuple(x.shape), x.dtype) for x in variables]:
            raise CheckpointError(
                f"expected the state of this network, {len(variables)} arrays, "
                f"but received {len(forms)} of other shapes or types: use the version "
                "of textgen that began the training"
            )
        for variable, value in zip(variables, state.variables, strict=True):
            variable.assign(value)
        self.global_step = state.global_step
        self._epoch_losses = list(state.epoch_losses)
        self._rate_scale, self._last_rate = state.rate_scale, state.last_rate
        self._step.num_shards = state.num_shards

    def run(
        self,
        total_steps: int,
        *,
        measure: Callable[[], Mapping[str, float]] = lambda: {},
        callbacks: Iterable[keras.callbacks.Callback] = (),
        after_call: Callable[[bool], None] = lambda epoch_ended: None,
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Go on until ``total_steps`` steps are taken in all, or until stopped.

        Stops early when a callback sets ``model.stop_training`` or `request_stop` is
        called (at an interrupt), at the end of the current compiled call.

        Args:
            total_steps: length of the schedule.
            measure: called at the end of each epoch; what it returns, ``val_loss`` and
                ``val_accuracy``, goes into the logs.
            callbacks: Keras callbacks, told what `fit` tells them. Their model is
                `result`, the network that is measured and saved, with the optimizer in
                use; ``params`` are epochs, steps of an epoch and verbose, 0. Batches
                are numbered within their epoch, and their hooks fire once per compiled
                call, with the number of its first step before it, and of its last one
                and the loss of that after it. Logs of an epoch are ``loss``, the mean
                of its steps, ``learning_rate`` of the last of them, and what
                ``measure`` returns.
                A training that is resumed inside an epoch begins that epoch again, at
                the batch where it stopped; its loss is of all its steps nevertheless.
                A rate that callbacks set scales all later ones; set to 0, it stays
                there.
            after_call: called after each compiled call and its callbacks, with
                whether it ended an epoch; `state` then holds all that matters.
            at_end: called once no more steps are taken, before callbacks are told so,
                since they may set other weights then; not after an error.

        Raises:
            TrainingError: when the loss is no longer a finite number, or explodes.
        """
        per_epoch = self.windows.steps_per_epoch
        params = {"epochs": -(-total_steps // per_epoch), "steps": per_epoch}
        hooks = keras.callbacks.CallbackList(
            list(callbacks), model=self.result, **params, verbose=0
        )
        hooks.on_train_begin()
        logs: dict[str, float] = {}
        try:
            begun_epoch = None
            while self.global_step < total_steps and not self._peers.any(
                self.stop_requested or self.result.stop_training
            ):
                epoch, at = divmod(self.global_step, per_epoch)
                if at == 0:
                    self._epoch_losses = []
                    self._step.begin_epoch()
                if epoch != begun_epoch:
                    hooks.on_epoch_begin(epoch)
                    begun_epoch = epoch
                self._run_call(total_steps, hooks)
                ended = self.global_step in ((epoch + 1) * per_epoch, total_steps)
                if ended:
                    logs = {
                        "loss": float(np.mean(self._epoch_losses)),
                        "learning_rate": self._last_rate,
                        **measure(),
                    }
                    hooks.on_epoch_end(epoch, logs)
                after_call(ended)
            at_end()
        finally:
            hooks.on_train_end(logs)

    def _run_call(self, total_steps: int, hooks: keras.callbacks.CallbackList) -> None:
        """Take the steps of one compiled call, at most to the end of the epoch."""
        epoch, at = divmod(self.global_step, self.windows.steps_per_epoch)
        hooks.on_train_batch_begin(at)
        left = min(self.windows.steps_per_epoch - at, total_steps - self.global_step)
        count = min(self._steps_per_call, left)
        # Callbacks (ReduceLROnPlateau, say) assign the optimizer's rate; the schedule
        # goes on from there in proportion.
        current = self._step.learning_rate
        if self._last_rate and current != self._last_rate:
            self._rate_scale *= current / self._last_rate
        rates = learning_rates(self.config, total_steps, self.global_step, count)
        factors = averaging_factors(self.config, self.global_step, count)
        stacks = self._stacks(epoch, at, count)
        rates *= self._rate_scale
        losses = self._take(stacks, rates, self.global_step, factors)
        self._last_rate = self._step.learning_rate
        self._check(losses)
        losses = losses / self.windows.characters_per_symbol
        self.global_step += count
        self._epoch_losses.extend(losses)
        hooks.on_train_batch_end(at + count - 1, {"loss": float(losses[-1])})

    def _stacks(self, epoch: int, first_step: int, count: int) -> Iterator[WindowBatch]:
        """Return this process' rows of some batches."""
        return self.windows.stacked_batches(epoch, first_step, count, self._step.rows)

    def _take(self, *arguments: Any) -> np.ndarray:
        """Take steps, as `TrainStep` does, together with the other processes."""
        return self._peers.call(lambda: self._step(*arguments))

    def _check(self, losses: np.ndarray) -> None:
        """Raise if losses (K,), from step ``global_step`` on, aren't sound."""
        most = EXPLODED * math.log(max(2, self.model.output_shape[-1]))
        sound = (losses <= most) & np.isfinite(losses)
        if not sound.all():
            bad = int(np.argmin(sound))
            raise TrainingError(
                f"the loss must be a finite number of at most {most:.0f}, but was "
                f"{losses[bad]:g} at step {self.global_step + bad + 1}"
            )
