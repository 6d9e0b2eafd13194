"""Samplers: each turns logits into logits, and they compose in a list.

    Greedy                the likeliest symbol only
    Temperature           divides the logits
    TemperatureSchedule   several temperatures in turn, a symbol each
    TopK, TopP            the likeliest symbols: so many, or up to a probability
    MinP                  the symbols that aren't too far from the likeliest
    TypicalP              the symbols whose surprisal is nearest to the expected one
    RepetitionPenalty     makes long repetitions unlikely
    NoRepeatNgram         excludes repetitions of a length

The samplers of a list are applied in its order, and one id is drawn from the softmax
of what comes out. `textgen.generation.beam.BeamSearch`, as the last of a list, searches
for the likeliest text instead. A sampler of your own is any function of logits and
`Texts`::

    def no_e(logits, texts):
        logits[:, model.vocabulary.encode("e")] = -np.inf
        return logits

    generate_output(model, "Forsooth ", sampler=[no_e, TopP(0.9), Temperature(0.7)])
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from textgen.config import CompletionConfig
from textgen.errors import OptionError, shown
from textgen.generation.sampling import (
    ROUNDING_SHARE,
    keep_first,
    keep_likeliest,
)

FREE_REPETITION = 6  # symbols that may be repeated without a penalty
PENALTY_WINDOW = 1_000  # symbols at the end of a text in which it looks for repetitions
LONGEST_REPETITION = 64  # a longer one counts as one of this length


@dataclass(frozen=True, eq=False)
class Texts:
    """What each of B texts has read and drawn so far.

    Attributes:
        ids: (B, capacity) of an unsigned type; row b's text is ``ids[b, :lengths[b]]``,
            and what follows means nothing.
        prompt_lengths: (B,) how many ids were read before the first was drawn; so row
            b's drawn ids are ``ids[b, prompt_lengths[b]:lengths[b]]``. Where the model
            has an end symbol, a prompt that is read from its beginning begins with it.
        lengths: (B,) how many ids there are.
    """

    ids: np.ndarray
    prompt_lengths: np.ndarray
    lengths: np.ndarray

    @property
    def drawn_lengths(self) -> np.ndarray:
        """How many ids were drawn, (B,)."""
        return self.lengths - self.prompt_lengths


class Sampler(Protocol):
    """Turns logits into logits; what it excludes becomes -inf.

    It has no state that belongs to a row, except a cache that can be made again from
    the texts: which rows come together, and in which order, differs from call to call.
    Two threads may call it at the same time.
    """

    def __call__(self, logits: np.ndarray, texts: Texts) -> np.ndarray:
        """Return logits (B, V) float64 for the next id of each row.

        The array that is given may be changed and returned.
        """
        ...


def apply(chain: Sequence[Sampler], logits: np.ndarray, texts: Texts) -> np.ndarray:
    """Return what the samplers make of logits (B, V) one after the other, in float64.

    Raises:
        OptionError: if one returns something else than such logits, or leaves a row
            without a symbol to draw.
    """
    shape = logits.shape
    logits = logits.astype(np.float64)
    for sampler in chain:
        logits = sampler(logits, texts)
        if not isinstance(logits, np.ndarray) or logits.shape != shape:
            raise OptionError(
                f"a `sampler` must return logits of shape {shape}, but "
                f"{shown(sampler)} returned {shown(logits)}"
            )
        if not np.isfinite(logits.max(axis=-1)).all():
            raise OptionError(
                "a `sampler` must leave a character that can be drawn and no NaN or "
                f"+inf, which {shown(sampler)} didn't"
            )
    return logits


@dataclass(frozen=True)
class Greedy:
    """Leaves the likeliest symbol only, the first of equal ones."""

    def __call__(self, logits: np.ndarray, texts: Texts) -> np.ndarray:
        """Return logits (B, V) of which one a row is left."""
        likeliest = logits.argmax(axis=-1)[:, None]
        return np.where(np.arange(logits.shape[1]) == likeliest, logits, -np.inf)


@dataclass(frozen=True)
class Temperature:
    """Divides the logits: below 1 is safer, above is bolder, and 0 is `Greedy`.

    Args:
        temperature: 0 to 100.
    """

    temperature: float

    def __post_init__(self) -> None:
        _check("temperature", self.temperature)

    def __call__(self, logits: np.ndarray, texts: Texts) -> np.ndarray:
        """Return logits (B, V), the largest of each row at 0."""
        return _divided(logits, np.full((len(logits), 1), float(self.temperature)))


@dataclass(frozen=True)
class TemperatureSchedule:
    """Divides the logits by several temperatures in turn.

    The first symbol that is drawn has the first temperature; after the last the first
    follows again. (textgenrnn has such a list, so that a text is safe at most places
    and now and then bold.)

    Args:
        temperatures: numbers, 0 to 100 each.
    """

    temperatures: Sequence[float]

    def __post_init__(self) -> None:
        values = self.temperatures
        if not isinstance(values, Sequence) or not len(values):
            raise OptionError(f"`temperature` must be numbers, but was {shown(values)}")
        for each in values:
            _check("temperature", each)
        object.__setattr__(self, "temperatures", tuple(values))

    def __call__(self, logits: np.ndarray, texts: Texts) -> np.ndarray:
        """Return logits (B, V), each row divided by the temperature of its place."""
        places = texts.drawn_lengths % len(self.temperatures)
        return _divided(logits, np.array(self.temperatures, float)[places, None])


@dataclass(frozen=True)
class TopK:
    """Leaves the k likeliest symbols, of equal ones the lower ids.

    Args:
        k: at least 1.
    """

    k: int

    def __post_init__(self) -> None:
        _check("top_k", self.k)

    def __call__(self, logits: np.ndarray, texts: Texts) -> np.ndarray:
        """Return logits (B, V) of which k a row are left."""
        weights = _weights(logits)
        keep_likeliest(weights, self.k, None)
        return np.where(weights > 0, logits, -np.inf)


@dataclass(frozen=True)
class TopP:
    """Leaves the fewest likeliest symbols whose probabilities reach p together.

    (Nucleus sampling: Holtzman et al., "The Curious Case of Neural Text Degeneration",
    ICLR 2020.)

    Args:
        p: above 0, at most 1.
    """

    p: float

    def __post_init__(self) -> None:
        _check("top_p", self.p)

    def __call__(self, logits: np.ndarray, texts: Texts) -> np.ndarray:
        """Return logits (B, V) of which the nucleus is left."""
        weights = _weights(logits)
        keep_likeliest(weights, None, self.p)
        return np.where(weights > 0, logits, -np.inf)


@dataclass(frozen=True)
class MinP:
    """Leaves the symbols with at least a share p of the likeliest one's probability.

    (Nguyen et al., "Turning Up the Heat: Min-p Sampling", ICLR 2025.)

    Args:
        p: above 0, at most 1.
    """

    p: float

    def __post_init__(self) -> None:
        _check("min_p", self.p)

    def __call__(self, logits: np.ndarray, texts: Texts) -> np.ndarray:
        """Return logits (B, V) without the improbable ones."""
        enough = self.p * (1 - ROUNDING_SHARE)
        return np.where(_weights(logits) >= enough, logits, -np.inf)


@dataclass(frozen=True)
class TypicalP:
    """Leaves the symbols whose surprisal is nearest to the expected one, the entropy.

    As few of them as reach p together. (Meister et al., "Locally Typical Sampling",
    TACL 2023.)

    Args:
        p: above 0, at most 1.
    """

    p: float

    def __post_init__(self) -> None:
        _check("typical_p", self.p)

    def __call__(self, logits: np.ndarray, texts: Texts) -> np.ndarray:
        """Return logits (B, V) of which the typical set is left."""
        if self.p == 1:
            return logits
        log_p = log_probabilities(logits)
        probabilities = np.exp(log_p)
        surprisal = -np.where(probabilities > 0, log_p, 0)
        entropy = (probabilities * surprisal).sum(axis=-1, keepdims=True)
        distance = np.where(probabilities > 0, np.abs(surprisal - entropy), np.inf)
        order = np.argsort(distance, axis=-1, kind="stable")
        ranked = np.take_along_axis(probabilities, order, axis=-1)
        keep_first(ranked, self.p)
        np.put_along_axis(probabilities, order, ranked, axis=-1)
        return np.where(probabilities > 0, logits, -np.inf)


@dataclass(frozen=True)
class RepetitionPenalty:
    """Makes the symbols unlikely that would lengthen a repetition.

    Of characters every text repeats each one, so that, other than with words, it is no
    use to count which were there (as Keskar et al. do, 2019). Instead, a symbol that
    would make the end of the text a repetition of n symbols from earlier on, n above
    6, has its odds divided by ``penalty`` n - 6 times. Words and phrases may return;
    the longer a repetition becomes, the surer it ends. What lies more than 1,000
    symbols back is no repetition.

    Args:
        penalty: 1 (no effect) to a million.
    """

    penalty: float

    def __post_init__(self) -> None:
        _check("repetition_penalty", self.penalty)

    def __call__(self, logits: np.ndarray, texts: Texts) -> np.ndarray:
        """Return logits (B, V), lowered where symbols would lengthen a repetition."""
        longest = FREE_REPETITION + LONGEST_REPETITION
        repeated = repetitions(texts, logits.shape[1], longest, PENALTY_WINDOW)
        beyond = np.maximum(repeated - FREE_REPETITION, 0)
        return logits - beyond * math.log(self.penalty)


@dataclass(frozen=True)
class NoRepeatNgram:
    """Excludes each symbol that would end an n-gram that the text has already.

    The prompt counts. Where every symbol would, none is excluded.

    Args:
        n: symbols of the n-gram, at least 1.
    """

    n: int

    def __post_init__(self) -> None:
        _check("no_repeat_ngram", self.n)

    def __call__(self, logits: np.ndarray, texts: Texts) -> np.ndarray:
        """Return logits (B, V) without the symbols that repeat an n-gram."""
        repeats = repetitions(texts, logits.shape[1], self.n) >= self.n
        left = np.where(repeats, -np.inf, logits)
        return np.where(np.isfinite(left.max(axis=-1, keepdims=True)), left, logits)


def repetitions(
    texts: Texts, vocabulary_size: int, longest: int, window: int | None = None
) -> np.ndarray:
    """Return how long a repetition each symbol would make of the texts' ends, (B, V).

    That is the number n, at most ``longest``, of symbols that would be at the end of
    the text as they are somewhere before it, the new one being the last of them. With
    a ``window``, each text's last so many symbols are all of it.
    """
    result = np.zeros((len(texts.lengths), vocabulary_size), np.int64)
    width = int(texts.lengths.max(initial=0))
    # The texts end in the last column; those that are shorter have no beginning there.
    places = np.arange(width) - (width - texts.lengths)[:, None]
    if window is not None and width > window:
        places, width = places[:, width - window :], window
    ids = np.take_along_axis(texts.ids, np.maximum(places, 0), axis=1)
    # Tells of each place, from column `count` on, whether the `count` ids before it are
    # those at the end of the text. That place's id would then make `count` + 1 equal.
    agrees = places >= 0
    for count in range(min(longest, width)):
        rows, columns = agrees.nonzero()
        if not len(rows):
            break
        result[rows, ids[rows, columns + count]] = count + 1
        before = slice(0, width - count - 1)
        is_same = ids[:, before] == ids[:, width - count - 1, None]
        agrees = agrees[:, 1:] & is_same & (places[:, before] >= 0)
    return result


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the log-softmax of logits (B, V), -inf where they are."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _weights(logits: np.ndarray) -> np.ndarray:
    """Return unnormalised probabilities (B, V), the largest of a row being 1."""
    return np.exp(logits - logits.max(axis=-1, keepdims=True))


def _divided(logits: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """Return logits (B, V) divided by temperatures (B, 1), the largest ones at 0."""
    is_zero = temperatures == 0
    with np.errstate(over="ignore"):  # to -inf, whose weight is 0: right
        differences = logits - logits.max(axis=-1, keepdims=True)
        divided = differences / np.where(is_zero, 1, temperatures)
    if is_zero.any():
        likeliest = logits.argmax(axis=-1)[:, None]
        is_left = ~is_zero | (np.arange(logits.shape[1]) == likeliest)
        divided = np.where(is_left, divided, -np.inf)
    return divided


def _check(name: str, value: float) -> None:
    """Raise `OptionError` unless an option of that name may be this one value."""
    option: dict[str, Any] = {name: value}
    if value is None or isinstance(value, list | tuple):
        raise OptionError(f"`{name}` must be a number, but was {shown(value)}")
    CompletionConfig(**option)
