"""Which stretches of one text stand in another: against Python's own search."""

import numpy as np
import pytest

from textgen.generation import stretches
from textgen.generation.stretches import Stretches


def texts(seed: int) -> tuple[str, str, Stretches, np.ndarray]:
    """Return a text, a sample that shares stretches with it, and both as ids."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(3, size=rng.integers(1, 70)).astype(np.uint8)
    sample = rng.integers(3, size=rng.integers(1, 40)).astype(np.uint8)
    both = ("".join(map(str, each.tolist())) for each in (ids, sample))
    return *both, Stretches(ids, vocabulary_size=3), sample


@pytest.fixture(autouse=True, params=[5, 1 << 22])
def _blocks(request, monkeypatch):
    monkeypatch.setattr(stretches, "BLOCK_SYMBOLS", request.param)


@pytest.mark.parametrize("seed", range(20))
def test_stretches_are_found_where_python_finds_them(seed):
    text, sample, own, ids = texts(seed)
    for size in (1, 2, 3, 8, 40):
        parts = (sample[i : i + size] for i in range(len(sample) - size + 1))
        assert own.have(ids, size).tolist() == [part in text for part in parts]


@pytest.mark.parametrize("seed", range(20))
def test_the_longest_stretch_is_the_longest_that_python_finds(seed):
    text, sample, own, ids = texts(seed)
    for below in (None, 4):
        limit = min(len(sample), (below or len(sample) + 1) - 1)
        sizes = range(limit, 0, -1)
        found = next(
            ((i, n) for n in sizes for i in range(len(sample) - n + 1)
             if sample[i : i + n] in text), (0, 0))  # fmt: skip
        assert own.longest(ids, below) == found


def test_nothing_stands_in_nothing_and_a_text_in_itself():
    ids = np.arange(300, dtype=np.uint16)
    assert Stretches(ids[:0], 300).longest(ids) == (0, 0)
    assert Stretches(ids, 300).longest(ids[:0]) == (0, 0)
    assert Stretches(ids, 300).longest(ids) == (0, 300)
    assert Stretches(ids, 300).longest(ids[[7, *range(20, 60), 9]]) == (1, 40)
