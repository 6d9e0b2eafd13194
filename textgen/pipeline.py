"""`train`: from a corpus to one saved model file, step by step."""

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
from textgen.corpus import Corpus, load_corpus, named_corpora
from textgen.generation import generate_output
from textgen.held_out import HeldOut
from textgen.interrupt import on_interrupt
from textgen.model import build_model, set_network
from textgen.model_file import TrainedModel, load_model
from textgen.output import prepare_output, save_keeping_previous
from textgen.progress import ProgressDisplay
from textgen.recipe import choose_config, describe, describe_length
from textgen.record import metadata_of, saved_form, trained_model, training_record
from textgen.schedule import total_steps
from textgen.train_step import choose_precision, configure_threads
from textgen.training import Training
from textgen.vocabulary import END_SYMBOL
from textgen.windows import Windows, make_windows

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


def train(corpus: str | os.PathLike = DEFAULT_CORPUS, **options: Any) -> Path:
    """Train a model and save it; the library's form of ``train.py``.

    Args:
        corpus: a named corpus or the path of a UTF-8 text file.
        **options: as for `run_training`.

    Returns:
        The path of the saved ``.h5`` file.

    Raises:
        TextgenError: one line about what the caller can put right.
        KeyboardInterrupt: stopped by Ctrl-C, after saving what was learned.
    """
    report = run_training(corpus, **options)
    if report.interrupted:
        raise KeyboardInterrupt
    return report.path


def run_training(
    corpus: str | os.PathLike = DEFAULT_CORPUS,
    *,
    preset: str | None = None,
    kind: str | None = None,
    output: str | os.PathLike | None = None,
    init_from: str | os.PathLike | None = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    strategy: tf.distribute.Strategy | None = None,
    show: bool = False,
    say: Callable[[str], None] = lambda line: None,
    started_s: float | None = None,
    **overrides: Any,
) -> Report:
    """Train on a corpus and save the model.

    Args:
        corpus: a named corpus or the path of a UTF-8 text file.
        preset: name in `textgen.config.PRESETS`; None means the corpus' own.
        kind: ``lines`` or ``stream``; None means the guess.
        output: the file to write; None means ``models/NAME.h5``.
        init_from: a saved model to go on from.
        callbacks: Keras callbacks; see `textgen.training.Training.run`. The logs of
            an epoch hold ``loss`` and ``held_out_loss``, in nats per character.
        strategy: a `tf.distribute.Strategy`; None means the current one.
        show: show progress and samples of text on standard error.
        say: called with each line worth telling.
        started_s: `time.monotonic` when the process began, from where a budget in
            ``minutes`` is counted; None means now.
        **overrides: fields of `textgen.config.Config`, flat.

    Raises:
        TextgenError: one line about what the caller can put right.
        KeyboardInterrupt: stopped by Ctrl-C before anything was learned.
    """
    started_s = time.monotonic() if started_s is None else started_s
    start = None if init_from is None else load_model(init_from)
    text = _load(corpus, kind, start)
    config = choose_config(text, preset, start, overrides)
    path = prepare_output(output, text.name)
    windows, held_out = _cut(text, config)
    say(describe(text, config, windows))

    configure_threads()
    config = config.override(precision=choose_precision(config.training.precision))
    training = _make_training(config, text, windows, start, strategy)
    snapshot = functools.partial(trained_model, training.model, text, config)
    with on_interrupt(training.request_stop):
        step_s = training.calibrate()
        spent_s = time.monotonic() - started_s + held_out.cost_s(snapshot())
        steps = _plan(config, windows, step_s, spent_s)
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
    previous = save_keeping_previous(final, metadata_of(text, config, record), path)
    return Report(path, previous, outcome.steps, seconds, nats, interrupted)


def _load(
    corpus: str | os.PathLike, kind: str | None, start: TrainedModel | None
) -> Corpus:
    """Load the corpus, with ids and kind of the model to go on from."""
    if start is None:
        return load_corpus(corpus, kind)
    return load_corpus(corpus, kind or start.kind, start.vocabulary)


def _cut(text: Corpus, config: Config) -> tuple[Windows, HeldOut]:
    """Split the held-out part off and cut the rest into windows."""
    split = text.split(config.training.held_out, config.training.seed)
    end_id = None
    if text.kind == "lines":
        end_id = int(text.vocabulary.encode(END_SYMBOL)[0])
    windows = make_windows(
        split.training,
        text.kind,
        config.windows,
        config.training.batch_size,
        config.training.seed,
        end_id,
    )
    whole = text.name in named_corpora()
    return windows, HeldOut(split.held_out, len(split.training), whole=whole)


def _make_training(
    config: Config,
    text: Corpus,
    windows: Windows,
    start: TrainedModel | None,
    strategy: tf.distribute.Strategy | None,
) -> Training:
    """Build the network to train, which predicts at every position, and its loop."""
    with (strategy or tf.distribute.get_strategy()).scope():
        model = build_model(
            config.model, len(text.vocabulary), seed=config.training.seed
        )
    if start is not None:
        set_network(model, start.network)
    precision = config.training.precision
    return Training(
        model, windows, config.training, precision=precision, strategy=strategy
    )


def _plan(config: Config, windows: Windows, step_s: float, spent_s: float) -> int:
    """Return how many steps to take; for a budget, how many fit in what is left."""
    left_s = None
    if config.training.minutes is not None:
        left_s = config.training.minutes * 60 - spent_s - SAVING_S
    return total_steps(config.training, windows.steps_per_epoch, left_s, step_s)


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
