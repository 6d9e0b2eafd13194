"""A request's completions, from the engine's threads to the client.

The engine delivers characters in a thread of its own; `Service` hands them over to the
event loop, where each request's `Completions` wait for theirs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import islice
from typing import Any
from uuid import uuid4

from textgen.errors import TextgenError
from textgen.generation.batch import completion_seeds
from textgen.generation.batch_decoder import Request
from textgen.generation.endings import stop_ids
from textgen.generation.engine import Delivery, Engine, EngineFullError, Job
from textgen.generation.healing import Openings
from textgen.generation.streaming import fresh_seed
from textgen.saving.trained_model import TrainedModel
from textgen.web.errors import ApiError, stopping
from textgen.web.metrics import Metrics
from textgen.web.protocol import Prompt, Wanted
from textgen.web.scores import Scores

MOST_RUNNING = 256  # completions at once, of each model
MOST_WAITING = 256  # more, of all models; then none is taken
RETRY_AFTER_S = 5
MOST_PLACES_UNDER_WAY = 400_000  # with logprobs: half a kB each until they are answered


class Service:
    """The engine, and whose its jobs are. Belongs to an event loop."""

    def __init__(
        self,
        models: Mapping[str, TrainedModel],
        metrics: Metrics,
    ) -> None:
        """Start the engine; needs a running event loop."""
        self.models, self.metrics = models, metrics
        self._loop = asyncio.get_running_loop()
        self._owners: dict[Job, Completions] = {}
        self._places: dict[Completions, int] = {}  # with logprobs, of those under way
        self._engine = Engine(
            models, self._deliver, running=MOST_RUNNING, waiting=MOST_WAITING
        )

    def _deliver(self, deliveries: list[Delivery]) -> None:
        self._loop.call_soon_threadsafe(self._hand_out, deliveries)

    def _hand_out(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            owner = self._owners.get(delivery.job)
            if owner is not None:
                if delivery.reason is not None:
                    del self._owners[delivery.job]
                owner.take(delivery)

    def begin(self, jobs: Sequence[Job], owner: Completions, places: int) -> None:
        """Hand jobs to the engine; an `ApiError` says that there is no room.

        So many ``places`` may have logprobs, whose memory is bounded.
        """
        try:
            if sum(self._places.values()) + places > MOST_PLACES_UNDER_WAY:
                raise EngineFullError
            self._engine.submit(jobs)
        except EngineFullError:
            raise ApiError(
                429,
                f"too much is under way: try again in {RETRY_AFTER_S} s",
                code="queue_full",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            ) from None
        self._owners.update(dict.fromkeys(jobs, owner))
        self._places[owner] = places

    def cancel(self, jobs: Sequence[Job], owner: Completions) -> None:
        """Give up those of the jobs that haven't ended."""
        self._places.pop(owner, None)
        for job in jobs:
            if self._owners.pop(job, None) is not None:
                self._engine.cancel(job)
                self.metrics.cancelled.inc()

    def give_up(self) -> None:
        """End all jobs: whoever waits for them is told that the server stops."""
        error = stopping()
        for job, owner in list(self._owners.items()):
            self._engine.cancel(job)
            owner.take(Delivery(job, "", "error", error))
        self._owners.clear()

    def metrics_text(self) -> bytes:
        """Return the counters as Prometheus reads them."""
        return self.metrics.text(*self._engine.counts())

    async def close(self) -> None:
        """End the engine."""
        await asyncio.to_thread(self._engine.close)


