"""What every stack of recurrent layers has: a state of many rows, and an input table.

A row is one text, or one window of a text. `textgen.inference.lstm` is the fast form
for
the networks that we train, `textgen.inference.generic` the general one for all others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

State = tuple[np.ndarray, ...]

# Of an input table: a quarter of a GiB, about a second. Above, a row is made when it is
# asked for.
MAX_TABLE_FLOATS = 1 << 26
MAX_TABLE_PRODUCTS = 1 << 35


class Recurrence(ABC):
    """The states of stacked recurrent layers for a number of independent rows.

    Attributes:
        top: (rows, U) float32, the last layer's output; overwritten by each step.
    """

    top: np.ndarray

    @abstractmethod
    def advance(self, ids: np.ndarray | int) -> None:
        """Take every row one symbol further and leave the last output in `top`.

        Args:
            ids: (rows,) ids, or one for all rows.
        """

    @abstractmethod
    def parts(self) -> State:
        """Return the arrays that hold the state, rows first; no copies."""

    def clear(self, rows: np.ndarray | slice) -> None:
        """Set the states of some rows to zero."""
        for part in self.parts():
            part[rows] = 0

    def copy_state(self) -> State:
        """Return a copy of everything that `advance` carries on."""
        return tuple(part.copy() for part in self.parts())

    def restore(self, state: State) -> None:
        """Go on from what `copy_state` gave.

        Raises:
            ValueError: if its arrays have other shapes.
        """
        for mine, theirs in zip(self.parts(), state, strict=True):
            if mine.shape != theirs.shape:
                raise ValueError(f"expected {mine.shape}, but received {theirs.shape}")
            mine[:] = theirs


class _RowsOnDemand:
    """Stands for an input table that would be too large: rows are made when read."""

    def __init__(self, embedding: np.ndarray, kernel: np.ndarray, bias: np.ndarray):
        self._embedding, self._kernel, self._bias = embedding, kernel, bias

    def __getitem__(self, ids: np.ndarray | int) -> np.ndarray:
        return self._embedding[ids] @ self._kernel + self._bias


def input_table(
    embedding: np.ndarray | None, kernel: np.ndarray, bias: np.ndarray
) -> np.ndarray | _RowsOnDemand:
    """Return what the first layer's gates receive for each symbol, bias included.

    Args:
        embedding: (V, D) float32; None for one-hot input.
        kernel: (D, G) float32, or (V, G) for one-hot input.
        bias: (G,) float32.

    Returns:
        (V, G) float32, or what is indexed like it.
    """
    if embedding is None:
        return kernel + bias
    floats = len(embedding) * len(bias)
    products = floats * embedding.shape[1]
    if floats > MAX_TABLE_FLOATS or products > MAX_TABLE_PRODUCTS:
        return _RowsOnDemand(embedding, kernel, bias)
    return embedding @ kernel + bias
