"""A batch of completions that read and draw together, one symbol a step.

Each of its slots works on one request. A slot whose completion has ended is given the
next request, while the others go on ("continuous batching").
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textgen.config import CompletionConfig
from textgen.generation.sampling import sample_batch
from textgen.inference.base import State
from textgen.saving.trained_model import TrainedModel

if TYPE_CHECKING:
    from textgen.generation.samplers import Sampler

UNIFORMS_AHEAD = 32  # random numbers that are taken from a generator at once
LONG_PROMPT = 32  # ids; shorter ones are read by all of a batch at once
FIRST_CAPACITY = 64  # ids that each slot has room for at first


@dataclass(frozen=True, eq=False)
class Request:
    """A completion that is wanted."""

    index: int  # its place among all completions
    prompt: str  # as it was given
    prompt_ids: np.ndarray  # (N,), what the network reads before the first id is drawn
    seed: int  # determines what is drawn


Ended = tuple[Request, np.ndarray]  # a request and the ids that were drawn for it


class PromptReader:
    """Reads a prompt that many completions begin with: once, for all of them."""

    def __init__(self, model: TrainedModel, closed: threading.Event):
        """Read nothing yet; and never go on reading once ``closed`` is set."""
        self._model, self._closed = model, closed
        self._lock = threading.Lock()
        self._prompt_ids: np.ndarray | None = None
        self._state: State = ()

    def has_read(self, prompt_ids: np.ndarray) -> bool:
        """Tell whether this very prompt is the one that was read last."""
        return self._prompt_ids is prompt_ids

    def state(self, prompt_ids: np.ndarray) -> State:
        """Return a decoder's state after all ids (N,) but the last."""
        with self._lock:
            if not self.has_read(prompt_ids):
                decoder = self._model.decoder()
                for place in range(len(prompt_ids) - 1):
                    if self._closed.is_set():
                        break
                    decoder.step(prompt_ids[place : place + 1])
                self._prompt_ids, self._state = prompt_ids, decoder.state()
            return self._state


class BatchDecoder:
    """B slots, each of which completes one request after the other.

    A step is one array operation after the other for all slots at once. A slot's text
    is a row of `_ids`: the ids of its prompt, then those that were drawn.
    """

    def __init__(
        self,
        model: TrainedModel,
        batch_size: int,
        config: CompletionConfig,
        prompts: PromptReader,
    ):
        """Begin with ``batch_size`` free slots, B."""
        self._prompts = prompts
        self._decoder = model.decoder(batch_size)
        self._config, self._is_plain = config, config.is_plain
        self._end_id = model.end_id
        self._stop_ids: np.ndarray | None = None
        if config.stop and all(symbol in model.vocabulary for symbol in config.stop):
            self._stop_ids = model.vocabulary.encode(config.stop)  # else it can't occur
        self._requests: dict[int, Request] = {}
        self._generators: dict[int, np.random.Generator] = {}
        self._slots = np.arange(batch_size)
        self._is_used = np.zeros(batch_size, bool)
        self._ids = np.zeros((batch_size, FIRST_CAPACITY), model.vocabulary.dtype)
        self._prompt_lengths = np.zeros(batch_size, np.int64)
        self._read = np.zeros(batch_size, np.int64)  # how many ids have been read
        self._uniforms = np.zeros((batch_size, UNIFORMS_AHEAD))
        self._samplers: list[Sampler] = []  # of the config, once they are needed

    def fill(self, requests: Iterator[Request]) -> bool:
        """Give each free slot a request if there is one; tell if `step` has work."""
        if self._is_used.all():
            return True
        free = np.flatnonzero(~self._is_used).tolist()
        self._decoder.reset(free)
        taken = list(zip(free, requests, strict=False))
        counts = Counter(id(request.prompt_ids) for _, request in taken)
        for slot, request in taken:
            length = len(request.prompt_ids)
            self._make_room_for(length)
            self._ids[slot, :length] = request.prompt_ids
            self._prompt_lengths[slot], self._read[slot] = length, 0
            is_repeated = counts[id(request.prompt_ids)] > 1
            if length >= LONG_PROMPT and (
                is_repeated or self._prompts.has_read(request.prompt_ids)
            ):
                self._decoder.set_state([slot], self._prompts.state(request.prompt_ids))
                self._read[slot] = length - 1
            self._is_used[slot] = True
            self._requests[slot] = request
            self._generators[slot] = np.random.default_rng(request.seed)
        return bool(self._requests)

    def step(self) -> list[Ended]:
        """Let every slot read one id, and draw the next one if its prompt is read."""
        logits = self._decoder.step(self._ids[self._slots, self._read])
        self._read += self._is_used
        drawn_before = self._read - self._prompt_lengths  # negative within a prompt
        is_drawing = self._is_used & (drawn_before >= 0)
        if not is_drawing.any():
            return []
        drawn = self._draw(logits, drawn_before % UNIFORMS_AHEAD, is_drawing)
        drawing = is_drawing.nonzero()[0]
        self._make_room_for(int(self._read.max()) + 1)
        self._ids[drawing, self._read[drawing]] = drawn[drawing]
        has_ended = drawn_before + 1 == self._config.length
        if self._end_id is not None:
            has_ended |= drawn == self._end_id
        if self._stop_ids is not None:
            has_ended |= drawn == self._stop_ids[-1]
        ended = (has_ended & is_drawing).nonzero()[0].tolist()
        return [result for slot in ended if (result := self._finished(slot))]

    def _draw(
        self, logits: np.ndarray, columns: np.ndarray, is_drawing: np.ndarray
    ) -> np.ndarray:
        """Draw an id for every slot, by the numbers in ``columns`` of its uniforms."""
        for slot in (is_drawing & (columns == 0)).nonzero()[0].tolist():
            self._generators[slot].random(out=self._uniforms[slot])
        uniforms = self._uniforms[self._slots, columns]
        if self._is_plain:
            return sample_batch(logits, uniforms, self._config)
        return self._draw_by_chain(logits, uniforms, is_drawing.nonzero()[0])

    def _draw_by_chain(
        self, logits: np.ndarray, uniforms: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """Draw by a config's samplers for the slots ``rows``, and leave others 0."""
        from textgen.generation.chains import draw, parts_of
        from textgen.generation.samplers import Texts, apply

        self._samplers = self._samplers or parts_of(self._config)[0]
        own = self._ids[rows], self._prompt_lengths[rows], self._read[rows]
        drawn = np.zeros(len(logits), np.int64)
        drawn[rows] = draw(
            apply(self._samplers, logits[rows], Texts(*own)), uniforms[rows]
        )
        return drawn

    def _finished(self, slot: int) -> Ended | None:
        """Free a slot if what was drawn last ends its completion, and return that."""
        ids = self._ids[slot, self._prompt_lengths[slot] : self._read[slot] + 1]
        stop_ids = self._stop_ids
        if ids[-1] == self._end_id:
            ids = ids[:-1]
        elif stop_ids is not None and np.array_equal(ids[-len(stop_ids) :], stop_ids):
            ids = ids[: -len(stop_ids)]
        elif len(ids) < self._config.length:
            return None  # the last symbol of the stop text came, but not all of it
        self._is_used[slot] = False
        del self._generators[slot]
        return self._requests.pop(slot), ids.copy()

    def _make_room_for(self, length: int) -> None:
        """Lengthen all slots' texts, at least twofold, if one needs more room."""
        batch_size, capacity = self._ids.shape
        if length > capacity:
            longer = np.zeros((batch_size, max(length, 2 * capacity)), self._ids.dtype)
            longer[:, :capacity] = self._ids
            self._ids = longer
