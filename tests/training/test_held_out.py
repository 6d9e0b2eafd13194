"""What is measured of the held-out text, when, and what it costs."""

import numpy as np
import pytest

from textgen.evaluation.nats import held_out_nats
from textgen.saving.model_file import load_model
from textgen.training import held_out as module
from textgen.training.held_out import RISE_WORTH_TELLING, HeldOut, shorter_is_better


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


def test_the_figures_are_those_of_evaluation(model):
    ids = random_ids(model, 3000)
    held_out = HeldOut(ids, 0, whole=True)
    assert held_out.measure(model) == held_out_nats(model, ids)
    assert held_out.measure(model, briefly=True) == held_out_nats(model, ids, 1000)


@pytest.mark.parametrize(
    ("whole", "training_symbols", "brief", "most"),
    [
        (True, 0, 1000, None),
        (True, 100_000, 1000, None),
        (False, 1_000_000, 2000, 200_000),
        (False, 10**9, 200_000, 200_000),
    ],
)
def test_after_an_epoch_a_small_part_is_measured_and_at_the_end_a_named_text_whole(
    model, asked, whole, training_symbols, brief, most
):
    held_out = HeldOut(np.zeros(10, np.uint8), training_symbols, whole=whole)
    held_out.measure(model, briefly=True)
    held_out.measure(model)
    assert asked == [(10, brief), (10, most)]


@pytest.mark.parametrize(
    ("length", "whole", "extent"),
    [
        (200_000, False, ""),
        (200_001, True, ""),
        (200_001, False, " (of 200,000 of its 200,001 characters)"),
    ],
)
def test_that_the_final_figure_is_of_a_part_is_told(length, whole, extent):
    assert HeldOut(np.zeros(length, np.uint8), 0, whole=whole).extent == extent


def test_too_little_to_measure_is_no_figure_rather_than_nan(window_model):
    model = load_model(window_model)
    too_short = np.zeros(model.windows.seq_length, np.uint8)
    held_out = HeldOut(too_short, 100, whole=True)
    assert held_out.measure(model) is None
    assert held_out.measure(model, briefly=True) is None
    assert np.isfinite(held_out.cost_s(model))
    assert HeldOut(too_short[:0], 100, whole=True).measure(model) is None
    enough = np.zeros(model.windows.seq_length + 1, np.uint8)
    assert HeldOut(enough, 100, whole=True).measure(model) > 0


def test_the_cost_grows_with_what_will_be_measured(model, asked, monkeypatch):
    """A clock on which a symbol takes a microsecond, measured in either form."""
    monkeypatch.setattr(
        module.time,
        "perf_counter",
        lambda: sum(most or length for length, most in asked) / 1e6,
    )
    ids = np.zeros(1_000_000, np.uint8)
    window = model.windows.seq_length
    whole = HeldOut(ids, 0, whole=True)
    assert whole.cost_s(model) == pytest.approx(1.0, rel=1e-3)
    assert asked[0] == (500 + window, None)
    assert asked[-1] == (256_000 + window, None)  # the first to take 0.2 s
    asked.clear()
    assert HeldOut(ids, 0, whole=False).cost_s(model) == pytest.approx(0.2)
    # Fewer symbols would be read in fewer segments, each of them as slowly.
    assert asked[0] == (1_000_000, 64 * 256)
    assert asked[-1] == (1_000_000, 200_000)  # all that will be
    asked.clear()
    # What will be read as one stream is timed as one.
    assert HeldOut(ids[:150_000], 0, whole=False).cost_s(model) > 0
    assert asked[0] == (500 + window, None)
    assert HeldOut(ids[:0], 0, whole=True).cost_s(model) == 0


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        (
            [2.0, 1.5, 1.6, 1.7],
            "at about epoch 2, 1.500, and at the end less well, 1.700",
        ),
        ([1.5, 1.8, 1.6], "1.500, and at the end less well, 1.600"),
        ([1.5, 1.501 * RISE_WORTH_TELLING], "less well"),
        ([1.5, 1.499 * RISE_WORTH_TELLING], None),
        ([2.0, 1.5], None),
        ([2.0], None),
        ([], None),
    ],
)
def test_a_figure_that_rose_is_told_with_the_epoch_before_it_did(figures, told):
    lines = shorter_is_better(figures, "validation")
    assert told in lines[0] if told else lines == []
    assert all(line.startswith("the validation part was ") for line in lines)
