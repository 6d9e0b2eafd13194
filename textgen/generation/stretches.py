"""Which stretches of one text stand in another, symbol for symbol.

Stretches of n symbols are compared by 64-bit hashes, all of a text in a few array
operations. The hash of a stretch x is the sum of r(x_i) b^i, with a random number r for
each symbol and an odd b, modulo 2^64; those of all stretches come from one running sum.

    >>> text = Stretches(np.array([1, 2, 3, 1, 2, 4]), vocabulary_size=5)
    >>> text.have(np.array([3, 1, 2, 2]), 3).tolist()
    [True, False]
"""

from __future__ import annotations

import functools

import numpy as np

BASE = 0x9E3779B97F4A7C15  # odd, so that its powers can be divided by
TABLE_BITS = 20  # of a hash, by which most stretches are told apart at once
BLOCK_SYMBOLS = 1 << 22  # of a text that are hashed together


class Stretches:
    """A text of any length in which stretches are looked up."""

    def __init__(self, ids: np.ndarray, vocabulary_size: int) -> None:
        """Take a text's ids (N,), each below ``vocabulary_size``."""
        self._ids = ids
        rng = np.random.default_rng(0)
        self._numbers = rng.integers(2**64, size=vocabulary_size, dtype=np.uint64)

    def have(self, ids: np.ndarray, size: int) -> np.ndarray:
        """Tell of each stretch of ``size`` ids (M,) whether the text has it, (K,) bool.

        There are K = M - ``size`` + 1, or none if M is smaller.
        """
        hashes = self._hashes(ids, size)
        is_likely = np.zeros(1 << TABLE_BITS, bool)
        is_likely[_places(hashes)] = True
        found = [np.empty(0, np.uint64)]
        for first in range(0, len(self._ids) if len(hashes) else 0, BLOCK_SYMBOLS):
            block = self._ids[first : first + BLOCK_SYMBOLS + size - 1]
            own = self._hashes(block, size)
            found.append(np.unique(own[is_likely[_places(own)]]))
        return np.isin(hashes, np.concatenate(found))

    def longest(self, ids: np.ndarray, below: int | None = None) -> tuple[int, int]:
        """Return where in ids (M,) the longest stretch begins that the text has.

        Its length comes second, 0 if there is none. Of equal ones it is the first. It
        is known to be ``below`` a length, if that is given.
        """
        first, length = 0, 0
        too_long = min(len(ids), len(self._ids)) + 1
        too_long = too_long if below is None else min(too_long, below)
        while too_long - length > 1:
            # What has a stretch has its parts, so lengths can be halved in on.
            size = min((length + too_long) // 2, 2 * length + 16)
            found = self.have(ids, size)
            if found.any():
                first, length = int(found.argmax()), size
            else:
                too_long = size
        return first, length

    def _hashes(self, ids: np.ndarray, size: int) -> np.ndarray:
        """Return the hashes of all stretches of ids (M,)."""
        count = max(len(ids) - size + 1, 0)
        if not count:
            return np.empty(0, np.uint64)
        powers, inverse = _powers(max(len(ids), BLOCK_SYMBOLS >> 6))
        sums = np.zeros(len(ids) + 1, np.uint64)
        np.cumsum(self._numbers[ids] * powers[: len(ids)], out=sums[1:])
        return (sums[size:] - sums[:count]) * inverse[:count]


@functools.lru_cache(maxsize=2)
def _powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first powers of the base and their inverses, (``count``,) each."""
    both = np.full((2, count), [[BASE], [pow(BASE, -1, 2**64)]], np.uint64)
    both[:, :1] = 1
    powers, inverse = np.multiply.accumulate(both, axis=1)
    return powers, inverse


def _places(hashes: np.ndarray) -> np.ndarray:
    return (hashes >> np.uint64(64 - TABLE_BITS)).astype(np.int64)
