"""Models whose logits are known, and networks of random weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from textgen.config import Config, WindowConfig
from textgen.data.vocabulary import Vocabulary, end_symbol
from textgen.inference.weights import (
    GRUWeights,
    LSTMWeights,
    Network,
    OneDirection,
    SimpleRNNWeights,
)
from textgen.saving.trained_model import TrainedModel

ENGLISH = "\n !',-.:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
WORDS = [
    "night", "light", "sight", "day", "say", "may", "way", "thee", "see", "be",
    "heart", "part", "art", "love", "above", "the", "and", "of", "my", "thy",
    "sweet", "making", "compare", "beauty", "remember", "again", "eternal", "time",
    "rhyme", "climb", "mine", "thine", "line", "fair", "hair", "there", "so", "go",
    "show",
]  # fmt: skip

Rule = Callable[[tuple[int, ...]], Sequence[float]]


class FakeDecoder:
    """Remembers what each text of its batch has read, and asks the rule for logits."""

    def __init__(self, rule: Rule, vocabulary_size: int, batch_size: int = 1) -> None:
        self.read: list[tuple[int, ...]] = [()] * batch_size
        self._rule = rule
        self._logits = np.empty((batch_size, vocabulary_size), np.float32)

    def step(self, ids: np.ndarray) -> np.ndarray:
        assert len(ids) == len(self.read)
        for slot, symbol_id in enumerate(ids):
            self.read[slot] += (int(symbol_id),)
            self._logits[slot] = self._rule(self.read[slot])
        return self._logits

    def reset(self, slots: Sequence[int]) -> None:
        for slot in slots:
            self.read[slot] = ()

    def state(self, slot: int = 0) -> tuple[int, ...]:
        return self.read[slot]

    def set_state(self, slots: Sequence[int], state: tuple[int, ...]) -> None:
        for slot in slots:
            self.read[slot] = state

    def reorder(self, slots: Sequence[int]) -> None:
        self.read[: len(slots)] = [self.read[slot] for slot in slots]


@dataclass
class FakeModel:
    """Stands for a `TrainedModel`; keeps its decoders for the tests to look at."""

    symbols: Sequence[str]
    rule: Rule
    kind: str = "text"
    windows: WindowConfig = field(default_factory=WindowConfig)
    metadata: dict = field(default_factory=dict)
    record: dict = field(default_factory=dict)
    max_batch_size: int = 1000
    path: None = None
    level: str = "character"

    def __post_init__(self) -> None:
        self.vocabulary = Vocabulary(tuple(self.symbols), self.level)
        end = end_symbol(self.kind, self.symbols)
        self.end_id = None if end is None else self.symbols.index(end)
        self.makes_lines = end == "\n"
        self.decoders: list[FakeDecoder] = []

    def decoder(self, batch_size: int = 1) -> FakeDecoder:
        self.decoders.append(FakeDecoder(self.rule, len(self.symbols), batch_size))
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


PIECES = ("\n", " ", *"abc", "ab", "bc", "abc", " a", " ab", "ca", " bca")


def pieces_model(symbols=PIECES, spread: float = 1.0, **options) -> FakeModel:
    """Return a whimsical model whose symbols have one character or more."""

    def rule(read: tuple[int, ...]) -> np.ndarray:
        rng = np.random.default_rng((len(read), *read[-8:]))
        return rng.normal(size=len(symbols), scale=spread)

    return FakeModel(symbols, rule, **{"level": "word", **options})


def words_model(words=WORDS, symbols=ENGLISH, **options) -> FakeModel:
    """Return a model that writes words of a list, in any order, evenly by letters."""
    starts = {word[:size] for word in words for size in range(1, len(word) + 1)}
    found: dict[str, list[float]] = {}

    def rule(read):
        text = "".join(symbols[x] for x in read[-12:]).lower()
        word = re.search(r"[a-z']*\Z", text)[0]
        if word not in found:
            likely = {x[len(word)] for x in starts if x[:-1] == word}
            likely |= set(" \n,.") if not word or word in words else set()
            likely |= {x.upper() for x in likely} if not word else set()
            found[word] = [0.0 if x in likely else -25.0 for x in symbols]
        return found[word]

    return FakeModel(symbols, rule, **options)


def random_network(
    units: Sequence[int] = (5,),
    vocabulary_size: int = 7,
    embedding: int = 3,
    scale: float = 1.0,
    one_hot: bool = False,
) -> Network:
    """Return LSTM layers of random weights, always the same."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape, scale=scale).astype(np.float32)

    table = np.eye(vocabulary_size, dtype=np.float32)
    if not one_hot:
        table = normal(vocabulary_size, embedding)
    layers, below = [], table.shape[1]
    for u in units:
        layers.append(
            LSTMWeights(normal(below, 4 * u), normal(u, 4 * u), normal(4 * u))
        )
        below = u
    dense_kernel, dense_bias = normal(below, vocabulary_size), normal(vocabulary_size)
    return Network(table, tuple(layers), dense_kernel, dense_bias)


def random_cells(
    kinds: str, vocabulary_size: int = 7, one_hot: bool = False, **activations: str
) -> Network:
    """Return recurrent layers of any kinds, by their names with spaces between.

    ``GRU-before`` is a GRU that applies its reset gate to the state itself.
    """
    rng = np.random.default_rng(3)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape, scale=0.7).astype(np.float32)

    gates = {"LSTM": 4, "GRU": 3, "GRU-before": 3, "SimpleRNN": 1}
    below = vocabulary_size if one_hot else 4
    embedding = None if one_hot else normal(vocabulary_size, below)
    layers: list[OneDirection] = []
    for number, kind in enumerate(kinds.split()):
        units = 5 + number  # neither all alike nor all multiples of four
        size = units * gates[kind]
        weights = normal(below, size), normal(units, size), normal(size)
        if kind == "LSTM":
            layers.append(LSTMWeights(*weights, **activations))
        elif kind == "SimpleRNN":
            layers.append(SimpleRNNWeights(*weights, **activations))
        else:
            other = normal(size) if kind == "GRU" else None
            layers.append(GRUWeights(*weights, other, **activations))
        below = units
    dense = normal(below, vocabulary_size), normal(vocabulary_size)
    return Network(embedding, tuple(layers), *dense)


def model_of(
    network: Network,
    symbols: str = "\nabcdef",
    kind: str = "text",
    windows: WindowConfig | None = None,
) -> TrainedModel:
    """Return a trained model around a network."""
    config = Config(windows=windows or WindowConfig())
    return TrainedModel(network, Vocabulary(tuple(symbols)), kind, config, {}, None)
