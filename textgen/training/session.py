"""One training in this process: its start, its steps and the model that it saves."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from textgen.errors import OptionError, OutputError, TrainingError
from textgen.modeling.model import build_model, network_of, set_network
from textgen.saving.model_file import serialize
from textgen.saving.trained_model import TrainedModel
from textgen.system.signals import on_interrupt, raised_on_interrupt
from textgen.training.checkpoint import (
    MOST_SHARE,
    Checkpoint,
    CheckpointWriter,
    TrainingState,
    encode_checkpoint,
    library_versions,
)
from textgen.training.distributed import Peers
from textgen.training.held_out import shorter_is_better
from textgen.training.loop import Training
from textgen.training.output import save_keeping_previous
from textgen.training.progress import ProgressDisplay, sample_of
from textgen.training.recipe import describe_length
from textgen.training.saved_form import metadata_of, saved_form
from textgen.training.schedule import steps_in_time
from textgen.training.setup import Preparation
from textgen.training.step import choose_precision, configure_process

SAVING_S = 1.0  # kept back from a budget in minutes for writing the file
NOTHING_YET = TrainingState(0, 1.0, 0.0, 1, np.zeros(0, np.float32), ())


@dataclass(frozen=True)
class Report:
    """What a training did, over all resumes."""

    path: Path  # the saved model
    previous: Path | None  # where the earlier model of that name is now, if any
    steps: int
    seconds: float  # wall-clock time
    held_out_nats: float | None  # per character, if they were measured
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
        self._history = keras.callbacks.History()
        self._interruption: type[KeyboardInterrupt] | None = None

    def run(self, callbacks: Iterable[keras.callbacks.Callback] = ()) -> Report:
        """Train from start to finish; raises as `textgen.train` does."""
        with self._peers.taking_part(), raised_on_interrupt():
            self.start()
            self.train(callbacks)
            return self.finish()

    # Start

    def start(self) -> None:
        """Build the network, compile its training step and plan how many there are."""
        ready, vocabulary = self._ready, self._ready.corpus.vocabulary
        self._say(ready.summary)
        self._say("compiling the training step …")
        configure_process()
        precision = choose_precision(ready.config.training.precision)
        self._config = config = ready.config.override(precision=precision)
        seed = config.training.seed
        self._peers.tell(lambda: encode_checkpoint(self._checkpoint(NOTHING_YET)))
        self._peers.all_ready()
        model = self._peers.build(
            lambda: build_model(config.model, len(vocabulary), seed=seed)
        )
        if ready.start is not None:
            source = ready.start.vocabulary.ids_like(vocabulary.symbols)
            set_network(model, ready.start.network, source)
        self._loop = Training(model, ready.windows, config.training, self._peers)
        if ready.checkpoint is not None:
            self._restore(ready.checkpoint.state)
        self._peers.tell(lambda: encode_checkpoint(self._checkpoint()))
        # Whatever makes a network impossible to save is found now, not at the end.
        as_saved = saved_form(self._loop.result, config)
        serialize(as_saved, metadata_of(self._checkpoint()))
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
        per_epoch = ready.windows.steps_per_epoch
        before_s = time.monotonic()
        model = self._snapshot()
        ready.held_out.measure(model, briefly=True)
        after_epoch_s = time.monotonic() - before_s
        at_the_end_s = ready.held_out.cost_s(model) + SAVING_S
        spent_s = time.monotonic() - self._started_s
        left_s = training.minutes * 60 - spent_s - at_the_end_s
        step_s = step_s * (1 + MOST_SHARE) + after_epoch_s / per_epoch
        if left_s < step_s and not self._loop.global_step:
            needed = training.minutes + (step_s - left_s) / 60
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
        held_out, steps = self._ready.held_out, self._total_steps
        hooks = [self._history, *callbacks]
        if self._show:
            sample, done = lambda: sample_of(self._snapshot()), self._loop.global_step
            hooks.append(ProgressDisplay(steps, self._ready.windows, sample, done))
        try:
            with on_interrupt(self._loop.request_stop) as received:
                self._checkpoints.write()
                if self._checkpoints.failure is not None:
                    raise self._checkpoints.failure
                self._loop.run(
                    steps,
                    measure=lambda: held_out.measure(self._snapshot(), briefly=True),
                    callbacks=hooks,
                    after_call=self._checkpoints.write_if_due,
                )
                self._checkpoints.write()
        except TrainingError as error:
            raise self._save_last_good(error) from error
        self._interruption = self._peers.interruption(received)

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
        self.save(good, diverged=str(error))
        return TrainingError(
            f"{error}; {str(self._ready.path)!r} is the model of step "
            f"{good.state.global_step:,}, when all was well",
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
        else:
            # The figures from before a resume are not known.
            if ready.checkpoint is None:
                figures = self._history.history.get("val_loss", [])
                for line in shorter_is_better(figures):
                    self._say(line)
            try:
                nats = ready.held_out.measure(self._snapshot())
            except KeyboardInterrupt as interrupt:
                self._interruption = type(interrupt)
        final = self._checkpoint()
        previous = self.save(final, held_out_nats=nats)
        if (failure := self._checkpoints.failure) is not None:
            raise OutputError(f"{str(path)!r} is saved, but no checkpoint: {failure}")
        self._peers.meet()
        steps = final.state.global_step
        return Report(path, previous, steps, final.seconds, nats, self._interruption)

    def save(
        self,
        checkpoint: Checkpoint,
        *,
        held_out_nats: float | None = None,
        diverged: str | None = None,
    ) -> Path | None:
        """Save the network as it is now; return where the earlier model is, if any.

        The checkpoint is of these weights; the rest is for `metadata_of`.
        """
        metadata = metadata_of(
            checkpoint,
            held_out_nats=held_out_nats,
            interrupted=self._interruption is not None,
            diverged=diverged,
        )
        model = saved_form(self._loop.result, self._config)
        return save_keeping_previous(model, metadata, self._ready.path)

    # Where it is

    def _checkpoint(self, state: TrainingState | None = None) -> Checkpoint:
        """Return the checkpoint of where the training is, or of another state."""
        corpus = self._ready.corpus
        return Checkpoint(
            run=self._run_name,
            config=self._config,
            corpus=corpus.identity,
            texts=self._ready.texts,
            symbols=corpus.vocabulary.symbols,
            total_steps=self._total_steps,
            lengthened_at=self._lengthened_at,
            seconds=time.monotonic() - self._started_s,
            versions=self._versions,
            state=state or self._loop.state(),
        )

    def _snapshot(self) -> TrainedModel:
        """Return the network as it is now, in the form that generates and measures."""
        network, corpus = network_of(self._loop.result), self._ready.corpus
        return TrainedModel(
            network, corpus.vocabulary, corpus.kind, self._config, {}, path=None
        )
