"""What every stack of recurrent layers has: its states, and a table for its input.

The states have a row for each sequence, which is a text or a window of one.
`textgen.inference.lstm` is the fast form, for the networks that we train, and
`textgen.inference.generic` the general one, for all others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from textgen.inference.weights import Network

State = tuple[np.ndarray, ...]

# The largest input table that is made: a quarter of a GiB, and about a second of work.
MAX_TABLE_FLOATS = 1 << 26
MAX_TABLE_PRODUCTS = 1 << 35


class RecurrentStack(ABC):
    """The states of stacked recurrent layers for a number of independent sequences."""

    output: np.ndarray  # (rows, U) float32, of the last layer; each step overwrites it

    @abstractmethod
    def __init__(self, network: Network, rows: int):
        """Begin so many sequences from zero state."""

    @abstractmethod
    def step(self, ids: np.ndarray | int) -> None:
        """Let every sequence read one of ids (rows,), or the same; update `output`."""

    @abstractmethod
    def states(self) -> State:
        """Return the arrays that hold the states, (rows, U) each; not copies."""

    @abstractmethod
    def memories(self) -> State:
        """Return what each recurrent layer carries on, (rows, U) each; not copies.

        That is the cell c of an LSTM layer, and the output h of any other.
        """

    def reset(self, rows: np.ndarray | list[int]) -> None:
        """Set the states of some rows to zero."""
        for state in self.states():
            state[rows] = 0


class _RowsOnDemand:
    """Stands for an input table that would be too large: computes rows when asked."""

    def __init__(self, embedding: np.ndarray, kernel: np.ndarray, bias: np.ndarray):
        self._embedding, self._kernel, self._bias = embedding, kernel, bias

    def __getitem__(self, ids: np.ndarray | int) -> np.ndarray:
        return self._embedding[ids] @ self._kernel + self._bias


def input_table(
    embedding: np.ndarray | None, kernel: np.ndarray, bias: np.ndarray
) -> np.ndarray | _RowsOnDemand:
    """Return what the first layer's G gates receive for each symbol, (V, G) float32.

    That is the embedding (V, D) times the kernel (D, G), or for one-hot input, which
    has no embedding, the kernel (V, G) itself, plus the bias. Where it would be too
    large it is only something that is indexed like it.
    """
    if embedding is None:
        return kernel + bias
    floats = len(embedding) * len(bias)
    products = floats * embedding.shape[1]
    if floats > MAX_TABLE_FLOATS or products > MAX_TABLE_PRODUCTS:
        return _RowsOnDemand(embedding, kernel, bias)
    return embedding @ kernel + bias
