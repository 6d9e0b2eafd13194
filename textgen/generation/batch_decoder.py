"""Completions of one batch: what each row reads, draws and has made.

Everything that is done at each step is done for all rows at once, in arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from textgen.config import CompletionConfig
from textgen.generation.sampling import sample_batch
from textgen.generation.streaming import end_id_of
from textgen.saving.trained_model import TrainedModel

# Numbers taken from a row's generator at once.
UNIFORMS_AHEAD = 32
FIRST_CAPACITY = 64


@dataclass(eq=False)
class Row:
    """One completion on its way through a batch.

    Attributes:
        index: its place among all completions.
        prompt: as it was given.
        opening: (N,) ids that are read before the first is drawn.
        seed: determines what is drawn, by its generator ``rng``.
        read: how many of ``opening`` were read.
        made: the ids drawn, once it is finished.
    """

    index: int
    prompt: str
    opening: np.ndarray
    seed: int
    read: int = 0
    made: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)


class Batch:
    """A number of places B that rows take and leave; all go one symbol further."""

    def __init__(self, model: TrainedModel, places: int, config: CompletionConfig):
        """Begin with all places free.

        Args:
            model: makes the completions.
            places: rows at work at once, B.
            config: how each is completed.
        """
        self.free = list(range(places))
        self._stepper = model.decoder(places)
        self._config = config
        self._end_id = end_id_of(model)
        self._stop = _stop_ids(model, config.stop)
        self._reading: dict[int, Row] = {}
        self._drawing: dict[int, Row] = {}
        self._every = np.arange(places)
        self._is_drawing = np.zeros(places, bool)
        self._inputs = np.zeros(places, np.int64)
        self._uniforms = np.zeros((places, UNIFORMS_AHEAD))
        self._uniforms_used = np.zeros(places, np.int64)
        self._made = np.zeros((places, FIRST_CAPACITY), model.vocabulary.dtype)
        self._count = np.zeros(places, np.int64)

    def take(self, rows: dict[int, Row]) -> None:
        """Give rows their places, which are free."""
        places = list(rows)
        self._stepper.reset(places)
        self._uniforms_used[places] = UNIFORMS_AHEAD
        self._count[places] = 0
        self._reading |= rows
        self.free = [place for place in self.free if place not in rows]

    def advance(self) -> list[Row]:
        """Take all rows one symbol further; return those that are finished by it.

        Rows still reading their prompt and rows already drawing share the step.
        """
        for place, row in self._reading.items():
            self._inputs[place] = row.opening[row.read]
            row.read += 1
        logits = self._stepper.step(self._inputs)
        for place, row in list(self._reading.items()):
            if row.read == len(row.opening):
                self._drawing[place] = self._reading.pop(place)
                self._is_drawing[place] = True
        if not self._drawing:
            return []
        self._draw(logits)
        ended = self._note_drawn()
        if not ended.any():
            return []
        return [self._finish(place) for place in ended.nonzero()[0].tolist()]

    def _draw(self, logits: np.ndarray) -> None:
        """Draw for every row; only those that are drawing take note of it."""
        config, drawing = self._config, self._is_drawing
        spent = drawing & (self._uniforms_used == UNIFORMS_AHEAD)
        for place in spent.nonzero()[0].tolist():
            self._drawing[place].rng.random(out=self._uniforms[place])
        self._uniforms_used[spent] = 0
        at = np.minimum(self._uniforms_used, UNIFORMS_AHEAD - 1)  # the others' place
        uniforms = self._uniforms[self._every, at]
        ids = sample_batch(
            logits, uniforms, config.temperature, config.top_k, config.top_p
        )
        self._uniforms_used += drawing
        self._inputs = ids  # a row still reading is given its next one all the same

    def _note_drawn(self) -> np.ndarray:
        """Add what was drawn to what is made; return which rows (B,) end with it."""
        drawing, count = self._is_drawing, self._count
        if count.max() == self._made.shape[1]:
            self._made = np.concatenate([self._made, np.zeros_like(self._made)], 1)
        self._made[self._every, count] = self._inputs
        ended = np.zeros_like(drawing)
        if self._end_id is not None:
            ended = drawing & (self._inputs == self._end_id)
        count += drawing & ~ended
        for place in self._stopped():
            count[place] -= len(self._stop)
            ended[place] = True
        return ended | (drawing & (count == self._config.length))

    def _stopped(self) -> list[int]:
        """Return the places of rows that have just come to the stop text."""
        stop, count = self._stop, self._count
        if stop is None:
            return []
        at_last = self._is_drawing & (self._inputs == stop[-1]) & (count >= len(stop))
        return [
            place
            for place in at_last.nonzero()[0].tolist()
            if (
                self._made[place, count[place] - len(stop) : count[place]] == stop
            ).all()
        ]

    def _finish(self, place: int) -> Row:
        """Free a place; return its row with what it has made."""
        row = self._drawing.pop(place)
        row.made = self._made[place, : self._count[place]].copy()
        self._is_drawing[place] = False
        self.free.append(place)
        return row


def _stop_ids(model: TrainedModel, stop: str | None) -> np.ndarray | None:
    """Return the ids of ``stop``; None if there is no stop, or it can't occur."""
    if stop is None or not set(stop) <= set(model.vocabulary.symbols):
        return None
    return model.vocabulary.encode(stop)


def complete_rows(
    model: TrainedModel, rows: Iterator[Row], config: CompletionConfig, places: int
) -> Iterator[list[Row]]:
    """Yield the rows that each step finishes; the next in line takes a free place.

    Args:
        model: makes the completions.
        rows: may be endless.
        config: how each is completed.
        places: rows at work at once.
    """
    batch = Batch(model, places, config)
    while True:
        if batch.free:
            batch.take(dict(zip(batch.free, rows, strict=False)))
            if len(batch.free) == places:
                return
        yield batch.advance()
