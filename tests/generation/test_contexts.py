"""The simple model by which what lies ahead is reckoned: against slow counts."""

import numpy as np
import pytest
from fakes import whimsical_model

from textgen.generation import contexts
from textgen.generation.contexts import Contexts, _frequent


@pytest.fixture(autouse=True)
def _short_sample(monkeypatch):
    monkeypatch.setattr(contexts, "SAMPLE_SYMBOLS", 24)
    monkeypatch.setattr(contexts, "SAMPLE_ROWS", 20)


@pytest.fixture
def model():
    return whimsical_model("\nabc", kind="lines")


def names_of(model, most: int) -> list[tuple[int, ...]]:
    return _frequent(contexts._sample(model, 1.0)[1], most)


def test_each_line_of_the_sample_is_drawn_from_its_beginning(model):
    Contexts.measured(model, 1.0, most=50)
    (decoder,) = model.decoders
    assert {read[0] for read in decoder.read if read} == {0}
    assert all(0 not in read[1:] for read in decoder.read)


@pytest.mark.parametrize("most", [1, 6, 400])
def test_a_context_is_the_longest_known_end_of_a_text(model, most):
    found, kept = Contexts.measured(model, 1.0, most), names_of(model, most)
    assert len(kept) == len(found.after) <= most
    assert max(map(len, kept)) <= contexts.MAX_ORDER
    rng = np.random.default_rng(1)
    for _ in range(20):
        text = (0, *rng.integers(1, 4, size=12).tolist())
        context = 0
        for place, symbol in enumerate(text, 1):
            context = int(found.following[context, symbol])
            ends = [text[first:place] for first in range(place + 1)]
            assert kept[context] == next(end for end in ends if end in kept)


def test_probabilities_are_the_means_of_what_the_model_gave_there(model, monkeypatch):
    monkeypatch.setattr(contexts, "PRIOR", 1e-12)
    found, kept = Contexts.measured(model, 1.0, most=400), names_of(model, 400)
    given, seen = contexts._sample(model, 1.0)
    for number, context in enumerate(kept):
        length = len(context)
        rows = [row for row, end in enumerate(seen) if end[-length:] == context]
        rows = rows if length else list(range(len(seen)))
        np.testing.assert_allclose(found.after[number], given[rows].mean(axis=0))
    assert len(kept) > 20


def test_it_is_the_same_each_time(model):
    first, second = (Contexts.measured(model, 0.7, most=50) for _ in range(2))
    np.testing.assert_array_equal(first.after, second.after)
    np.testing.assert_array_equal(first.following, second.following)
