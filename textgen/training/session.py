"""One training in this process: its start, its steps and the model that it saves."""

from __future__ import annotations

import contextlib
import math
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from textgen.config import FEW_SYMBOLS
from textgen.errors import OptionError, OutputError, TrainingError
from textgen.evaluation.novelty import novelty_line
from textgen.modeling.model import build_model, predict_frequencies, set_network
from textgen.saving.trained_model import TrainedModel, TrainedText
from textgen.system.signals import (
    hang_up_ignored,
    on_interrupt,
    raised_on_interrupt,
)
from textgen.training.callbacks import checked_callbacks
from textgen.training.checkpoint import (
    MOST_SHARE,
    Checkpoint,
    CheckpointWriter,
    TrainingState,
    encode_checkpoint,
    library_versions,
)
from textgen.training.distributed import Peers
from textgen.training.history import EpochRow
from textgen.training.logs import row_logs
from textgen.training.loop import Training
from textgen.training.output import remove_checkpoints
from textgen.training.plots import expected_s, picture_beside
from textgen.training.progress import ProgressDisplay, sample_of
from textgen.training.recipe import describe_length
from textgen.training.recorder import Recorder
from textgen.training.saver import ModelSaver
from textgen.training.schedule import steps_in_time
from textgen.training.setup import Preparation
from textgen.training.snapshots import SnapshotWriter
from textgen.training.step import choose_precision, configure_process
from textgen.training.validation import outcome

SAVING_S = 1.0  # kept back from a budget in minutes for writing the file
NOVELTY_SHARE = 0.01  # and for telling what of its text the model copies
MEASURING_SHARE = 0.03  # at the most, for measuring the held-out text
NOTHING_YET = TrainingState(0, 1.0, 0.0, 1, np.zeros(0, np.float32), ())


@dataclass(frozen=True)
class Report:
    """What a training did, over all resumes."""

    path: Path  # the saved model
    previous: Path | None  # where the earlier model of that name is now, if any
    steps: int
    seconds: float  # wall-clock time
    held_out_nats: float | None  # per character, if they were measured
    val_loss: float | None  # of the saved weights, if it was measured of them
    history: tuple[EpochRow, ...]
    interruption: type[KeyboardInterrupt] | None  # what stopped it early, to be raised


