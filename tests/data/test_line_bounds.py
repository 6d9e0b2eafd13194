"""Bounds of lines against loops in plain Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.data import windows as module
from textgen.data.windows import places_of, with_bounds_between


@pytest.mark.parametrize("block", [1, 3, 1 << 20])
def test_places_are_found_in_blocks_of_any_size(block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_IDS", block)
    ids = np.array([7, 0, 3, 0, 0, 7, 7, 0], np.uint8)
    assert places_of(7, ids).tolist() == [0, 5, 6]
    assert places_of(7, ids).dtype == np.uint32
    assert places_of(9, ids).tolist() == []


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=20),
    st.integers(1, 13),
    st.sampled_from([np.uint32, np.int64]),
)
def test_long_lines_are_cut_from_their_beginning_on(lengths, longest, dtype):
    bounds = np.cumsum([0, *lengths]).astype(dtype)
    expected = [0]
    for end in bounds[1:].tolist():
        while end - expected[-1] > longest:
            expected.append(expected[-1] + longest)
        expected.append(end)
    received = with_bounds_between(bounds, longest)
    assert received.tolist() == expected
    assert received.dtype == dtype
