"""What malloc does with freed memory."""

from __future__ import annotations

import ctypes

# Of glibc's malloc.h. The greatest threshold that it takes is 32 MiB.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_MMAP_THRESHOLD_BYTES = 32 << 20  # where pointers have 64 bits
KEPT_BYTES = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Let the process keep freed memory for its next arrays.

    A training step frees hundreds of megabytes, and needs as many in the next one:
    given back to the system, each page would be cleared and mapped again. Arrays of
    more than 32 MiB still are.

    Returns:
        Whether this C library could be told (glibc can).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    mapped = mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD_BYTES)
    trimmed = mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    return mapped == trimmed == 1
