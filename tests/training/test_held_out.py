"""What is measured of the held-out text at the end."""

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


@pytest.mark.parametrize(("whole", "most"), [(True, 10), (False, 200_000)])
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
    assert HeldOut(too_short[:0], whole=True).measure(model) is None
    enough = np.zeros(model.windows.seq_length + 1, np.uint8)
    assert HeldOut(enough, whole=True).measure(model) > 0


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("limit", "symbols"), [(0, 1), (100, 100), (5_000, 3_000)])
def test_a_limit_is_what_is_measured_and_told(model, asked, whole, limit, symbols):
    held_out = HeldOut(np.zeros(3_000, np.uint8), whole=whole)
    assert held_out.symbols == 3_000
    held_out.limit(limit)
    assert held_out.symbols == symbols
    held_out.measure(model)
    (total, most), told = asked[0], held_out.extent
    assert min(total, most) == symbols
    assert (f" {symbols:,} of its 3,000" in told) == (symbols < 3_000)
