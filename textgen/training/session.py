"""How a training starts, or starts again: its network, its state and its length."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable

import tensorflow as tf

from textgen.config import Config
from textgen.errors import OptionError
from textgen.modeling.model import build_model, set_network
from textgen.saving.trained_model import TrainedModel
from textgen.training.checkpoint import (
    MOST_SHARE,
    Checkpoint,
    TrainingState,
    library_versions,
)
from textgen.training.loop import Training
from textgen.training.metadata import identity_of
from textgen.training.recipe import describe_length
from textgen.training.schedule import most_steps, total_steps
from textgen.training.setup import Preparation

SAVING_S = 1.0  # kept back from a budget in minutes for writing the file


def make_training(
    config: Config,
    preparation: Preparation,
    strategy: tf.distribute.Strategy | None,
    say: Callable[[str], None],
) -> Training:
    """Build the network to train, which predicts at every position, and its loop.

    Args:
        config: everything resolved.
        preparation: with the saved model or the checkpoint to go on from, if any.
        strategy: a `tf.distribute.Strategy`; None means the current one.
        say: called with each line worth telling.
    """
    with (strategy or tf.distribute.get_strategy()).scope():
        model = build_model(
            config.model,
            len(preparation.corpus.vocabulary),
            seed=config.training.seed,
        )
    if preparation.start is not None:
        set_network(model, preparation.start.network)
    training = Training(
        model,
        preparation.windows,
        config.training,
        precision=config.training.precision,
        strategy=strategy,
    )
    if preparation.checkpoint is not None:
        usual, before = training.parts, preparation.checkpoint.state.parts
        training.restore(preparation.checkpoint.state)
        if training.parts != before:
            say(
                f"batches aren't cut into as many parts as before, {before}, on a GPU: "
                "the training goes on, but not bit for bit as it would have"
            )
        elif before != usual:
            say(
                f"batches are cut into as many parts as before, {before}; for this "
                f"machine's cores it would be {usual}"
            )
    return training


def plan_steps(
    preparation: Preparation,
    done: int,
    step_s: float,
    snapshot: Callable[[], TrainedModel],
    started_s: float,
) -> int:
    """Return how many steps to take; for a budget, how many fit in what is left.

    Args:
        preparation: of the training.
        done: steps taken already.
        step_s: seconds of one, as measured.
        snapshot: returns the network as it is now.
        started_s: `time.monotonic` from where the budget is counted.

    Returns:
        Steps in all, those done among them.

    Raises:
        OptionError: the budget is over before the first step.
    """
    if preparation.total_steps is not None:
        return preparation.total_steps
    config, held_out = preparation.config.training, preparation.held_out
    steps_per_epoch = preparation.windows.steps_per_epoch
    before_s = time.monotonic()
    held_out.measure_briefly(snapshot())
    after_epoch_s = time.monotonic() - before_s
    at_the_end_s = held_out.cost_s(snapshot()) + SAVING_S
    left_s = config.minutes * 60 - (time.monotonic() - started_s) - at_the_end_s
    step_s = step_s * (1 + MOST_SHARE) + after_epoch_s / steps_per_epoch
    if left_s < step_s and not done:
        needed = config.minutes + (step_s - left_s) / 60
        needed = math.ceil(100 * needed) / 100
        raise OptionError(
            f"--minutes must leave time to train, here at least {needed:.2f} for "
            f"starting, measuring and one step, but was {config.minutes:g}"
        )
    return total_steps(config, steps_per_epoch, left_s, step_s, done)


def describe_start(
    config: Config, steps_per_epoch: int, done: int, steps: int, step_s: float
) -> str:
    """Say in one line what is ahead.

    Args:
        config: everything resolved.
        steps_per_epoch: steps that see each training window once.
        done: steps taken already.
        steps: planned in all.
        step_s: seconds of one, as measured.
    """
    if done:
        left_s = (steps - done) * step_s
        return f"going on at step {done:,} of {steps:,}, about {left_s:,.0f} s left"
    line = describe_length(config, steps, step_s)
    if config.training.minutes is not None and steps == most_steps(steps_per_epoch):
        epochs = steps // steps_per_epoch
        line = f"the text is short, {epochs} epochs are all that it is worth: {line}"
    return line


def checkpoint_maker(
    preparation: Preparation, config: Config, steps: int, started_s: float
) -> Callable[[TrainingState], Checkpoint]:
    """Return the function that adds to a state what it is a state of.

    Args:
        preparation: of the training.
        config: everything resolved.
        steps: planned in all.
        started_s: `time.monotonic` from where its seconds are counted.
    """
    resumed, text = preparation.checkpoint, preparation.corpus
    corpus, versions = identity_of(text), library_versions()
    run, lengthened_at = secrets.token_hex(8), ()
    if resumed is not None:
        run, lengthened_at = resumed.run, resumed.lengthened_at
        if steps != resumed.total_steps:
            lengthened_at += (resumed.state.step,)

    def checkpoint_of(state: TrainingState) -> Checkpoint:
        return Checkpoint(
            run=run,
            config=config,
            corpus=corpus,
            symbols=text.vocabulary.symbols,
            total_steps=steps,
            lengthened_at=lengthened_at,
            seconds=time.monotonic() - started_s,
            versions=versions,
            state=state,
        )

    return checkpoint_of