class Completions:
    """What one request asks for, under way: ``count`` completions of each prompt."""

    def __init__(
        self, service: Service, wanted: Wanted, openings: Sequence[Openings]
    ) -> None:
        """Begin all of them; an `ApiError` says that there is no room.

        The ``openings`` are those of each prompt.
        """
        self._service, self._wanted = service, wanted
        self._model = service.models[wanted.model]
        self._head = {
            "id": f"cmpl-{uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": wanted.model,
        }
        self._started_s = time.monotonic()
        self._arrived = asyncio.Event()
        self._deliveries: list[Delivery] = []
        self._jobs: dict[Job, int] = {}  # and the index of each choice
        self._prompts: list[Prompt] = []  # of each choice
        self._scores: list[Scores | None] = []  # likewise
        self._characters = [0] * (len(wanted.prompts) * wanted.count)
        for prompt, each in zip(wanted.prompts, openings, strict=True):
            self._add_jobs(prompt, each)
        service.begin(list(self._jobs), self, wanted.places)
        read = sum(len(prompt.fitted.text) for prompt in wanted.prompts)
        service.metrics.prompt_characters.labels(wanted.model).inc(read)
        self._delivered = service.metrics.characters.labels(wanted.model)
        self._usage_of_prompts = read

    def _add_jobs(self, prompt: Prompt, openings: Openings) -> None:
        wanted, model = self._wanted, self._model
        stops = stop_ids(model.vocabulary, *wanted.stops)
        own_seed = fresh_seed() if wanted.seed is None else wanted.seed
        for seed in islice(completion_seeds(own_seed), wanted.count):
            begin, scores = openings.drawn(wanted.config, seed), None
            if wanted.likeliest is not None:
                first = 0 if wanted.echo else len(begin.ids)
                symbols = model.vocabulary.symbols
                scores = Scores(symbols, wanted.likeliest, first)
            index = len(self._jobs)
            request = Request(
                index, prompt.text, begin.ids, seed, wanted.config,
                max(1, wanted.length), stops, scores.note if scores else None,
                begin.state, begin.text, wanted.stops,
            )  # fmt: skip
            job = Job(wanted.model, request, wanted.stops, wanted.stream)
            self._jobs[job] = index
            self._prompts.append(prompt)
            self._scores.append(scores)

    def take(self, delivery: Delivery) -> None:
        """Take what the engine has made."""
        metrics = self._service.metrics
        is_first = not any(self._characters)
        if is_first and delivery.text and self._wanted.stream:
            metrics.first_character_s.observe(time.monotonic() - self._started_s)
        self._characters[self._jobs[delivery.job]] += len(delivery.text)
        self._delivered.inc(len(delivery.text))
        if delivery.reason is not None:
            metrics.completions.labels(self._wanted.model, delivery.reason).inc()
        self._deliveries.append(delivery)
        self._arrived.set()

    def cancel(self) -> None:
        """Give up what hasn't ended."""
        self._service.cancel(list(self._jobs), self)
        self._service.metrics.request_s.observe(time.monotonic() - self._started_s)

    async def whole(self) -> dict[str, Any]:
        """Return the response with all texts, once they are made."""
        texts, reasons = [""] * len(self._jobs), [""] * len(self._jobs)
        async for index, text, reason in self._pieces():
            texts[index] += text
            reasons[index] = reason or ""
        choices = [
            self._choice(index, text, 0, reasons[index], is_first=True)
            for index, text in enumerate(texts)
        ]
        return {**self._head, **self._notes(), "choices": choices, **self._usage()}

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the response in pieces as they come."""
        begun: set[int] = set()
        sent = [0] * len(self._jobs)
        async for index, text, reason in self._pieces():
            is_first = index not in begun
            notes = {} if begun else self._notes()
            begun.add(index)
            choice = self._choice(index, text, sent[index], reason, is_first=is_first)
            sent[index] += len(text)
            yield {**self._head, **notes, "choices": [choice]}
        if self._wanted.with_usage:
            yield {**self._head, "choices": [], **self._usage()}

    async def _pieces(self) -> AsyncIterator[tuple[int, str, str | None]]:
        """Yield index of the choice, new text and how it ended, until all have."""
        left = len(self._jobs)
        while left:
            await self._arrived.wait()
            self._arrived.clear()
            arrived, self._deliveries = self._deliveries, []
            for job, text, reason, error in arrived:
                if error is not None:
                    raise _failure(error)
                left -= reason is not None
                if self._wanted.length == 0:  # one was drawn for the prompt's sake
                    text, reason = "", reason and "length"
                yield self._jobs[job], text, reason

    def _choice(
        self, index: int, text: str, place: int, reason: str | None, *, is_first: bool
    ) -> dict[str, Any]:
        """Return a choice's next characters, which begin at a place of what is new."""
        prompt, scores = self._prompts[index], self._scores[index]
        request = next(islice(self._jobs, index, None)).request
        shown_prompt = prompt.text if self._wanted.echo and is_first else ""
        logprobs = None
        if scores is not None:
            known = prompt.fitted.text
            before = known if shown_prompt else ""
            new = place - len(before)
            logprobs = scores.of(
                before + text, len(request.prompt_ids) + new, len(known) + new
            )
        return {
            "text": shown_prompt + text,
            "index": index,
            "logprobs": logprobs,
            "finish_reason": reason,
            "seed": request.seed,
        }

    def _notes(self) -> dict[str, Any]:
        """Return what is to be said of characters that the model doesn't know."""
        notes = [prompt.fitted.describe() for prompt in self._wanted.prompts]
        told = list(dict.fromkeys(note for note in notes if note))
        return {"warnings": told} if told else {}

    def _usage(self) -> dict[str, Any]:
        made = sum(self._characters) if self._wanted.length else 0
        usage = {
            "prompt_tokens": self._usage_of_prompts,
            "completion_tokens": made,
            "total_tokens": self._usage_of_prompts + made,
        }
        return {"usage": usage}


def _failure(error: Exception) -> Exception:
    """Return what a request fails with: of the user's making, or a defect."""
    if isinstance(error, TextgenError):
        return ApiError(400, str(error))
    return error
