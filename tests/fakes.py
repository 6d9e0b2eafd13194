"""A model whose logits are known, for tests of what is done with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from textgen.config import WindowConfig
from textgen.data.vocabulary import Vocabulary

Rule = Callable[[tuple[int, ...]], Sequence[float]]


class FakeDecoder:
    """Remembers what each stream has read, and asks the rule for the logits."""

    def __init__(self, rule: Rule, vocabulary_size: int, streams: int = 1) -> None:
        self.read: list[tuple[int, ...]] = [()] * streams
        self._rule = rule
        self._logits = np.empty((streams, vocabulary_size), np.float32)

    def step(self, ids: np.ndarray) -> np.ndarray:
        assert len(ids) == len(self.read)
        for stream, symbol_id in enumerate(ids):
            self.read[stream] += (int(symbol_id),)
            self._logits[stream] = self._rule(self.read[stream])
        return self._logits

    def reset(self, rows: Sequence[int] | None = None) -> None:
        for stream in range(len(self.read)) if rows is None else rows:
            self.read[stream] = ()


@dataclass
class FakeModel:
    """Stands for a `TrainedModel`; keeps its decoders for the tests to look at."""

    symbols: str
    rule: Rule
    kind: str = "text"
    windows: WindowConfig = field(default_factory=WindowConfig)
    metadata: dict = field(default_factory=dict)
    most_streams: int = 1000

    def __post_init__(self) -> None:
        self.vocabulary = Vocabulary(tuple(self.symbols))
        self.end_id = self.symbols.find("\n")
        self.decoders: list[FakeDecoder] = []

    def decoder(self, streams: int = 1) -> FakeDecoder:
        self.decoders.append(FakeDecoder(self.rule, len(self.symbols), streams))
        return self.decoders[-1]


def certain(symbol_id: int, size: int) -> np.ndarray:
    """Return logits (V,) that leave no doubt."""
    return np.where(np.arange(size) == symbol_id, 0, -1e4)


def alphabet_model(symbols: str = "\nabcdef", **options) -> FakeModel:
    """Return a model that recites its symbols: after each comes the next, surely."""
    size = len(symbols)
    return FakeModel(
        symbols, lambda read: certain((read[-1] + 1) % size, size), **options
    )


def whimsical_model(symbols: str = "\nabcdef", **options) -> FakeModel:
    """Return a model whose logits depend on the place and the last symbols read."""

    def rule(read: tuple[int, ...]) -> np.ndarray:
        return np.random.default_rng((len(read), *read[-8:])).normal(size=len(symbols))

    return FakeModel(symbols, rule, **options)
