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

from textgen.batch_generation import generate_many
from textgen.config import DEFAULT_CORPUS, Config
from textgen.generation import generate_output
from textgen.held_out import HeldOut
from textgen.interrupt import on_interrupt
from textgen.model import build_model, set_network
from textgen.output import save_keeping_previous
from textgen.preparation import Preparation, prepare
from textgen.progress import ProgressDisplay
from textgen.recipe import describe, describe_length
from textgen.record import metadata_of, saved_form, trained_model, training_record
from textgen.schedule import total_steps
from textgen.train_step import choose_precision, configure_threads
from textgen.trained_model import TrainedModel
from textgen.training import Training
from textgen.windows import Windows

SAVING_S = 1.0  # kept back from a budget in minutes for writing the file
SAMPLE_CHARS = 160
SAMPLE_NAMES = 5


@dataclass(frozen=True)
class Report:
    """What a training did.

    Attributes:
        path: the saved model.
        previous: where the earlier model of that name is now, or None.
        steps: optimizer steps taken.
        seconds: wall-clock time of the whole training.
        held_out_nats: mean nats per character of the held-out text, or None if none
            was held out or the training was interrupted.
        interrupted: it was stopped before its end.
    """

    path: Path
    previous: Path | None
    steps: int
    seconds: float
    held_out_nats: float | None
    interrupted: bool


def train(
    corpus: str | os.PathLike = DEFAULT_CORPUS,
    *,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    strategy: tf.distribute.Strategy | None = None,
    show: bool = False,
    **options: Any,
) -> Path:
    """Train a model and save it; the library's form of ``train.py``.

    Args:
        corpus: a named corpus or the path of a UTF-8 text file.
        callbacks: Keras callbacks; see `run_training`.
        strategy: a `tf.distribute.Strategy`; None means the current one.
        show: show progress and samples of text on standard error.
        **options: as for `textgen.preparation.prepare`: ``preset``, ``kind``,
            ``output``, ``init_from``, and any field of `textgen.config.Config`.

    Returns:
        The path of the saved ``.h5`` file.

    Raises:
        TextgenError: one line about what the caller can put right.
        KeyboardInterrupt: stopped by Ctrl-C, after saving what was learned.
    """
    started_s = time.monotonic()
    report = run_training(
        prepare(corpus, **options),
        callbacks=callbacks,
        strategy=strategy,
        show=show,
        started_s=started_s,
    )
    if report.interrupted:
        raise KeyboardInterrupt
    return report.path


def run_training(
    preparation: Preparation,
    *,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    strategy: tf.distribute.Strategy | None = None,
    show: bool = False,
    say: Callable[[str], None] = lambda line: None,
    started_s: float | None = None,
) -> Report:
    """Run a prepared training and save its model.

    Args:
        preparation: of `textgen.preparation.prepare`.
        callbacks: Keras callbacks; see `textgen.training.Training.run`. The logs of
            an epoch hold ``loss`` and ``held_out_loss``, in nats per character.
        strategy: a `tf.distribute.Strategy`; None means the current one.
        show: show progress and samples of text on standard error.
        say: called with each line worth telling.
        started_s: `time.monotonic` when the process began, from where a budget in
            ``minutes`` is counted; None means now.

    Raises:
        TextgenError: one line about what the caller can put right.
        KeyboardInterrupt: stopped by Ctrl-C before anything was learned.
    """
    started_s = time.monotonic() if started_s is None else started_s
    text, held_out = preparation.corpus, preparation.held_out
    config, windows = preparation.config, preparation.windows
    say(describe(text, config, windows))
    configure_threads()
    config = config.override(precision=choose_precision(config.training.precision))
    training = _make_training(config, preparation, strategy)
    snapshot = functools.partial(trained_model, training.model, text, config)
    with on_interrupt(training.request_stop):
        step_s = training.calibrate()
        steps = _plan(preparation, step_s, snapshot(), started_s)
        say(describe_length(config.training, steps, step_s))
        display = [_display(steps, windows, snapshot)] if show else []
        outcome = training.run(
            steps,
            measure=lambda: held_out.measure_briefly(snapshot()),
            callbacks=[*callbacks, *display],
        )
    if not outcome.steps:
        raise KeyboardInterrupt
    interrupted, nats = _measure_at_the_end(outcome.interrupted, held_out, snapshot)
    seconds = time.monotonic() - started_s
    record = training_record(
        config,
        steps=outcome.steps,
        seconds=seconds,
        held_out_nats=nats,
        interrupted=interrupted,
        parts=training.parts,
    )
    final = saved_form(training.model, text, config)
    metadata = metadata_of(text, config, record)
    previous = save_keeping_previous(final, metadata, preparation.path)
    return Report(preparation.path, previous, outcome.steps, seconds, nats, interrupted)


def _make_training(
    config: Config,
    preparation: Preparation,
    strategy: tf.distribute.Strategy | None,
) -> Training:
    """Build the network to train, which predicts at every position, and its loop."""
    with (strategy or tf.distribute.get_strategy()).scope():
        model = build_model(
            config.model,
            len(preparation.corpus.vocabulary),
            seed=config.training.seed,
        )
    if preparation.start is not None:
        set_network(model, preparation.start.network)
    return Training(
        model,
        preparation.windows,
        config.training,
        precision=config.training.precision,
        strategy=strategy,
    )


def _plan(
    preparation: Preparation, step_s: float, model: TrainedModel, started_s: float
) -> int:
    """Return how many steps to take; for a budget, how many fit in what is left."""
    config, held_out = preparation.config.training, preparation.held_out
    steps_per_epoch = preparation.windows.steps_per_epoch
    if config.minutes is None:
        return total_steps(config, steps_per_epoch)
    before_s = time.monotonic()
    held_out.measure_briefly(model)
    after_epoch_s = time.monotonic() - before_s
    at_the_end_s = held_out.cost_s(model) + SAVING_S
    left_s = config.minutes * 60 - (time.monotonic() - started_s) - at_the_end_s
    step_s += after_epoch_s / steps_per_epoch
    return total_steps(config, steps_per_epoch, left_s, step_s)


def _display(
    steps: int, windows: Windows, snapshot: Callable[[], TrainedModel]
) -> ProgressDisplay:
    chars_per_step = float(windows.batch(0, 0).weights.sum())
    return ProgressDisplay(
        steps, windows.steps_per_epoch, chars_per_step, lambda: _sample(snapshot())
    )


def _sample(model: TrainedModel) -> str:
    """Return a short text by a model, for people to see how it gets on."""
    if model.kind == "lines":
        seeds = range(SAMPLE_NAMES)
        names = generate_many(model, [""] * SAMPLE_NAMES, seeds=seeds)
        return ", ".join(name.text for name in names)
    return generate_output(model, "", length=SAMPLE_CHARS, seed=0)


def _measure_at_the_end(
    interrupted: bool, held_out: HeldOut, snapshot: Callable[[], TrainedModel]
) -> tuple[bool, float | None]:
    """Measure, unless interrupted before or while measuring."""
    if interrupted:
        return True, None
    try:
        return False, held_out.measure(snapshot())
    except KeyboardInterrupt:
        return True, None
