"""The learning rate of every step, and how many steps a training takes."""

from __future__ import annotations

import numpy as np

from textgen.config import TrainingConfig

BUDGET_EPOCHS = 60  # with more, a text is only learned by heart
FINAL_FRACTION = 0.01  # of the peak rate, at the last step of a cosine schedule
# What averaging the weights gains hardly depends on the power (docs/experiments.md).
AVERAGING_POWER = 12
# Weights of neighbouring steps differ too little to be worth a pass over all of them.
AVERAGE_EVERY_STEPS = 8
EACH_STEP_UNTIL = 64


def learning_rates(
    config: TrainingConfig, total_steps: int, first_step: int, count: int
) -> np.ndarray:
    """Return the rates of ``count`` steps, a function of the step number only.

    A linear warm-up, never longer than a tenth of the run, then half a cosine from
    the peak to a hundredth of it (Loshchilov & Hutter 2017), or the peak throughout.
    Steps count from 0; the rates are (count,) float32.
    """
    step = np.arange(first_step, first_step + count)
    warmup = min(config.warmup_steps, total_steps // 10)
    rising = np.minimum(1.0, (step + 1) / max(1, warmup))
    if config.schedule != "cosine":
        return (config.learning_rate * rising).astype(np.float32)
    done = np.clip((step - warmup) / max(1, total_steps - 1 - warmup), 0, 1)
    falling = FINAL_FRACTION + (1 - FINAL_FRACTION) * 0.5 * (1 + np.cos(np.pi * done))
    return (config.learning_rate * np.minimum(rising, falling)).astype(np.float32)


def averaging_factors(
    config: TrainingConfig, first_step: int, count: int
) -> np.ndarray:
    """Return how far the average of the weights moves to them after each step.

    The weights after step t count in proportion to t¹², so that the last sixth of the
    steps is nine tenths of what counts, however many there are (polynomial-decay
    averaging, Shamir & Zhang 2013). After step 64 the average is updated every 8th
    step, when the weights count for all eight; the up to seven steps after the last
    update are in no average. Unless the schedule is ``averaged`` all factors are 0.

    Returns:
        (count,) float32: average += factor · (weights − average).
    """
    taken = np.arange(first_step + 1, first_step + count + 1)
    if config.schedule != "averaged":
        return np.zeros(count, np.float32)
    interval = np.where(taken <= EACH_STEP_UNTIL, 1, AVERAGE_EVERY_STEPS)
    factors = 1 - (1 - interval / taken) ** (AVERAGING_POWER + 1)
    return np.where(taken % interval == 0, factors, 0).astype(np.float32)


def total_steps(config: TrainingConfig, steps_per_epoch: int) -> int:
    """Return the length of a training that is given in steps or epochs."""
    if config.steps is not None:
        return config.steps
    assert config.epochs is not None, "minutes are planned by `steps_in_time`"
    return config.epochs * steps_per_epoch


def steps_in_time(
    seconds_left: float, seconds_per_step: float, most_steps: int, done: int = 0
) -> int:
    """Return the length of a training that is given in minutes.

    The seconds are what is left for steps alone. They are a limit: it ends sooner when
    the text has been seen so often that more would only learn it by heart. The steps
    that are done already are part of the length.
    """
    fitting = max(1, int(seconds_left / seconds_per_step))
    return min(done + fitting, most_steps)


def shown_steps(count: int) -> str:
    """Return a number of steps in words.

    >>> shown_steps(1), shown_steps(2000)
    ('1 step', '2,000 steps')
    """
    return f"{count:,} {'step' if count == 1 else 'steps'}"
