import math

import numpy as np
import pytest

from textgen.config import TrainingConfig
from textgen.training.schedule import (
    averaging_factors,
    learning_rates,
    steps_in_time,
    total_steps,
)

AVERAGED = TrainingConfig(schedule="averaged")


def test_cosine_equals_the_formula_written_out():
    config = TrainingConfig(learning_rate=0.3, warmup_steps=10)
    for step, rate in enumerate(learning_rates(config, 59, 0, 59)):
        warmup = 5  # a tenth of the run, rounded down
        if step < warmup:
            expected = 0.3 * (step + 1) / warmup
        else:
            angle = math.pi * (step - warmup) / (58 - warmup)
            expected = 0.3 * (0.01 + 0.99 * (1 + math.cos(angle)) / 2)
        assert rate == pytest.approx(expected, rel=1e-5)


def test_rates_and_factors_depend_on_the_step_alone():
    rates = [learning_rates(TrainingConfig(), 500, x, 7) for x in range(0, 490, 7)]
    whole = learning_rates(TrainingConfig(), 500, 0, 490)
    np.testing.assert_array_equal(np.concatenate(rates), whole)
    factors = [averaging_factors(AVERAGED, x, 20) for x in range(0, 100, 20)]
    whole = averaging_factors(AVERAGED, 0, 100)
    np.testing.assert_array_equal(np.concatenate(factors), whole)


@pytest.mark.parametrize("kind", ["constant", "averaged"])
def test_a_rate_that_does_not_fall(kind):
    config = TrainingConfig(schedule=kind, warmup_steps=0, learning_rate=0.5)
    np.testing.assert_array_equal(learning_rates(config, 9, 0, 9), np.full(9, 0.5))


@pytest.mark.parametrize("total", [1, 2, 3])
def test_the_shortest_runs_have_finite_positive_rates(total):
    rates = learning_rates(TrainingConfig(), total, 0, total)
    assert np.isfinite(rates).all()
    assert (rates > 0).all()


def test_length_is_in_steps_or_epochs():
    assert total_steps(TrainingConfig(epochs=3), 7) == 21
    assert total_steps(TrainingConfig(steps=5), 7) == 5


@pytest.mark.parametrize(
    ("seconds", "done", "steps"),
    # No more than 420 steps are worth it.
    [(50.3, 0, 125), (999, 0, 420), (-3, 0, 1), (50, 100, 225), (999, 420, 420)],
)
def test_length_is_what_fits_into_the_time(seconds, done, steps):
    assert steps_in_time(seconds, 0.4, 7 * 60, done) == steps


def test_factors_weigh_each_step_by_its_twelfth_power():
    """Against the integral of t¹², of which each sampled step takes its interval."""
    factors = averaging_factors(AVERAGED, 0, 400)
    counted = np.zeros(400)
    for step, share in enumerate(factors):
        counted *= 1 - share
        counted[step] += share
    ends = np.array([*range(1, 65), *range(72, 401, 8)])
    assert (counted.nonzero()[0] + 1 == ends).all()
    begins = np.concatenate([[0], ends[:-1]])
    expected = (ends / 400) ** 13 - (begins / 400) ** 13
    np.testing.assert_allclose(counted[ends - 1], expected, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("kind", ["cosine", "constant"])
def test_other_schedules_average_nothing(kind):
    assert not averaging_factors(TrainingConfig(schedule=kind), 0, 50).any()
