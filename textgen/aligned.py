"""Float32 arrays that begin at cache lines, and large ones at huge pages.

NumPy's own begin at multiples of 16 bytes, so that every other vector read of a
processor (or each, if its vectors are as long as a cache line) takes two lines. A
matrix that is multiplied with a single row is read from end to end for each symbol:
that is most of the time of a text that is made alone.
"""

from __future__ import annotations

import math

import numpy as np

CACHE_LINE_BYTES = 64
HUGE_PAGE_BYTES = 2 << 20  # of x86-64 and most ARM systems


def aligned_zeros(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Return float32 zeros, side by side in one piece of memory.

    From two megabytes on, it begins at a huge page. NumPy advises Linux to use such
    pages for arrays of more than four megabytes, but that goes for whole ones only.

    Args:
        *shapes: of the arrays, each of which begins at a cache line.
    """
    lines = [-(-4 * math.prod(shape) // CACHE_LINE_BYTES) for shape in shapes]
    total_bytes = CACHE_LINE_BYTES * sum(lines)
    alignment = HUGE_PAGE_BYTES if total_bytes >= HUGE_PAGE_BYTES else CACHE_LINE_BYTES
    memory = np.zeros(total_bytes + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    arrays = []
    for shape, count in zip(shapes, lines, strict=True):
        array = memory[start : start + 4 * math.prod(shape)].view(np.float32)
        arrays.append(array.reshape(shape))
        start += CACHE_LINE_BYTES * count
    return arrays
