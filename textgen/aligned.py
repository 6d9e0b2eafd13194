"""Float32 arrays that begin at cache lines, and large ones at huge pages.

NumPy's own begin at multiples of 16 bytes, so that every other vector read of a
processor (or each, if its vectors are as long as a cache line) takes two lines. A
matrix that is multiplied with a single row is read from end to end for each symbol:
that is most of the time of a text that is made alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

CACHE_LINE_BYTES = 64
HUGE_PAGE_BYTES = 2 << 20  # of x86-64 and most ARM systems


def aligned_zeros(shape: tuple[int, ...]) -> np.ndarray:
    """Return float32 zeros of this shape."""
    (array,) = _side_by_side([shape])
    array[...] = 0
    return array


def aligned_copies(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return float32 copies, C-contiguous, side by side in one piece of memory.

    From two megabytes on, it begins at a huge page; NumPy advises Linux to use such
    pages for arrays of more than four megabytes, but can only for whole ones.
    """
    copies = _side_by_side([array.shape for array in arrays])
    for copy, array in zip(copies, arrays, strict=True):
        copy[...] = array
    return copies


def _side_by_side(shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    sizes_bytes = [4 * math.prod(shape) for shape in shapes]
    places_bytes = [
        -(-size // CACHE_LINE_BYTES) * CACHE_LINE_BYTES for size in sizes_bytes
    ]
    total_bytes = sum(places_bytes)
    alignment = HUGE_PAGE_BYTES if total_bytes >= HUGE_PAGE_BYTES else CACHE_LINE_BYTES
    memory = np.empty(total_bytes + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    arrays = []
    for shape, size, place in zip(shapes, sizes_bytes, places_bytes, strict=True):
        arrays.append(memory[start : start + size].view(np.float32).reshape(shape))
        start += place
    return arrays
