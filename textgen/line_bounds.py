"""Where the lines of a corpus begin and end, and how long ones are cut.

>>> ends = places_of(0, np.array([0, 5, 6, 7, 8, 9, 0, 5, 0], np.uint8))
>>> ends.tolist(), with_bounds_between(ends, 4).tolist()
([0, 6, 8], [0, 4, 6, 8])
"""

from __future__ import annotations

import numpy as np

BLOCK_IDS = 1 << 20  # looked at together


def places_of(wanted: int, ids: np.ndarray) -> np.ndarray:
    """Return where an id stands, in order, uint32 if that holds all places.

    Args:
        wanted: the id.
        ids: (N,) of any integer type.
    """
    blocks = range(0, len(ids), BLOCK_IDS)
    found = sum(np.count_nonzero(ids[b : b + BLOCK_IDS] == wanted) for b in blocks)
    places = np.empty(found, np.uint32 if len(ids) < 2**32 else np.int64)
    filled = 0
    for start in blocks:
        block = np.flatnonzero(ids[start : start + BLOCK_IDS] == wanted)
        places[filled : filled + len(block)] = block + start
        filled += len(block)
    return places


def with_bounds_between(bounds: np.ndarray, longest: int) -> np.ndarray:
    """Return bounds with as few more that each is near the one before.

    Args:
        bounds: (L + 1,) increasing places, of any integer type.
        longest: symbols from one bound to the next, at most.

    Returns:
        Of the same type; ``bounds`` itself if none is too far from the next.
    """
    lengths = np.diff(bounds)
    if lengths.max() <= longest:
        return bounds
    pieces = -(-lengths.astype(np.int64) // longest)
    firsts = np.cumsum(pieces) - pieces  # number of each line's first piece
    cut = np.empty(int(pieces.sum()) + 1, bounds.dtype)
    number = np.arange(len(cut) - 1) - np.repeat(firsts, pieces)  # within the line
    cut[:-1] = np.repeat(bounds[:-1], pieces) + (number * longest).astype(cut.dtype)
    cut[-1] = bounds[-1]
    return cut
