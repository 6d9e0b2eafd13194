"""A batch of windows, as a training step takes it: padded to one of few lengths.

>>> batch = WindowBatch(*np.ones((3, 2, 5), np.int32))
>>> [x.shape for x in pad(batch, 7)]
[(2, 7), (2, 7), (2, 7)]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class WindowBatch(NamedTuple):
    """B windows; T is the length of the longest among them.

    Attributes:
        inputs: (B, T) int32 ids.
        targets: (B, T) int32 ids, each the symbol after its input.
        weights: (B, T) float32, 1 where the target counts and 0 elsewhere.
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


def padded_length(length: int, longest: int) -> int:
    """Return the shortest of ``longest``, its half, its quarter … to hold ``length``.

    >>> padded_length(14, 27), padded_length(15, 27)
    (14, 27)
    """
    while length <= (half := -(-longest // 2)) < longest:
        longest = half
    return longest


def pad(batch: WindowBatch, length: int) -> WindowBatch:
    """Pad a batch to (B, length), with weight 0 on what is added."""
    missing = length - batch.inputs.shape[1]
    if not missing:  # most often; `np.pad` would take a hundredth of a small step
        return batch
    more = ((0, 0), (0, missing))
    return WindowBatch(*(np.pad(x, more) for x in batch))


def stack(batches: Sequence[WindowBatch]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stack K batches of one shape into (K, B, T) inputs, targets and weights."""
    return tuple(np.stack(arrays) for arrays in zip(*batches, strict=True))
