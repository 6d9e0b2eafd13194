"""Completions that come and go while others are made: what a server needs.

    engine = Engine({"sonnets": model}, deliver)
    engine.submit([job])    a thread of the engine works on it from its next step on
    engine.cancel(job)      frees its slot at the next step
    engine.close()          ends the threads

All jobs for a model share a batch ("continuous batching"). Each text is the one that
`generate_output` makes of its prompt and seed, whoever else is there; `deliver` is told
of its characters as they come, in the engine's thread.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from textgen.generation.batch import MAX_BATCH_SIZE
from textgen.generation.batch_decoder import (
    BatchDecoder,
    Ended,
    PromptReader,
    Request,
    text_of,
)
from textgen.generation.halves import LEAST_HALF, threads_for
from textgen.inference.base import State
from textgen.inference.decoder import AnyDecoder
from textgen.saving.trained_model import TrainedModel

# A step takes longer the more slots there are, used or not, so a batch has as many as
# it needs, or nearly. It is made smaller where a half would do.
BATCH_SIZES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
# Characters are delivered together, since handing them over costs more than making
# them: at once where they are a text's first ones, else after this time, and so that
# each thread delivers to so many texts a second at the most.
LEAST_WAIT_S = 0.005
DELIVERIES_PER_S = 600
# A prompt is read a symbol at each step of the batch. If that would take long, it is
# read alone, where a symbol comes sooner but costs more: in this share of the time.
LONG_READ_S = 1.0
READ_SHARE = 0.25
READ_AT_ONCE = 8  # symbols between two looks at the clock
READ_ALONE_S = 0.01  # and no other text is there to wait


@dataclass(eq=False)
class Job:
    """A completion that is wanted of one of the engine's models."""

    model: str
    request: Request
    stops: tuple[str, ...] = ()  # the texts whose ids the request's ``stops`` are
    is_streamed: bool = False  # else all characters are delivered at its end
    delivered: int = 0  # characters


class Delivery(NamedTuple):
    """New characters of a job, and how it ended if it has."""

    job: Job
    text: str
    reason: str | None = None  # ``stop`` or ``length``; ``error``
    error: Exception | None = None


Deliver = Callable[[list[Delivery]], None]


class EngineFullError(Exception):
    """No more jobs are taken for now."""


