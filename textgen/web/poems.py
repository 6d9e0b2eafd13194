"""Poems of a form over HTTP, line by line: what a request asks for, and its answer."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from textgen.config import CompletionConfig
from textgen.errors import TextgenError
from textgen.generation.forms import Form, find_form
from textgen.generation.poems import check_writes_forms, stream_poem
from textgen.generation.streaming import (
    check_prompt,
    check_seed,
    first_id,
    fresh_seed,
)
from textgen.saving.trained_model import TrainedModel
from textgen.system.process import is_installed
from textgen.web.errors import ApiError
from textgen.web.protocol import (
    Prompt,
    check_names,
    find_model,
    read_flag,
    read_object,
    read_prompt,
    refusal,
)
from textgen.web.workers import Workers

DRAWING = ("temperature", "top_k", "top_p", "label")
FORM = ("form", "rhyme_scheme", "syllables")
KNOWN = ("model", "prompt", "seed", "stream", "strict", *FORM, *DRAWING)
LIBRARY = "pronouncing"
GIVEN_UP = ApiError(499, "the client has gone")


@dataclass(frozen=True)
class WantedPoem:
    """What a request asks for."""

    model: str
    prompt: Prompt
    form: Form
    config: CompletionConfig
    seed: int
    stream: bool


def read_poem_request(
    body: bytes, models: Mapping[str, TrainedModel], max_prompt: int
) -> WantedPoem:
    """Return what a request's body asks for; an `ApiError` says what is wrong."""
    given = read_object(body)
    try:
        check_names(given, KNOWN, "a poem")
        name = find_model(given.get("model", next(iter(models))), models)
        drawing = {each: given[each] for each in DRAWING if each in given}
        seed = given.get("seed")
        strict = read_flag(given, "strict")
        prompt = check_prompt(given.get("prompt", ""))
        config = CompletionConfig(**drawing)
        first_id(models[name], config.label)  # raises for a label that it doesn't know
        return WantedPoem(
            model=name,
            prompt=read_prompt(prompt, models[name], max_prompt, strict),
            form=find_form(*map(given.get, FORM)),
            config=config,
            seed=fresh_seed() if seed is None else check_seed(seed),
            stream=read_flag(given, "stream"),
        )
    except TextgenError as error:
        raise refusal(error, given) from None


def why_no_forms(model: TrainedModel) -> str | None:
    """Return why a model's poems can't be had here; None if they can."""
    if not is_installed(LIBRARY):
        return "`form` needs a library: pip install 'textgen-lstm[forms]'"
    try:
        check_writes_forms(model)
    except TextgenError as error:
        return str(error)
    return None


class Poem:
    """A poem under way, made a line at a time in the workers' threads."""

    def __init__(
        self,
        workers: Workers,
        model: TrainedModel,
        wanted: WantedPoem,
        under_way: set[Poem],
    ) -> None:
        """Take a place and join those ``under_way``, until it is cancelled."""
        self._workers, self._model, self._wanted = workers, model, wanted
        self._leave = contextlib.ExitStack()
        self._leave.enter_context(workers.place())
        under_way.add(self)
        self._leave.callback(under_way.discard, self)
        self._end: ApiError | None = None  # what is to end it
        self._lines: Iterator[str] = iter(())

    async def begin(self) -> None:
        """Read the prompt; an `ApiError` says why there can't be a poem."""
        wanted = self._wanted

        def begin() -> Iterator[str]:
            text = wanted.prompt.fitted.text
            return stream_poem(
                self._model, text, wanted.form, wanted.config, wanted.seed, self._check
            )

        try:
            self._lines = await self._workers.run(begin)
        except TextgenError as error:
            raise refusal(error, KNOWN) from None

    def _check(self) -> None:
        if self._end is not None:
            raise self._end

    def cancel(self) -> None:
        """Leave its place, and end it at its next try of a line."""
        self.give_up(GIVEN_UP)
        self._leave.close()

    def give_up(self, reason: ApiError) -> None:
        """End it at its next try, and tell who waits for it why."""
        self._end = self._end or reason

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what each line adds to the prompt, the prompt first, as it was read."""
        note = self._wanted.prompt.fitted.describe()
        notes = {"warnings": [note]} if note else {}
        text = self._wanted.prompt.fitted.text
        yield {"text": text, "seed": self._wanted.seed, **notes}
        try:
            while line := await self._workers.run(lambda: next(self._lines, None)):
                yield {"text": line}
        except TextgenError as error:
            raise refusal(error, KNOWN) from None

    async def whole(self) -> dict[str, Any]:
        """Return the poem at once."""
        events = [event async for event in self.events()]
        return {**events[0], "text": "".join(event["text"] for event in events)}
