"""Where arrays begin in memory."""

import numpy as np
import pytest

from textgen.aligned import (
    CACHE_LINE_BYTES,
    HUGE_PAGE_BYTES,
    aligned_copies,
    aligned_zeros,
)


@pytest.mark.parametrize("shape", [(1, 5), (3, 7), (64, 512), (600, 1024)])
def test_zeros_begin_at_a_cache_line(shape):
    arrays = [aligned_zeros(shape) for _ in range(5)]  # five places in memory
    for array in arrays:
        assert array.shape == shape
        assert array.dtype == np.float32
        assert not array.any()
        assert array.ctypes.data % CACHE_LINE_BYTES == 0
        array[:] = 1
    del array, arrays  # so that their memory, full of ones, is there to be used again
    assert not any(aligned_zeros(shape).any() for _ in range(5))


def test_copies_each_begin_at_a_cache_line_and_share_nothing():
    rng = np.random.default_rng(0)
    shapes = [(3, 5), (1, 16), (7,), (4, 33)]
    originals = [rng.normal(size=shape) for shape in shapes]
    originals[3] = np.asfortranarray(originals[3])
    copies = aligned_copies(originals)
    for copy in copies:
        assert copy.ctypes.data % CACHE_LINE_BYTES == 0
        assert copy.dtype == np.float32
        assert copy.flags.c_contiguous
    for number, copy in enumerate(copies):
        np.testing.assert_array_equal(copy, originals[number].astype(np.float32))
        copy[...] = number
    for number, copy in enumerate(copies):
        assert (copy == number).all()


def test_large_copies_begin_at_a_huge_page():
    row = np.zeros((1, HUGE_PAGE_BYTES // 8), np.float32)  # half a page
    for _ in range(3):
        first, second = aligned_copies([row, row])
        assert first.ctypes.data % HUGE_PAGE_BYTES == 0
        assert second.ctypes.data - first.ctypes.data == HUGE_PAGE_BYTES // 2