class Engine:
    """Completes jobs for several models, in one or two threads of its own.

    A model's jobs are all in one thread until there are enough for two halves; those
    for another model are in the thread with less to do.
    """

    def __init__(
        self,
        models: Mapping[str, TrainedModel],
        deliver: Deliver,
        *,
        running: int = MAX_BATCH_SIZE,
        waiting: int = MAX_BATCH_SIZE,
    ) -> None:
        """Start the threads, which call ``deliver``.

        Of each model so many completions are ``running`` at once at the most, and so
        many more of all models may be ``waiting``.
        """
        self._deliver = deliver
        self._most = running + waiting
        self._lock = threading.Lock()
        self._lane_of: dict[Job, _Lane] = {}
        threads = threads_for(running)
        self._lanes = [
            _Lane(models, running // threads, self._deliver_all) for _ in range(threads)
        ]
        for lane in self._lanes:
            lane.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Begin all of some jobs as soon as there are slots.

        Raises:
            EngineFullError: if that would be more than may wait; none is begun then.
        """
        with self._lock:
            if len(self._lane_of) + len(jobs) > self._most:
                raise EngineFullError
            for job in jobs:
                self._lane_of[job] = lane = self._lane_for(job.model)
                lane.orders.put((lane.add, job))

    def _lane_for(self, model: str) -> _Lane:
        loads = Counter(self._lane_of.values())
        jobs = [lane for job, lane in self._lane_of.items() if job.model == model]
        own = Counter(jobs)
        for lane in self._lanes:
            if 0 < own[lane] < LEAST_HALF:
                return lane
        return min(self._lanes, key=lambda lane: loads[lane])

    def cancel(self, job: Job) -> None:
        """Forget a job that is no longer wanted; nothing if it has ended."""
        with self._lock:
            lane = self._lane_of.pop(job, None)
        if lane is not None:
            lane.orders.put((lane.drop, job))

    def counts(self) -> tuple[int, int]:
        """Return how many jobs have a slot, and how many wait for one."""
        running = sum(lane.running for lane in self._lanes)
        return running, max(0, len(self._lane_of) - running)

    def close(self) -> None:
        """End the threads, at their next steps, with whatever they work on."""
        for lane in self._lanes:
            lane.orders.put((lane.end, None))
        for lane in self._lanes:
            lane.join()

    def _deliver_all(self, deliveries: list[Delivery]) -> None:
        with self._lock:
            wanted = [each for each in deliveries if each.job in self._lane_of]
            for each in wanted:
                if each.reason is not None:
                    del self._lane_of[each.job]
        if wanted:
            self._deliver(wanted)


class _Lane(threading.Thread):
    """A thread with a batch for each model that it has jobs for.

    Only this thread touches them; others put ``orders``.
    """

    def __init__(
        self, models: Mapping[str, TrainedModel], slots: int, deliver: Deliver
    ) -> None:
        super().__init__(name="textgen-engine", daemon=True)
        self.orders: queue.SimpleQueue[tuple[Callable, Job | None]] = (
            queue.SimpleQueue()
        )
        self.running = 0
        self._models, self._slots, self._deliver = models, slots, deliver
        self._batches: dict[str, _Batch] = {}
        self._has_ended = False
        self._last_delivery_s = 0.0

    def add(self, job: Job) -> None:
        """Take a job."""
        if job.model not in self._batches:
            batch = _Batch(self._models[job.model], self._slots)
            self._batches[job.model] = batch
        self._batches[job.model].add(job)

    def drop(self, job: Job) -> None:
        """Let go of a job."""
        if job.model in self._batches:  # else it failed
            self._batches[job.model].drop(job)

    def end(self, _: None) -> None:
        """End after this step."""
        self._has_ended = True

    def run(self) -> None:
        """Obey the orders, and advance all batches by a step as long as there are."""
        while not self._has_ended:
            busy = {name: x for name, x in self._batches.items() if x.has_jobs()}
            self._obey(wait=not busy)
            for name, batch in busy.items():
                try:
                    if ended := list(batch.advance()):
                        self._deliver(ended)
                except Exception as error:
                    # What is wrong with one batch must not end the others.
                    failed = self._batches.pop(name).jobs()
                    self._deliver([Delivery(job, "", "error", error) for job in failed])
            self.running = sum(batch.used() for batch in self._batches.values())
            self._deliver_what_is_due()

    def _obey(self, wait: bool) -> None:
        try:
            while not self._has_ended:
                obey, job = self.orders.get(block=wait)
                obey(job)
                wait = False
        except queue.Empty:
            pass

    def _deliver_what_is_due(self) -> None:
        streams = sum(batch.streams() for batch in self._batches.values())
        wait_s = max(LEAST_WAIT_S, streams / DELIVERIES_PER_S)
        now_s = time.monotonic()
        is_due = now_s >= self._last_delivery_s + wait_s
        if is_due:
            self._last_delivery_s = now_s
        new = [x for each in self._batches.values() for x in each.new_texts(is_due)]
        if new:
            self._deliver(new)


class _Batch:
    """The jobs for one model in a lane: waiting, being read, or in slots."""

    def __init__(self, model: TrainedModel, slots: int) -> None:
        self._model = model
        self._slots = min(slots, model.max_batch_size)
        self._sizes = [size for size in BATCH_SIZES if size < self._slots]
        self._sizes.append(self._slots)
        self._prompts = PromptReader(model, threading.Event())
        self._decoders: dict[int, BatchDecoder] = {}  # by their size
        self._decoder = self._decoder_of(self._sizes[0])
        self._step_s = 0.0  # what a step takes
        self._waiting: deque[Job] = deque()
        self._reader = _Reader(model)
        self._jobs: dict[int, Job] = {}  # in slots, by the identity of their request
        self._silent: set[Job] = set()  # those in slots of which nothing was delivered

    def add(self, job: Job) -> None:
        """Let a job wait for a slot."""
        self._waiting.append(job)

    def jobs(self) -> list[Job]:
        """Return all jobs."""
        return [*self._waiting, *self._reader.jobs, *self._jobs.values()]

    def has_jobs(self) -> bool:
        """Tell if there is something to do."""
        return bool(self._waiting or self._reader.jobs or self._jobs)

    def used(self) -> int:
        """Return how many slots jobs take, those whose prompts are read included."""
        return len(self._reader.jobs) + len(self._jobs)

    def streams(self) -> int:
        """Return how many jobs are streamed."""
        return sum(job.is_streamed for job in self._jobs.values())

    def drop(self, job: Job) -> None:
        """Let go of a job."""
        if job in self._waiting:
            self._waiting.remove(job)
        elif job in self._reader.jobs:
            self._reader.drop(job)
        elif self._jobs.pop(id(job.request), None) is not None:
            self._silent.discard(job)
            self._decoder.drop(job.request)

    def advance(self) -> Iterator[Delivery]:
        """Give the waiting slots, take a step, and yield what has ended."""
        ready: list[Job] = []
        while self._waiting and self.used() + len(ready) < self._slots:
            job = self._waiting.popleft()
            if self._is_better_read_alone(job, len(self._jobs) + len(ready)):
                self._reader.jobs.append(job)
            else:
                ready.append(job)
        if self._reader.jobs:
            others_wait = bool(self._jobs or ready)
            share_s = self._step_s * READ_SHARE / (1 - READ_SHARE)
            ready += self._reader.read(share_s if others_wait else READ_ALONE_S)
        for job in ready:
            self._jobs[id(job.request)] = job
            self._silent.add(job)
        if not self._jobs:
            return
        self._fit()
        if ready:
            self._decoder.fill(job.request for job in ready)
        started_s = time.perf_counter()
        ended = self._decoder.step()
        self._step_s = _smoothed(self._step_s, time.perf_counter() - started_s)
        for each in ended:
            yield self._last_delivery(each)

    def _is_better_read_alone(self, job: Job, others: int) -> bool:
        length = len(job.request.prompt_ids)
        with_others_s = length * self._step_s
        if not others or with_others_s < LONG_READ_S or job.request.state is not None:
            return False
        alone_s = (self._reader.left() + length) * self._reader.symbol_s / READ_SHARE
        return alone_s < with_others_s

    def _fit(self) -> None:
        """Go on with a batch of another size if this one is too small or too large."""
        count, size = len(self._jobs), self._decoder.batch_size
        if count > size or count <= size // 2:
            fitting = next(size for size in self._sizes if size >= count)
            if fitting != size:
                decoder = self._decoder_of(fitting)
                self._decoder.hand_over(decoder)
                self._decoder = decoder

    def _decoder_of(self, size: int) -> BatchDecoder:
        if size not in self._decoders:
            self._decoders[size] = BatchDecoder(self._model, size, self._prompts)
        return self._decoders[size]

    def _last_delivery(self, ended: Ended) -> Delivery:
        request, ids = ended
        job = self._jobs.pop(id(request))
        self._silent.discard(job)
        text = text_of(request, ids, self._model.vocabulary)
        new, job.delivered = text[job.delivered :], len(text)
        return Delivery(job, new, "length" if len(text) == request.length else "stop")

    def new_texts(self, is_due: bool) -> Iterator[Delivery]:
        """Yield what is new of the streamed texts, of all or of those just begun."""
        if not is_due and not self._silent:
            return
        for request, ids in self._decoder.so_far():
            job = self._jobs[id(request)]
            if job.is_streamed and (is_due or job in self._silent):
                text = self._new_text(job, ids)
                if text := text[: len(text) - _held_back(text, job.stops)]:
                    job.delivered += len(text)
                    self._silent.discard(job)
                    yield Delivery(job, text)

    def _new_text(self, job: Job, ids: np.ndarray) -> str:
        """Return what of a job's text so far, of which ids (N,) are drawn, is new."""
        vocabulary = self._model.vocabulary
        if vocabulary.level == "character":
            return vocabulary.decode(ids[job.delivered :])
        return text_of(job.request, ids, vocabulary)[job.delivered :]


class _Reader:
    """Reads prompts alone, one after the other, a few symbols at a time."""

    def __init__(self, model: TrainedModel) -> None:
        self.jobs: deque[Job] = deque()
        self.symbol_s = 0.0  # what a symbol takes
        self._model = model
        self._decoder: AnyDecoder | None = None
        self._place = 0  # how much of the first job's prompt is read
        self._last: tuple[np.ndarray, State] | None = None  # a prompt, and its state

    def left(self) -> int:
        """Return how many symbols are still to be read."""
        return sum(len(job.request.prompt_ids) for job in self.jobs) - self._place

    def drop(self, job: Job) -> None:
        """Let go of a job."""
        if job is self.jobs[0]:
            self._place = 0
        self.jobs.remove(job)

    def read(self, seconds: float) -> list[Job]:
        """Read for about so long; return the jobs whose prompts are read."""
        started_s, read, count = time.perf_counter(), [], 0
        while self.jobs:
            job = self.jobs[0]
            state = self._state_after(job.request)
            count += READ_AT_ONCE
            if state is not None:
                job.request = replace(job.request, state=state)
                read.append(job)
                self.jobs.popleft()
                self._place = 0
            if time.perf_counter() - started_s >= seconds:
                break
        taken_s = time.perf_counter() - started_s
        self.symbol_s = _smoothed(self.symbol_s, taken_s / count)
        return read

    def _state_after(self, request: Request) -> State | None:
        """Read on in a prompt; return the state before its last id once it is there."""
        prompt_ids, observe = request.prompt_ids, request.observe
        if self._last is not None and self._last[0] is prompt_ids and observe is None:
            return self._last[1]
        if self._decoder is None:
            self._decoder = self._model.decoder()
        if not self._place:
            self._decoder.reset([0])
        end = min(self._place + READ_AT_ONCE, len(prompt_ids) - 1)
        for place in range(self._place, end):
            logits = self._decoder.step(prompt_ids[place : place + 1])
            if observe is not None:
                observe(place + 1, int(prompt_ids[place + 1]), logits[0])
        self._place = end
        if end < len(prompt_ids) - 1:
            return None
        self._last = prompt_ids, self._decoder.state()
        return self._last[1]


def _smoothed(before: float, now: float) -> float:
    """Return a running mean, in which what is new counts a tenth."""
    return 0.9 * before + 0.1 * now if before else now


def _held_back(text: str, stops: Sequence[str]) -> int:
    """Return how many last characters may be the beginning of a text to stop at.

    >>> _held_back("and so", ["so far", "on"])
    2
    """
    longest = max(map(len, stops), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0
