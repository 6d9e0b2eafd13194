"""`train`: from a prepared corpus to one saved model file, step by step."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from textgen.config import DEFAULT_CORPUS
from textgen.data.corpus import Corpus
from textgen.errors import OutputError, TrainingError
from textgen.saving.trained_model import TrainedModel
from textgen.system.signals import on_interrupt, raised_on_interrupt
from textgen.system.terminal import say as say_on_stderr
from textgen.training.checkpoint import (
    Autosave,
    Checkpoint,
    TrainingState,
    write_checkpoint,
)
from textgen.training.held_out import HeldOut, Lowest
from textgen.training.loop import Training
from textgen.training.metadata import (
    metadata_of,
    saved_form,
    trained_model,
    training_record,
)
from textgen.training.output import save_keeping_previous
from textgen.training.progress import make_display
from textgen.training.recipe import describe
from textgen.training.session import (
    checkpoint_maker,
    describe_start,
    make_training,
    plan_steps,
)
from textgen.training.setup import Preparation, prepare
from textgen.training.step import choose_precision, configure_process


@dataclass(frozen=True)
class Report:
    """What a training did.

    Attributes:
        path: the saved model.
        previous: where the earlier model of that name is now, or None.
        steps: optimizer steps taken, over all resumes.
        seconds: wall-clock time of the whole training, over all resumes.
        held_out_nats: mean nats per character of the held-out text, or None if none
            was held out or the training was interrupted.
        interruption: what to raise when it was stopped before its end, or None.
    """

    path: Path
    previous: Path | None
    steps: int
    seconds: float
    held_out_nats: float | None
    interruption: type[KeyboardInterrupt] | None

    @property
    def interrupted(self) -> bool:
        """Whether it was stopped before its end."""
        return self.interruption is not None


def _say_nothing(line: str) -> None:
    pass


def train(
    corpus: str | os.PathLike = DEFAULT_CORPUS,
    *,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    strategy: tf.distribute.Strategy | None = None,
    show: bool = False,
    **options: Any,
) -> Path:
    """Train a model and save it; the library's form of ``train.py``.

    For speed it settles two things for the whole process: TensorFlow's operations
    take one thread each, and as many run as there are cores (unless TensorFlow has
    run already); and freed memory is kept for later arrays.

    Args:
        corpus: a named corpus or the path of a UTF-8 text file.
        callbacks: Keras callbacks; see `run_training`.
        strategy: a `tf.distribute.Strategy`; None means the current one.
        show: show progress, samples of text and whatever there is to be told on
            standard error.
        **options: as for `textgen.training.setup.prepare`: ``preset``, ``kind``,
            ``output``, ``init_from``, ``resume``, and any field of
            `textgen.config.Config`.

    Returns:
        The path of the saved ``.h5`` file.

    Raises:
        TextgenError: one line about what the caller can put right.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM, after saving what was
            learned.
    """
    started_s = time.monotonic()
    preparation = prepare(corpus, **options)
    say = say_on_stderr if show else _say_nothing
    for note in preparation.notes:
        say(note)
    if preparation.finished:
        return preparation.path
    report = run_training(
        preparation,
        callbacks=callbacks,
        strategy=strategy,
        show=show,
        say=say,
        started_s=started_s,
    )
    if report.interruption is not None:
        raise report.interruption
    return report.path


def run_training(
    preparation: Preparation,
    *,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    strategy: tf.distribute.Strategy | None = None,
    show: bool = False,
    say: Callable[[str], None] = _say_nothing,
    started_s: float | None = None,
) -> Report:
    """Run a prepared training and save its model.

    Args:
        preparation: of `textgen.training.setup.prepare`.
        callbacks: Keras callbacks; see `textgen.training.loop.Training.run`. The logs
        of
            an epoch hold ``loss`` and ``val_loss``, in nats per character.
        strategy: a `tf.distribute.Strategy`; None means the current one.
        show: show progress and samples of text on standard error.
        say: called with each line worth telling.
        started_s: `time.monotonic` when the process began, from where a budget in
            ``minutes`` is counted; None means now.

    Raises:
        TextgenError: one line about what the caller can put right.
        KeyboardInterrupt: stopped by Ctrl-C, or by
            SIGTERM, before anything was learned.
    """
    started_s = time.monotonic() if started_s is None else started_s
    if preparation.checkpoint is not None:
        started_s -= preparation.checkpoint.seconds
    with preparation.lock, raised_on_interrupt():
        return _run(preparation, callbacks, strategy, show, say, started_s)


def _run(
    preparation: Preparation,
    callbacks: Iterable[keras.callbacks.Callback],
    strategy: tf.distribute.Strategy | None,
    show: bool,
    say: Callable[[str], None],
    started_s: float,
) -> Report:
    """Do the work of `run_training`, the output locked."""
    text, held_out = preparation.corpus, preparation.held_out
    windows, path = preparation.windows, preparation.path
    say(describe(text, preparation.config, windows))
    say("compiling the training step …")
    configure_process()
    precision = choose_precision(preparation.config.training.precision)
    config = preparation.config.override(precision=precision)
    training = make_training(config, preparation, strategy, say)
    snapshot = functools.partial(trained_model, training.result, text, config)
    step_s = training.calibrate()
    steps = plan_steps(preparation, training.step, step_s, snapshot, started_s)
    per_epoch = windows.steps_per_epoch
    say(describe_start(config, per_epoch, training.step, steps, step_s))
    checkpoint_of = checkpoint_maker(preparation, config, steps, started_s)
    saves = Autosave(
        training.state, lambda state: write_checkpoint(checkpoint_of(state), path), say
    )
    lowest = Lowest(per_epoch)
    save = functools.partial(_save_model, training, text, path)
    display = [make_display(training.step, steps, windows, snapshot)] if show else []
    try:
        with on_interrupt(training.request_stop) as received:
            saves.begin()
            training.run(
                steps,
                measure=lambda: lowest.note(
                    training.step, held_out.measure_briefly(snapshot())
                ),
                callbacks=[*callbacks, *display],
                after_call=saves.look,
            )
            saves.end()
    except TrainingError as error:
        raise _save_last_good(
            error, saves.last_good, training, save, checkpoint_of, path
        ) from error
    interruption, nats = received[0] if received else None, None
    if not training.step:
        raise interruption or TrainingError(
            "expected to train, but a callback stopped it before the first step; "
            "nothing was saved"
        )
    if interruption is None:
        # Of a resumed training, what went before isn't known.
        if preparation.checkpoint is None and (advice := lowest.advice()) is not None:
            say(advice)
        interruption, nats = _measure_at_the_end(held_out, snapshot())
    else:
        say("stopped; saving what was learned, which one more Ctrl-C would give up")
    final = checkpoint_of(training.state())
    previous = save(final, held_out_nats=nats, interrupted=interruption is not None)
    if saves.failure is not None:
        raise OutputError(f"{str(path)!r} is saved, but no checkpoint: {saves.failure}")
    return Report(path, previous, training.step, final.seconds, nats, interruption)


def _save_model(
    training: Training,
    text: Corpus,
    path: Path,
    checkpoint: Checkpoint,
    **outcome: Any,
) -> Path | None:
    """Save the network as it is now, which is that of the checkpoint."""
    config = checkpoint.config
    metadata = metadata_of(text, config, training_record(checkpoint, **outcome))
    final = saved_form(training.result, text, config)
    return save_keeping_previous(final, metadata, path)


def _measure_at_the_end(
    held_out: HeldOut, model: TrainedModel
) -> tuple[type[KeyboardInterrupt] | None, float | None]:
    """Measure; return what interrupted it, or the figure."""
    try:
        return None, held_out.measure(model)
    except KeyboardInterrupt as interrupt:
        return type(interrupt), None


def _save_last_good(
    error: TrainingError,
    good: TrainingState | None,
    training: Training,
    save: Callable[..., Path | None],
    checkpoint_of: Callable[[TrainingState], Checkpoint],
    path: Path,
) -> TrainingError:
    """Save the model as it was before it went wrong; return what to raise."""
    lower = float(f"{training.config.learning_rate / 3:.1g}")
    advice = f"--learning-rate {lower:g}"
    if good is None or not good.step:
        return TrainingError(
            f"{error}; nothing was saved: try {advice} or --precision float32"
        )
    training.restore(good)
    save(checkpoint_of(good), held_out_nats=None, diverged=str(error))
    return TrainingError(
        f"{error}; {str(path)!r} is the model of step {good.step:,}, when all was "
        f"well: go on from it with --init-from and a lower rate, or anew with {advice}"
    )
