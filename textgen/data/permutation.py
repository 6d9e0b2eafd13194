"""A shuffled order that takes no memory: place in the order → number, by arithmetic.

>>> keys = np.random.SeedSequence(0).generate_state(ROUNDS, np.uint64)
>>> sorted(permute(np.arange(10), 10, keys).tolist())
[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
"""

from __future__ import annotations

import math

import numpy as np

ROUNDS = 6  # four mix well already (Luby & Rackoff 1988), small domains want more


def permute(places: np.ndarray, count: int, keys: np.ndarray) -> np.ndarray:
    """Return where a keyed permutation of 0 … count - 1 takes places (R,), as int64.

    A generalised Feistel network over pairs of numbers below ceil(sqrt(count)), applied
    again to whatever falls outside the domain: Black & Rogaway, "Ciphers with Arbitrary
    Finite Domains", CT-RSA 2002, section 5. Its time and memory are O(R), for any count
    up to 2⁶². There is a round for each of the uint64 keys. The round function is no
    cipher: it is there to mix, not to hide anything.
    """
    side = np.uint64(math.isqrt(count - 1) + 1)
    values: np.ndarray = places.astype(np.uint64)
    outside = np.ones(len(values), dtype=bool)
    while outside.any():
        left: np.ndarray = values[outside] % side
        right: np.ndarray = values[outside] // side
        for key in keys:
            left, right = right, (left + _mix(right + key) % side) % side
        values[outside] = right * side + left
        outside = values >= count
    return values.astype(np.int64)


def _mix(values: np.ndarray) -> np.ndarray:
    """Scatter uint64 values: the finaliser of SplitMix64 (Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
