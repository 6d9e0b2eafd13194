"""What is measured of the held-out text at the end, and what it costs."""

import numpy as np
import pytest

from textgen.evaluation.nats import held_out_nats
from textgen.saving.model_file import load_model
from textgen.training import held_out as module
from textgen.training.held_out import HeldOut


@pytest.fixture(scope="module")
def model(prose_model):
    return load_model(prose_model)


def random_ids(model, count):
    return np.random.default_rng(0).integers(0, len(model.vocabulary), count)


@pytest.fixture
def asked(monkeypatch):
    """Note what `held_out_nats` is asked to measure, without doing it."""
    seen = []

    def note(model, ids, max_symbols=None):
        seen.append((len(ids), max_symbols))
        return 1.0

    monkeypatch.setattr(module, "held_out_nats", note)
    return seen


def test_the_figure_is_that_of_evaluation(model):
    ids = random_ids(model, 3000)
    assert HeldOut(ids, whole=True).measure(model) == held_out_nats(model, ids)


@pytest.mark.parametrize(("whole", "most"), [(True, None), (False, 200_000)])
def test_a_named_text_is_measured_whole(model, asked, whole, most):
    HeldOut(np.zeros(10, np.uint8), whole=whole).measure(model)
    assert asked == [(10, most)]


@pytest.mark.parametrize(
    ("length", "whole", "extent"),
    [
        (200_000, False, ""),
        (200_001, True, ""),
        (200_001, False, " (of 200,000 of its 200,001 characters)"),
    ],
)
def test_that_the_final_figure_is_of_a_part_is_told(length, whole, extent):
    assert HeldOut(np.zeros(length, np.uint8), whole=whole).extent == extent


def test_too_little_to_measure_is_no_figure_rather_than_nan(window_model):
    model = load_model(window_model)
    too_short = np.zeros(model.windows.seq_length, np.uint8)
    held_out = HeldOut(too_short, whole=True)
    assert held_out.measure(model) is None
    assert np.isfinite(held_out.cost_s(model))
    assert HeldOut(too_short[:0], whole=True).measure(model) is None
    enough = np.zeros(model.windows.seq_length + 1, np.uint8)
    assert HeldOut(enough, whole=True).measure(model) > 0


def test_the_cost_grows_with_what_will_be_measured(model, asked, monkeypatch):
    """A clock on which a symbol takes a microsecond, measured in either form."""
    monkeypatch.setattr(
        module.time,
        "perf_counter",
        lambda: sum(most or length for length, most in asked) / 1e6,
    )
    ids = np.zeros(1_000_000, np.uint8)
    window = model.windows.seq_length
    whole = HeldOut(ids, whole=True)
    assert whole.cost_s(model) == pytest.approx(1.0, rel=1e-3)
    assert asked[0] == (500 + window, None)
    assert asked[-1] == (256_000 + window, None)  # the first to take 0.2 s
    asked.clear()
    assert HeldOut(ids, whole=False).cost_s(model) == pytest.approx(0.2)
    # Fewer symbols would be read in fewer segments, each of them as slowly.
    assert asked[0] == (1_000_000, 64 * 256)
    assert asked[-1] == (1_000_000, 200_000)  # all that will be
    asked.clear()
    # What will be read as one stream is timed as one.
    assert HeldOut(ids[:150_000], whole=False).cost_s(model) > 0
    assert asked[0] == (500 + window, None)
    assert HeldOut(ids[:0], whole=True).cost_s(model) == 0
