"""Lines that fit a constraint, each the best-weighted of several candidates.

Looking ahead by a simpler model, a `Constraint` can't know all that the model does: now
and then a line comes to where the model would end and must not, and goes on as nobody
would. So of each line `CANDIDATES` are drawn together, and one is taken, with a
probability proportional to the model's own of that line over that of drawing it here.
With more and more candidates the lines have the model's own
distribution among those that fit (sampling importance resampling: Rubin 1987).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from textgen.config import CompletionConfig
from textgen.generation.batch_decoder import Ended, Request
from textgen.generation.chains import draw, parts_of
from textgen.generation.constraints import Constraint
from textgen.generation.samplers import Texts, apply, log_probabilities
from textgen.saving.trained_model import TrainedModel

CANDIDATES = 16  # for each line
MAX_ROWS = 256  # that are drawn together
HOPELESS = 20.0  # logarithm of a weight, compared with the best of the same line


def fitting_lines(
    model: TrainedModel,
    requests: Iterator[Request],
    config: CompletionConfig,
    constraint: Constraint,
    at_once: int,
) -> Iterator[Ended]:
    """Yield requests in their order with the ids drawn, up to ``at_once`` together.

    The model's lines end, and the constraint has found nothing wrong with the prompts.
    """
    most = max(1, min(MAX_ROWS, model.max_batch_size) // CANDIDATES)
    while together := list(islice(requests, min(most, at_once))):
        batch = _Candidates(model, together, config, constraint)
        while batch.step():
            pass
        yield from zip(together, batch.chosen(), strict=True)


class _Candidates:
    """Rows that draw the candidates of some lines together, `CANDIDATES` of each."""

    def __init__(
        self,
        model: TrainedModel,
        requests: list[Request],
        config: CompletionConfig,
        constraint: Constraint,
    ) -> None:
        rows = len(requests) * CANDIDATES
        lengths = np.array([len(request.prompt_ids) for request in requests])
        room = int(lengths.max()) + config.length
        self._prompt_lengths = np.repeat(lengths, CANDIDATES)
        self._lengths = self._prompt_lengths.copy()
        self._ids = np.zeros((rows, room), model.vocabulary.dtype)
        for number, request in enumerate(requests):
            own = slice(number * CANDIDATES, (number + 1) * CANDIDATES)
            self._ids[own, : lengths[number]] = request.prompt_ids
        self._generators = [np.random.default_rng(each.seed) for each in requests]
        self._choices = [generator.random() for generator in self._generators]
        self._decoder = model.decoder(rows)
        self._end_id, self._length = model.end_id, config.length
        self._constraint, self._samplers = constraint, parts_of(config)[0]
        self._read = 0  # ids of each row
        self._sizes = model.vocabulary.characters
        self._made = np.zeros(rows, np.int64)  # characters
        self._is_alive = np.ones(rows, bool)
        self._weights = np.zeros(rows)  # logarithms

    def step(self) -> bool:
        """Let each row read an id and draw one; return whether there is more to do."""
        logits = self._decoder.step(self._ids[:, self._read])
        self._read += 1
        is_drawing = self._is_alive & (self._lengths == self._read)
        if rows := np.flatnonzero(is_drawing).tolist():
            self._draw(np.array(rows), logits[rows])
        return bool(self._is_alive.any())

    def _draw(self, rows: np.ndarray, logits: np.ndarray) -> None:
        own = self._ids[rows], self._prompt_lengths[rows], self._lengths[rows]
        texts = Texts(*own)
        outlook = self._constraint.outlook(texts)
        scale = self._constraint.scale
        bound = apply(self._samplers, logits + scale * outlook, texts)
        uniforms = np.empty((len(self._generators), CANDIDATES))
        for number in np.unique(rows // CANDIDATES).tolist():  # no other line's
            self._generators[number].random(out=uniforms[number])
        drawn = draw(bound, uniforms.ravel()[rows])
        at = np.arange(len(rows)), drawn
        free = log_probabilities(logits.astype(np.float64) / scale)
        self._weights[rows] += free[at] - log_probabilities(bound)[at]
        self._ids[rows, self._lengths[rows]] = drawn
        self._lengths[rows] += 1
        self._made[rows] += self._sizes[drawn]
        is_full = self._made[rows] == self._length
        self._is_alive[rows[is_full | (drawn == self._end_id)]] = False
        # A row's weight in the end is about this one times the chance that it fits.
        expected = self._weights.copy()
        expected[rows] += outlook[at]
        best = expected.reshape(-1, CANDIDATES).max(axis=1).repeat(CANDIDATES)
        is_hopeless = expected < best - HOPELESS
        self._weights[is_hopeless] = -np.inf
        self._is_alive[is_hopeless] = False

    def chosen(self) -> Iterator[np.ndarray]:
        """Yield the ids of the candidate that is taken for each line, without ends."""
        for number, choice in enumerate(self._choices):
            first = number * CANDIDATES
            weights = self._weights[first : first + CANDIDATES]
            shares = np.exp(weights - weights.max()).cumsum()
            row = first + int(shares.searchsorted(choice * shares[-1], side="right"))
            ids = self._ids[row, self._prompt_lengths[row] : self._lengths[row]]
            yield (ids[:-1] if ids[-1] == self._end_id else ids).copy()
