"""A batch of completions that read and draw together, one symbol a step.

Each of its slots works on one request. A slot whose completion has ended is given the
next request, while the others go on ("continuous batching").
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from textgen.config import CompletionConfig
from textgen.data.vocabulary import Vocabulary
from textgen.generation.endings import completing, cut, has_stop, longest_at_end
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
    config: CompletionConfig  # slots that share this very object draw together
    length: int  # characters of the completion at the most
    stops: Sequence[np.ndarray] = ()  # texts' ids: where one comes, it ends
    # Told the place of each id that is read or drawn, from 1 on; the id; and the logits
    # (V,) that the model had for it, which the next step overwrites.
    observe: Callable[[int, int, np.ndarray], None] | None = None
    state: State | None = None  # a decoder's after all prompt ids but the last
    # Of a model whose symbols are longer than characters:
    begun: str = ""  # what the prompt ids spell of the completion already
    stop_texts: Sequence[str] = ()  # in place of ``stops``


Ended = tuple[Request, np.ndarray]  # a request and the ids that were drawn for it


def text_of(request: Request, ids: np.ndarray, vocabulary: Vocabulary) -> str:
    """Return the completion that a request and the ids (N,) drawn for it are."""
    text = request.begun + vocabulary.decode(ids)
    if vocabulary.level == "character":
        return text
    return cut(text, request.length, request.stop_texts)


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


@dataclass(eq=False)
class _Group:
    """The slots whose requests share a config."""

    config: CompletionConfig
    slots: set[int] = field(default_factory=set)
    samplers: list[Sampler] = field(default_factory=list)  # once they are needed


class BatchDecoder:
    """B slots, each of which completes one request after the other.

    A step is one array operation after the other for all slots at once. A slot's text
    is a row of `_ids`: the ids of its prompt, then those that were drawn.
    """

    def __init__(
        self,
        model: TrainedModel,
        batch_size: int,
        prompts: PromptReader,
    ):
        """Begin with ``batch_size`` free slots, B."""
        self.batch_size = batch_size
        self._prompts = prompts
        self._decoder = model.decoder(batch_size)
        self._end_id = model.end_id
        self._requests: dict[int, Request] = {}
        self._groups: dict[int, _Group] = {}  # by the identity of their config
        self._observed: set[int] = set()  # the slots whose requests are told of ids
        self._generators: dict[int, np.random.Generator] = {}
        self._slots = np.arange(batch_size)
        self._is_used = np.zeros(batch_size, bool)
        self._ids = np.zeros((batch_size, FIRST_CAPACITY), model.vocabulary.dtype)
        self._prompt_lengths = np.zeros(batch_size, np.int64)
        self._read = np.zeros(batch_size, np.int64)  # how many ids have been read
        self._lengths = np.zeros(batch_size, np.int64)  # characters, at the most
        # Which ids end a slot's completion, or may, as the last one of a stop text.
        self._may_end = np.zeros((batch_size, len(model.vocabulary)), bool)
        self._uniforms = np.zeros((batch_size, UNIFORMS_AHEAD))
        self._vocabulary = model.vocabulary
        self._is_spelled = model.vocabulary.level != "character"
        self._made = np.zeros(batch_size, np.int64)  # characters of longer symbols

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
            if request.state is not None:
                self._decoder.set_state([slot], request.state)
                self._read[slot] = length - 1
            elif (
                length >= LONG_PROMPT
                and request.observe is None
                and (is_repeated or self._prompts.has_read(request.prompt_ids))
            ):
                self._decoder.set_state([slot], self._prompts.state(request.prompt_ids))
                self._read[slot] = length - 1
            self._lengths[slot] = request.length
            self._may_end[slot] = False
            self._may_end[slot, [int(stop[-1]) for stop in request.stops]] = True
            if self._is_spelled:
                self._begin_spelling(slot, request)
            if self._end_id is not None:
                self._may_end[slot, self._end_id] = True
            self._use(slot, request, np.random.default_rng(request.seed))
        return bool(self._requests)

    def _begin_spelling(self, slot: int, request: Request) -> None:
        """Count a slot's characters, and look for its stop texts inside symbols."""
        self._made[slot] = len(request.begun)
        for stop in filter(None, request.stop_texts):
            self._may_end[slot, completing(self._vocabulary.symbols, stop)] = True
            if stop in request.begun:
                self._lengths[slot] = 0

    def _use(self, slot: int, request: Request, generator: np.random.Generator) -> None:
        self._is_used[slot] = True
        self._requests[slot], self._generators[slot] = request, generator
        key = id(request.config)
        self._groups.setdefault(key, _Group(request.config)).slots.add(slot)
        if request.observe is not None:
            self._observed.add(slot)

    def _free(self, slot: int) -> Request:
        """Let a slot wait for its next request, and return the one that it had."""
        self._is_used[slot] = False
        self._observed.discard(slot)
        del self._generators[slot]
        request = self._requests.pop(slot)
        key = id(request.config)
        self._groups[key].slots.remove(slot)
        if not self._groups[key].slots:
            del self._groups[key]
        return request

    def step(self) -> list[Ended]:
        """Let every slot read one id, and draw the next one if its prompt is read."""
        logits = self._decoder.step(self._ids[self._slots, self._read])
        self._read += self._is_used
        drawn_before = self._read - self._prompt_lengths  # negative within a prompt
        is_drawing = self._is_used & (drawn_before >= 0)
        if not is_drawing.any():
            self._tell_observers(logits)
            return []
        drawn = self._draw(logits, drawn_before % UNIFORMS_AHEAD, is_drawing)
        drawing = is_drawing.nonzero()[0]
        self._make_room_for(int(self._read.max()) + 1)
        self._ids[drawing, self._read[drawing]] = drawn[drawing]
        self._tell_observers(logits)
        if self._is_spelled:
            self._made += self._vocabulary.characters[drawn] * is_drawing
            has_ended = self._made >= self._lengths
        else:
            has_ended = drawn_before + 1 == self._lengths
        has_ended |= self._may_end[self._slots, drawn]
        ended = (has_ended & is_drawing).nonzero()[0].tolist()
        return [result for slot in ended if (result := self._finished(slot))]

    def _tell_observers(self, logits: np.ndarray) -> None:
        for slot in self._observed:
            observe, place = self._requests[slot].observe, int(self._read[slot])
            assert observe is not None
            observe(place, int(self._ids[slot, place]), logits[slot])

    def _draw(
        self, logits: np.ndarray, columns: np.ndarray, is_drawing: np.ndarray
    ) -> np.ndarray:
        """Draw an id for every slot, by the numbers in ``columns`` of its uniforms."""
        for slot in (is_drawing & (columns == 0)).nonzero()[0].tolist():
            self._generators[slot].random(out=self._uniforms[slot])
        uniforms = self._uniforms[self._slots, columns]
        if len(self._groups) == 1:
            (group,) = self._groups.values()
            if group.config.is_plain:
                return sample_batch(logits, uniforms, group.config)
        drawn = np.zeros(len(logits), np.int64)
        for group in self._groups.values():
            slots = np.array(sorted(group.slots))
            slots = slots[is_drawing[slots]]
            if len(slots):
                drawn[slots] = self._draw_alike(group, logits, uniforms, slots)
        return drawn

    def _draw_alike(
        self, group: _Group, logits: np.ndarray, uniforms: np.ndarray, slots: np.ndarray
    ) -> np.ndarray:
        """Draw an id for each of some slots (N,) of a group → (N,)."""
        logits, uniforms = logits[slots], uniforms[slots]
        if group.config.is_plain:
            return sample_batch(logits, uniforms, group.config)
        from textgen.generation.chains import draw, parts_of
        from textgen.generation.samplers import Texts, apply

        group.samplers = group.samplers or parts_of(group.config)[0]
        own = self._ids[slots], self._prompt_lengths[slots], self._read[slots]
        return draw(apply(group.samplers, logits, Texts(*own)), uniforms)

    def _finished(self, slot: int) -> Ended | None:
        """Free a slot if what was drawn last ends its completion, and return that."""
        request = self._requests[slot]
        ids = self._ids[slot, self._prompt_lengths[slot] : self._read[slot] + 1]
        if ids[-1] == self._end_id:
            ids = ids[:-1]
        elif self._is_spelled:
            stops = request.stop_texts
            if self._made[slot] < self._lengths[slot] and not has_stop(
                request.begun, ids, self._vocabulary, stops
            ):
                return None
        elif stop := longest_at_end(ids, request.stops):
            ids = ids[:-stop]
        elif len(ids) < request.length:
            return None  # the last symbol of a stop text came, but not all of it
        return self._free(slot), ids.copy()

    def drop(self, request: Request) -> None:
        """Free the slot of a request that is no longer wanted, if it has one."""
        for slot, other in self._requests.items():
            if other is request:
                self._free(slot)
                return

    def used(self) -> int:
        """Return how many slots work on a request."""
        return len(self._requests)

    def so_far(self) -> Iterator[tuple[Request, np.ndarray]]:
        """Yield each request under way with the ids drawn for it, not a copy."""
        for slot, request in self._requests.items():
            start, end = self._prompt_lengths[slot], self._read[slot] + 1
            yield request, self._ids[slot, start : max(start, end)]

    def hand_over(self, other: BatchDecoder) -> None:
        """Let a decoder with no request and enough slots go on with all of these."""
        old = sorted(self._requests)
        other._make_room_for(self._ids.shape[1])
        other._ids[: len(old), : self._ids.shape[1]] = self._ids[old]
        own = "_prompt_lengths", "_read", "_lengths", "_made", "_may_end", "_uniforms"
        for name in own:
            getattr(other, name)[: len(old)] = getattr(self, name)[old]
        for new, slot in enumerate(old):
            other._decoder.set_state([new], self._decoder.state(slot))
            generator = self._generators[slot]
            other._use(new, self._free(slot), generator)

    def _make_room_for(self, length: int) -> None:
        """Lengthen all slots' texts, at least twofold, if one needs more room."""
        batch_size, capacity = self._ids.shape
        if length > capacity:
            longer = np.zeros((batch_size, max(length, 2 * capacity)), self._ids.dtype)
            longer[:, :capacity] = self._ids
            self._ids = longer
