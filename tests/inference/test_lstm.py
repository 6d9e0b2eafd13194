"""Where the arrays of the fast layers begin in memory."""

import numpy as np
import pytest

from textgen.inference.lstm import CACHE_LINE_BYTES, HUGE_PAGE_BYTES, aligned_zeros


@pytest.mark.parametrize("shape", [(1, 5), (3, 7), (64, 512), (600, 1024)])
def test_an_array_begins_at_a_cache_line_and_is_zero(shape):
    arrays = [aligned_zeros(shape)[0] for _ in range(5)]  # five places in memory
    for array in arrays:
        assert (array.shape, array.dtype) == (shape, np.float32)
        assert array.flags.c_contiguous
        assert not array.any()
        assert array.ctypes.data % CACHE_LINE_BYTES == 0
        array[:] = 1
    del array, arrays  # so that their memory, full of ones, is there to be used again
    assert not any(aligned_zeros(shape)[0].any() for _ in range(5))


def test_each_of_several_does_and_they_share_nothing():
    arrays = aligned_zeros((3, 5), (1, 16), (7,), (4, 33))
    assert [array.shape for array in arrays] == [(3, 5), (1, 16), (7,), (4, 33)]
    for number, array in enumerate(arrays):
        assert array.ctypes.data % CACHE_LINE_BYTES == 0
        array[...] = number
    assert [{*array.flat} for array in arrays] == [{0}, {1}, {2}, {3}]


def test_large_ones_begin_at_a_huge_page():
    half = (1, HUGE_PAGE_BYTES // 8)
    for _ in range(3):
        first, second = aligned_zeros(half, half)
        assert first.ctypes.data % HUGE_PAGE_BYTES == 0
        assert second.ctypes.data - first.ctypes.data == HUGE_PAGE_BYTES // 2
