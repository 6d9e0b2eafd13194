"""Lines that have to fit: which symbols may come next, and which had better.

A `Constraint` is a sampler. It excludes every symbol after which nothing fits any more,
so that each line that is drawn fits. That alone would bend the distribution: a model
that isn't told of an ending "don" goes its own way, and can't end where it would. What
is wanted is the model's own distribution over the lines that fit, in which a symbol has
its probability times that of the rest fitting then. The latter is reckoned exactly, but
for a simpler model, of which symbol follows which; this is measured beforehand on texts
that the model itself draws freely.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from textgen.config import MAX_CONSTRAINED, CompletionConfig, ConstraintConfig
from textgen.data.vocabulary import end_symbol
from textgen.errors import OptionError, shown
from textgen.generation.automaton import (
    DEAD,
    Automaton,
    Distances,
    automaton_of,
)
from textgen.generation.contexts import Contexts
from textgen.generation.streaming import MAX_PROMPT_SYMBOLS
from textgen.saving.trained_model import TrainedModel

if TYPE_CHECKING:
    from textgen.generation.samplers import Texts

# Expressions of what must fit, where the text itself is escaped.
EXPRESSIONS = {
    "starts_with": "{}(?s:.*)",
    "ends_with": "(?s:.*){}",
    "contains": "(?s:.*){}(?s:.*)",
    "matching": "{}",
}
MAX_AHEAD = 1_000  # symbols; further ahead nothing changes
MAX_OPERATIONS = 1 << 27  # for reckoning them
MAX_PROBABILITIES = 1 << 24  # probabilities of what is ahead
LONG = 64  # symbols of a text whose state is remembered
MOST_REMEMBERED = 2_000  # texts
LEAST = 1e-300  # probability of fitting, where something does


class Constraint:
    """Lets a model draw only what fits, as likely as it would draw that by itself.

    Of a model whose texts end, the whole text has to fit, with its prompt; of another,
    what is drawn, up to its full length.
    """

    def __init__(
        self, model: TrainedModel, wanted: ConstraintConfig, config: CompletionConfig
    ) -> None:
        """Refuse by an `OptionError` what can't be; draw a little to look ahead by."""
        self._end_id = model.end_id
        self._length, self._wanted = config.length, wanted
        self._vocabulary, alphabet = model.vocabulary, model.vocabulary.alphabet
        self._symbols, self._sizes = alphabet.symbols, model.vocabulary.characters
        is_windowed = model.windows.targets == "last"
        most_read = model.windows.seq_length if is_windowed else MAX_PROMPT_SYMBOLS
        self._most_read = most_read - 1  # beside the end before it
        _check(model, wanted, config)
        self._automaton = _automaton(wanted, self._symbols)
        self._automaton.table[:, alphabet.label_ids] = DEAD
        self._least = wanted.min_length or (0 if model.end_id is None else 1)
        self._most = wanted.max_length or MAX_CONSTRAINED
        self._table = self._automaton.over(model.vocabulary.symbols)  # (S, V)
        end = end_symbol(model.kind, alphabet)
        excluded = None if end is None else self._symbols.index(end)
        self._distances = Distances(self._automaton, config.length, excluded)
        self._check_possible(wanted)
        self.scale = _temperature(config) or 1.0  # 0 takes the likeliest
        size = self._table.size * min(config.length, MAX_AHEAD)
        most = MAX_OPERATIONS // size
        self._contexts = Contexts.measured(model, self.scale, most, config.label)
        self._remembered: dict[bytes, tuple[int, int]] = {}  # states of long texts
        self._ahead = self._look_ahead()  # (places, S, C), logarithms

    def __call__(self, logits: np.ndarray, texts: Texts) -> np.ndarray:
        """Return logits (B, V), -inf for what can't fit; see `Sampler`."""
        return logits + self.scale * self.outlook(texts)

    def outlook(self, texts: Texts) -> np.ndarray:
        """Return the logarithm of how likely B texts fit after each symbol, (B, V).

        It is -inf for what can't, and 0 for an end that fits.
        """
        states, contexts, lengths = self._read(texts)
        drawn = self._characters(texts, texts.prompt_lengths)
        return self._outlook(states, contexts, lengths, drawn)

    def check_prompt(self, prompt: str) -> None:
        """Raise `OptionError` for a prompt after which nothing fits."""
        if self._end_id is None:
            return
        if len(prompt) > self._most_read or not set(prompt) <= set(self._symbols):
            raise OptionError(
                f"with {self._wanted.told}, `prompt` must be of characters that the "
                f"model knows, and of no more than it reads, but was {shown(prompt)}"
            )
        state = np.array([self._automaton.after(prompt)])
        zero = np.zeros(1, np.int64)
        bias = self._outlook(state, zero, zero + len(prompt), zero)
        if not np.isfinite(bias).any():
            told = self._wanted.told
            problem = f"no text that begins with `prompt` {shown(prompt)} fits {told}"
            raise OptionError(problem, "change one of them")

    def fits(self, text: str) -> bool:
        """Tell whether a whole text fits: of a model without ends, what was drawn."""
        state = self._automaton.after(text)
        return bool(self._automaton.accepts[state]) and (
            self._least <= len(text) <= self._most
        )

    def _characters(self, texts: Texts, first: np.ndarray) -> np.ndarray:
        """Return how many characters texts have from some places (B,) on, (B,)."""
        if self._vocabulary.level == "character":
            return texts.lengths - first
        places = np.arange(texts.ids.shape[1])
        is_own = (places >= first[:, None]) & (places < texts.lengths[:, None])
        return np.where(is_own, self._sizes[texts.ids], 0).sum(axis=1)

    def _read(self, texts: Texts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return states and contexts after what must fit of texts, and its lengths."""
        first = np.zeros_like(texts.lengths)
        if self._end_id is None:  # only what is drawn must fit
            first = texts.prompt_lengths
        lengths = texts.lengths - first
        states = np.full(len(lengths), self._automaton.start)
        contexts = np.zeros(len(lengths), np.int64)
        places = np.zeros(len(lengths), np.int64)
        long = np.flatnonzero(lengths > LONG).tolist()
        for row in long:  # most have been read up to their last id
            before = texts.ids[row, first[row] : texts.lengths[row] - 1].tobytes()
            if known := self._remembered.get(before):
                states[row], contexts[row] = known
                places[row] = lengths[row] - 1
        while (rows := np.flatnonzero(places < lengths)).size:
            ids = texts.ids[rows, first[rows] + places[rows]]
            contexts[rows] = self._contexts.following[contexts[rows], ids]
            # A line's first id is the end before it, or a label, which needn't fit.
            bound = (places[rows] > 0) | (self._end_id is None)
            after = self._table[states[rows], ids]
            states[rows] = np.where(bound, after, states[rows])
            places[rows] += 1
        if len(self._remembered) > MOST_REMEMBERED:
            self._remembered.clear()
        for row in long:
            text = texts.ids[row, first[row] : texts.lengths[row]].tobytes()
            self._remembered[text] = int(states[row]), int(contexts[row])
        has_end = int(self._end_id is not None)  # before it
        return states, contexts, self._characters(texts, first + has_end)

    def _outlook(
        self,
        states: np.ndarray,
        contexts: np.ndarray,
        lengths: np.ndarray,
        drawn: np.ndarray,
    ) -> np.ndarray:
        """Return logarithms (R, V) of how likely it is to fit after each symbol."""
        after = self._table[states]  # (R, V)
        left = (self._length - drawn)[:, None] - self._sizes  # after the next symbol
        if self._end_id is None:
            can = self._distances.within(after, left, left)
            places = left
        else:
            places = lengths[:, None] + self._sizes
            most = np.minimum(self._most - places, left)
            least = np.maximum(self._least - places, 0)
            can = self._distances.within(after, least, most)
        places = np.clip(places, 0, len(self._ahead) - 1)
        ahead = self._ahead[places, after, self._contexts.following[contexts]]
        bias = np.where(can, ahead, -np.inf)
        if self._end_id is not None:
            fits = self._automaton.accepts[states] & (lengths <= self._most)
            fits &= lengths >= self._least
            bias[:, self._end_id] = np.where(fits, 0.0, -np.inf)
        return bias

    def _look_ahead(self) -> np.ndarray:
        """Return logarithms of the probability that a text fits in the end.

        They are of each place, each state there and each context. A place is the length
        of a text that ends, the last one standing for all that are longer, and
        otherwise how many symbols are still to come.
        """
        accepts = self._automaton.accepts[:, None].astype(np.float64)
        after = self._contexts.after.copy()
        most_places = MAX_PROBABILITIES // (len(accepts) * len(after))
        if self._end_id is None:
            values = [np.repeat(accepts, len(after), axis=1)]
            none = np.zeros_like(values[0])  # what is longer than is left
            for _ in range(min(self._length, MAX_AHEAD, most_places)):
                values.append(self._before(_last(values, none), after))
            return _logarithms(values)
        ends = accepts * after[:, self._end_id]  # (S, C)
        after[:, self._end_id] = 0
        is_endless = self._wanted.max_length is None or self._most > most_places
        places = min(self._least if is_endless else self._most, most_places)
        value, longer = ends, np.zeros_like(ends)
        if is_endless:  # at any later place it is the same
            for _ in range(min(self._length, MAX_AHEAD)):
                last, value = value, ends + self._before(_last([value], value), after)
                if np.allclose(last, value, rtol=1e-3, atol=0):
                    break
            longer = value
        values = [value]
        for place in reversed(range(places)):
            fitting = self._before(_last(values, longer), after)
            values.append(ends * (place >= self._least) + fitting)
        return _logarithms(values[::-1])

    def _before(
        self, later: Callable[[int], np.ndarray], after: np.ndarray
    ) -> np.ndarray:
        """Return the probabilities (S, C) that a text fits, by those one symbol later.

        These are given by how many characters the symbol has. The symbols' own
        probabilities are ``after`` (C, V).
        """
        table, following, total = self._table[:, None], self._contexts.following, 0.0
        for size in np.unique(self._sizes).tolist():
            own = np.flatnonzero(self._sizes == size)
            value = later(size)[table[..., own], following[:, own]]
            total = total + np.einsum("scv,cv->sc", value, after[:, own])
        return np.asarray(total)

    def _check_possible(self, wanted: ConstraintConfig) -> None:
        start = np.array([self._automaton.start])
        most = min(self._most, self._length)
        if self._end_id is None:
            possible = self._distances.within(start, self._length, self._length)
        else:
            possible = self._distances.within(start, self._least, most)
        if not possible.any():
            problem = f"nothing that the model can write fits {wanted.told}"
            raise OptionError(problem, "leave one out, or change `length`")


def _last(values: list[np.ndarray], longer: np.ndarray) -> Callable[[int], np.ndarray]:
    """Return what gives the last but so many of some values, or what is before all."""
    return lambda count: values[-count] if count <= len(values) else longer


def _logarithms(values: list[np.ndarray]) -> np.ndarray:
    return np.stack([np.log(np.maximum(x, LEAST)).astype(np.float32) for x in values])


def _automaton(wanted: ConstraintConfig, symbols: tuple[str, ...]) -> Automaton:
    expressions = [
        form.format(text if name == "matching" else re.escape(text))
        for name, form in EXPRESSIONS.items()
        if (text := getattr(wanted, name)) is not None
    ]
    return automaton_of(expressions or ["(?s:.*)"], symbols)


def _temperature(config: CompletionConfig) -> float:
    """Return the temperature that texts are drawn at, on the average."""
    temperatures: Any = config.temperature
    if config.sampler is not None:
        from textgen.generation.samplers import Temperature

        own = [x.temperature for x in config.sampler if isinstance(x, Temperature)]
        temperatures = math.prod(own)
    return float(np.mean(temperatures))


def _check(
    model: TrainedModel, wanted: ConstraintConfig, config: CompletionConfig
) -> None:
    """Raise `OptionError` for what can't be asked of a model, or not together."""
    if config.stop is not None:
        raise OptionError(f"`stop` can't go with {wanted.told}", "leave one out")
    if config.length > MAX_CONSTRAINED:
        limit = f"at most {MAX_CONSTRAINED:,} with {wanted.told}"
        raise OptionError(f"`length` must be {limit}, but was {config.length:,}")
    for name in ("min_length", "max_length"):
        if model.end_id is None and getattr(wanted, name) is not None:
            problem = f"`{name}` is for models whose texts end, as names do"
            raise OptionError(problem, "this one's have `length` characters")
    for name in ("starts_with", "ends_with", "contains"):
        text = getattr(wanted, name) or ""
        fitted = model.vocabulary.fit(text).text
        if fitted != text:
            advice = f"try {shown(fitted)}" if len(fitted) == len(text) else ""
            problem = f"`{name}` holds characters that the model has never seen"
            raise OptionError(f"{problem}: {shown(text)}", advice)
