"""A text of any length → one array of ids, read once, its symbols learned on the way.

Symbols get numbers in the order in which they appear, and at the end those that they
have in the sorted vocabulary. An array is in memory: a byte for each symbol of the
text, or two if there are more than 256 different ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from textgen.data.vocabulary import Vocabulary, code_points

BLOCK_IDS = 1 << 20
FIRST_BYTES = 1 << 20  # of an array that grows
CODE_POINTS = 0x110000
NO_ID = np.uint32(0xFFFFFFFF)


class IdArray:
    """Ids of one type, to which more are appended; `array` is what there is."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self._length = 0
        self._memory = np.empty(FIRST_BYTES // dtype.itemsize, dtype)

    def __len__(self) -> int:
        return self._length

    def append(self, ids: np.ndarray) -> None:
        """Append ids (N,), which fit the type."""
        length = self._length + len(ids)
        if length > len(self._memory):
            # Usually the system moves pages and copies nothing.
            self._memory.resize(length + length // 4, refcheck=False)
        self._memory[self._length : length] = ids
        self._length = length

    def renumbered(self, numbers: np.ndarray) -> IdArray:
        """Return the array with each id i replaced by ``numbers[i]``.

        This one is used up by it.
        """
        same_type = numbers.dtype == self.dtype
        other = self if same_type else IdArray(numbers.dtype)
        for block in blocks_of(self._memory[: self._length]):
            if same_type:
                block[:] = numbers[block]
            else:
                other.append(numbers[block])
        return other

    def array(self) -> np.ndarray:
        """Return the ids (N,), after which nothing can be appended."""
        self._memory.resize(self._length, refcheck=False)
        return self._memory


def blocks_of(ids: np.ndarray) -> Iterator[np.ndarray]:
    """Yield ids (N,) in blocks, as views of them."""
    for start in range(0, len(ids), BLOCK_IDS):
        yield ids[start : start + BLOCK_IDS]


class IdsOfText:
    """Appends pieces of a text as ids; a given vocabulary keeps its ids."""

    def __init__(self, known: Vocabulary | None) -> None:
        self._known = known
        self._symbols = list(known.symbols) if known else []
        self._numbers = np.full(CODE_POINTS, NO_ID)
        codes = code_points("".join(self._symbols))
        self._numbers[codes] = np.arange(len(codes), dtype=np.uint32)
        self._ids = IdArray(np.min_scalar_type(max(0, len(codes) - 1)))

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, text: str) -> None:
        """Append the ids of a piece of text."""
        codes = code_points(text)
        ids = self._numbers[codes]
        if (is_new := ids == NO_ID).any():
            self._learn(np.unique(codes[is_new]))
            ids = self._numbers[codes]
        self._ids.append(ids)

    def _learn(self, codes: np.ndarray) -> None:
        first = len(self._symbols)
        self._symbols += map(chr, codes.tolist())
        numbers = np.arange(len(self._symbols), dtype=np.uint32)
        self._numbers[codes] = numbers[first:]
        dtype = np.min_scalar_type(len(self._symbols) - 1)
        if dtype != self._ids.dtype:
            self._ids = self._ids.renumbered(numbers.astype(dtype))

    def finish(
        self, replaced: Mapping[str, str], labels: Sequence[str] = ()
    ) -> tuple[Vocabulary, np.ndarray]:
        """Return the vocabulary and the ids, with some symbols replaced by others.

        Some of the symbols may be those of ``labels``.

        The vocabulary is the sorted symbols or, of a known one, these and after them
        the new ones, sorted.
        """
        symbols = [replaced.get(symbol, symbol) for symbol in self._symbols]
        if self._known is not None:
            vocabulary = self._known.extended(symbols, labels)
        else:
            vocabulary = Vocabulary.from_text("".join(symbols), labels)
        numbers = vocabulary.encode("".join(symbols), labels=True)
        same = np.array_equal(numbers, np.arange(len(numbers)))
        if not same or numbers.dtype != self._ids.dtype:
            self._ids = self._ids.renumbered(numbers)
        return vocabulary, self._ids.array()