class TrainingSession:
    """A prepared training that is run in this process; `run` does all of it.

    Each line worth telling goes to ``say``, and with ``show`` there are progress and
    samples of text on standard error. A budget in minutes is counted from ``started_s``
    of `time.monotonic`; None means now. Of ``peers`` that train together this is the
    chief; the others follow it, see `textgen.training.worker`.
    """

    def __init__(
        self,
        preparation: Preparation,
        *,
        peers: Peers | None = None,
        show: bool = False,
        say: Callable[[str], None] = lambda line: None,
        started_s: float | None = None,
    ) -> None:
        self._ready = preparation
        self._peers = peers or Peers()
        self._show = show
        self._say = say
        self._started_s = time.monotonic() if started_s is None else started_s
        before = preparation.checkpoint
        if before is not None:
            self._started_s -= before.seconds
        self._run_name = before.run if before else secrets.token_hex(8)
        self._lengthened_at = before.lengthened_at if before else ()
        self._total_steps = preparation.total_steps or 0  # until minutes are planned
        self._versions = library_versions()
        self._interruption: type[KeyboardInterrupt] | None = None

    def run(self, callbacks: Iterable[keras.callbacks.Callback] = ()) -> Report:
        """Train from start to finish; raises as `textgen.train` does."""
        callbacks = checked_callbacks(callbacks)
        with self._peers.taking_part(), raised_on_interrupt():
            self.start()
            self.train(callbacks)
            # Of a terminal that goes away several signals may come.
            stopped = self._interruption is not None
            with hang_up_ignored() if stopped else contextlib.nullcontext():
                return self.finish()

    # Start

    def start(self) -> None:
        """Build the network, compile its training step and plan how many there are."""
        ready, vocabulary = self._ready, self._ready.vocabulary
        self._say(ready.summary)
        self._say("compiling the training step …")
        configure_process()
        precision = choose_precision(ready.config.training.precision)
        self._config = config = ready.config.override(precision=precision)
        seed = config.training.seed
        self._peers.tell(lambda: encode_checkpoint(self._plan(NOTHING_YET)))
        self._peers.all_ready()
        model = self._peers.build(
            lambda: build_model(config.model, len(vocabulary), seed=seed)
        )
        if ready.start is not None:
            source = ready.start.vocabulary.ids_like(vocabulary.symbols)
            set_network(model, ready.start.network, source)
        elif ready.checkpoint is None and (
            config.model.layers == 1 or len(vocabulary) > FEW_SYMBOLS
        ):
            predict_frequencies(model, ready.windows.counts(len(vocabulary)))
        self._loop = Training(model, ready.windows, config.training, self._peers)
        if ready.checkpoint is not None:
            self._restore(ready.checkpoint.state)
        logs = row_logs(ready.logs, ready.path, self._say)
        self._recorder = Recorder(self._loop, logs, self._seconds, ready.checkpoint)
        self._peers.tell(lambda: encode_checkpoint(self._checkpoint()))
        self._saver = ModelSaver(
            self._loop.result, config, vocabulary, ready.corpus.kind, self._checkpoint
        )
        # Whatever makes a network impossible to save is found now, not at the end.
        before_s = time.monotonic()
        self._saver.on_the_way()
        self._snapshots = SnapshotWriter(
            self._saver.on_the_way,
            ready.path,
            ready.save_every,
            self._say,
            cost_s=time.monotonic() - before_s,
        )
        step_s = self._loop.calibrate()
        if ready.total_steps is None:
            self._total_steps = self._steps_in_minutes(step_s)
        self._peers.from_chief(self._total_steps)
        steps, done = self._total_steps, self._loop.global_step
        if ready.checkpoint is not None and steps != ready.checkpoint.total_steps:
            self._lengthened_at = (*self._lengthened_at, done)
        self._checkpoints = CheckpointWriter(self._checkpoint, ready.path, self._say)
        epochs = steps / ready.windows.steps_per_epoch
        enough = ready.most_epochs if epochs == ready.most_epochs else None
        goes_on = ready.start is not None
        self._say(describe_length(config, done, steps, step_s, enough, goes_on=goes_on))

    def _restore(self, state: TrainingState) -> None:
        """Go on from an earlier process' state; say if shards aren't as usual here."""
        usual, before = self._loop.num_shards, state.num_shards
        self._loop.restore(state)
        if self._loop.num_shards != before:
            self._say(
                f"batches can't be cut into as many shards as before, {before}, by "
                "these devices: the training goes on, but not bit for bit as it would "
                "have"
            )
        elif before != usual:
            self._say(
                f"batches are cut into as many shards as before, {before}; for "
                f"this machine's cores it would be {usual}"
            )

    def _steps_in_minutes(self, step_s: float) -> int:
        """Plan how many steps of ``step_s`` seconds to take, with those taken."""
        ready, training = self._ready, self._config.training
        assert training.minutes is not None
        budget_s, per_epoch = training.minutes * 60, ready.windows.steps_per_epoch
        before_s = time.monotonic()
        self._measure(self._saver.current())
        after_epoch_s = time.monotonic() - before_s
        # To measure a symbol takes about as long as to train on it.
        symbols_per_step = (
            ready.windows.characters_per_step / ready.windows.characters_per_symbol
        )
        symbol_s = step_s / symbols_per_step
        ready.held_out.limit(int(MEASURING_SHARE * budget_s / symbol_s))
        at_the_end_s = ready.held_out.symbols * symbol_s + SAVING_S + expected_s()
        spent_s = self._seconds()
        if self._show:
            at_the_end_s += NOVELTY_SHARE * budget_s
        left_s = budget_s - spent_s - at_the_end_s
        step_s *= 1 + MOST_SHARE + self._snapshots.share
        step_s += after_epoch_s / per_epoch
        if left_s < step_s and not self._loop.global_step:
            # What is kept back for the end grows with the budget.
            lacking_s = (step_s - left_s) / (1 - MEASURING_SHARE - NOVELTY_SHARE)
            needed = training.minutes + lacking_s / 60
            raise OptionError(
                "`minutes` must leave time to train, here at least "
                f"{math.ceil(100 * needed) / 100:.2f} for starting, measuring and one "
                f"step, but was {training.minutes:g}"
            )
        return steps_in_time(
            left_s, step_s, ready.most_epochs * per_epoch, self._loop.global_step
        )

    # Train

    def train(self, callbacks: Iterable[keras.callbacks.Callback] = ()) -> None:
        """Take the planned steps, or fewer if it is interrupted, with checkpoints."""
        steps = self._total_steps
        hooks = [self._recorder, *callbacks]
        self._loop.result.save = self._saver.save_for_callback
        if self._show:
            sample, done = lambda: self._recorder.sample, self._loop.global_step
            figure = self._ready.epoch_measure.name
            hooks.append(
                ProgressDisplay(
                    steps,
                    self._ready.windows,
                    sample,
                    done,
                    figure=figure,
                    of_lines=self._ready.corpus.kind == "lines",
                )
            )
        try:
            with on_interrupt(self._loop.request_stop) as received:
                self._checkpoints.write()
                if self._checkpoints.failure is not None:
                    raise self._checkpoints.failure
                self._loop.run(
                    steps,
                    measure=lambda: self._measure(self._saver.current()),
                    callbacks=hooks,
                    after_call=self._save_if_due,
                    at_end=self._end,
                )
        except TrainingError as error:
            raise self._save_last_good(error) from error
        self._interruption = self._peers.interruption(received)

    def _end(self) -> None:
        """Write the last checkpoint, before callbacks may set other weights."""
        self._saver.remember_weights()
        self._checkpoints.write()

    def _save_if_due(self, epoch_ended: bool) -> None:
        self._checkpoints.write_if_due(epoch_ended)
        self._snapshots.write_if_due()

    def _measure(self, model: TrainedModel) -> dict[str, float]:
        """Measure the network as after each epoch, when it also writes a sample."""
        try:
            self._recorder.sample = sample_of(model)
        except Exception as error:  # no reason to end a training for
            self._recorder.sample = f"(there is no sample: {error})"
        return self._ready.epoch_measure(model)

    def _save_last_good(self, error: TrainingError) -> TrainingError:
        """Save the model as it was before it went wrong; return what to raise."""
        good = self._checkpoints.last_good
        rate = float(f"{self._config.training.learning_rate / 3:.1g}")
        lower = f"`learning_rate` {rate:g}"
        if good is None or not good.state.global_step:
            return TrainingError(
                f"{error}; nothing was saved", f"try {lower} or `precision` float32"
            )
        self._loop.restore(good.state)
        row = self._saver.choose_weights(good)
        self._saver.save(good, self._ready.path, row, diverged=str(error))
        self._draw(good.history)
        step = row.step if row else good.state.global_step
        return TrainingError(
            f"{error}; {str(self._ready.path)!r} is the model of step "
            f"{step:,}, when all was well",
            f"go on from it with `init_from` and a lower rate, or anew with {lower}",
        )

    # Finish

    def finish(self) -> Report:
        """Measure the network, unless it was interrupted, and save it."""
        ready, path, nats = self._ready, self._ready.path, None
        if not self._loop.global_step:
            raise self._interruption or TrainingError(
                "expected to train, but a callback stopped it before the first step; "
                "nothing was saved"
            )
        if self._interruption is not None:
            self._say(
                "stopped; saving what was learned, which one more Ctrl-C would give up"
            )
        final = self._checkpoint()
        row = self._saver.choose_weights(final)
        if self._interruption is None:
            for line in outcome(final, row, ready.epoch_measure.name):
                self._say(line)
            try:
                nats = ready.held_out.measure(self._saver.current())
            except KeyboardInterrupt as interrupt:
                self._interruption = type(interrupt)
        final = replace(final, seconds=self._seconds())
        interrupted = self._interruption is not None
        previous = self._saver.save(
            final, path, row, held_out_nats=nats, interrupted=interrupted
        )
        self._draw(final.history)
        finished, keep = self._interruption is None, ready.keep_checkpoint
        if (failure := self._checkpoints.failure) and (keep or not finished):
            raise OutputError(f"{str(path)!r} is saved, but no checkpoint: {failure}")
        if finished:
            remove_checkpoints(path, keep_newest=keep)
        self._peers.meet()
        if finished and self._show and (line := self._novelty(final.seconds)):
            self._say(line)
        return Report(
            path,
            previous,
            steps=final.state.global_step,
            seconds=final.seconds,
            held_out_nats=nats,
            val_loss=row.val_loss if row else None,
            history=final.history,
            interruption=self._interruption,
        )

    def _novelty(self, seconds: float) -> str:
        """Return the line on what of its text the saved network copies, if any."""
        ready = self._ready
        own = TrainedText.of_training(ready.corpus.identity, self._config)
        model = replace(self._saver.current(), texts=(*ready.texts, own))
        with contextlib.suppress(KeyboardInterrupt):
            return novelty_line(model, ready.corpus, seconds)
        return ""

    def _draw(self, rows: Sequence[EpochRow]) -> None:
        """Draw the learning curve beside the model, where that can be done."""
        ready = self._ready
        title = f"{ready.corpus.title}: {ready.config.model.title}"
        curve, figure = [vars(row) for row in rows], ready.epoch_measure.name
        for line in picture_beside(ready.path, curve, title, figure):
            self._say(line)

    # Where it is

    def _checkpoint(self) -> Checkpoint:
        """Return the checkpoint of where the training is."""
        return replace(
            self._plan(self._loop.state()),
            history=self._recorder.rows,
            best_weights=self._recorder.best_weights,
        )

    def _plan(self, state: TrainingState) -> Checkpoint:
        """Return a checkpoint of a state, without what was found on the way to it."""
        return Checkpoint(
            run=self._run_name,
            config=self._config,
            corpus=self._ready.corpus.identity,
            texts=self._ready.texts,
            vocabulary=self._ready.vocabulary,
            total_steps=self._total_steps,
            lengthened_at=self._lengthened_at,
            seconds=self._seconds(),
            versions=self._versions,
            state=state,
        )

    def _seconds(self) -> float:
        """Return the wall-clock time spent, over all resumes."""
        return time.monotonic() - self._started_s
