"""The completions protocol: what a request asks for, and the form of its answer.

It is OpenAI's `/v1/completions`, which most programs that use language models speak. A
token is a character here, whatever the model's symbols are. What isn't given has
textgen's own default; what the protocol has and this server hasn't is refused, so that
nobody believes it was respected.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from textgen.config import CompletionConfig, ServerConfig, options_of
from textgen.data.vocabulary import Fitted
from textgen.errors import OptionError, TextgenError, did_you_mean, shown
from textgen.generation.streaming import (
    check_is_of_characters,
    check_seed,
    first_id,
)
from textgen.saving.trained_model import TrainedModel
from textgen.system.checks import check_number
from textgen.web.errors import ApiError

MOST_COMPLETIONS = 16  # of one request
MOST_STOPS = 4
MOST_STOP_CHARS = 256
MOST_LIKELIEST = 5  # of each place, with logprobs
MOST_PLACES = 20_000  # of a request that have logprobs: 1.2 kB each as it is answered
MOST_TEMPERATURES = 64  # that take turns
# How a character is drawn: the options of `textgen generate` under their own names,
# among them the protocol's `temperature` and `top_p`.
NOT_OF_DRAWING = ("length", "stop", "strict", "beam")
DRAWING = tuple(
    each.name
    for each in options_of(CompletionConfig)
    if each.name not in NOT_OF_DRAWING
)
# What is in the protocol, too, but has one value only here, the usual one.
FIXED: Mapping[str, tuple[Any, ...]] = {
    "suffix": (None, ""),
    "best_of": (None,),
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logit_bias": (None, {}),
}
KNOWN = (
    "model", "prompt", "max_tokens", "n", "seed", "stop", "stream", "stream_options",
    "logprobs", "echo", "strict", "user", *DRAWING, *FIXED,
)  # fmt: skip


@dataclass(frozen=True)
class Prompt:
    """A prompt as it was given, and as its model can read it."""

    text: str
    fitted: Fitted


@dataclass(frozen=True)
class Wanted:
    """What a request asks for."""

    model: str
    prompts: tuple[Prompt, ...]
    config: CompletionConfig  # how characters are drawn; the same object for equal ones
    length: int  # of a completion, at most; 0 to have the prompt judged only
    count: int  # of completions for each prompt
    seed: int | None
    stops: tuple[str, ...]
    likeliest: int | None  # for each place so many, and logprobs; None for none
    echo: bool
    stream: bool
    with_usage: bool  # at the end of a stream

    @property
    def places(self) -> int:
        """How many characters may have logprobs, of all completions together."""
        if self.likeliest is None:
            return 0
        places = len(self.prompts) * self.length
        if self.echo:
            places += sum(len(prompt.fitted.text) for prompt in self.prompts)
        return places * self.count


def read_request(
    body: bytes,
    models: Mapping[str, TrainedModel],
    config: ServerConfig,
) -> Wanted:
    """Return what a request's body asks for, within the server's limits.

    Raises:
        ApiError: if it is no such request, or asks for what there isn't.
    """
    given = read_object(body)
    try:
        return _wanted(given, models, config)
    except TextgenError as error:
        raise refusal(error, given) from None


def refusal(error: TextgenError, given: Iterable[str]) -> ApiError:
    """Return the error for a request one of whose fields is wrong."""
    named = [name for name in given if f"`{name}`" in error.problem]
    param = named[0] if named else None
    return ApiError(400, str(error), param=param, code="invalid_value")


def read_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object's values, without those that are null."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise ApiError(400, "the body must be JSON", code="invalid_json") from None
    if not isinstance(given, dict):
        problem = f"the body must be a JSON object, but was {shown(given)}"
        raise ApiError(400, problem, code="invalid_json")
    return _not_null(given)


def _not_null(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _wanted(
    given: dict[str, Any],
    models: Mapping[str, TrainedModel],
    config: ServerConfig,
) -> Wanted:
    check_names(given, KNOWN, "a completion")
    for name in given:
        if name in FIXED and given[name] not in FIXED[name]:
            raise OptionError(f"`{name}` is not supported here", "leave it out")
    name = find_model(given.get("model", next(iter(models))), models)
    strict = read_flag(given, "strict")
    prompts = tuple(
        read_prompt(text, models[name], config.max_prompt, strict)
        for text in _prompts(given)
    )
    count = check_number("n", given.get("n", 1), 1, MOST_COMPLETIONS, whole=True)
    if count * len(prompts) > MOST_COMPLETIONS:
        raise OptionError(
            f"`n` times the number of prompts must be at most {MOST_COMPLETIONS}, but "
            f"was {count * len(prompts)}"
        )
    usual = min(CompletionConfig.length, config.max_length)
    length = given.get("max_tokens", usual)
    seed = given.get("seed")
    completion = _config(given)
    # Raises for a label that the model doesn't know.
    first_id(models[name], completion.label)
    wanted = Wanted(
        model=name,
        prompts=prompts,
        config=completion,
        length=check_number("max_tokens", length, 0, config.max_length, whole=True),
        count=count,
        seed=None if seed is None else check_seed(seed),
        stops=_stops(given),
        likeliest=_likeliest(given, models[name]),
        echo=read_flag(given, "echo"),
        stream=read_flag(given, "stream"),
        with_usage=_with_usage(given),
    )
    _check_places(wanted)
    return wanted


def _likeliest(given: dict[str, Any], model: TrainedModel) -> int | None:
    likeliest = given.get("logprobs")
    if likeliest is None:
        return None
    check_is_of_characters(model, "`logprobs`")
    return check_number("logprobs", likeliest, 0, MOST_LIKELIEST, whole=True)


def _check_places(wanted: Wanted) -> None:
    """Raise `OptionError` if more places would have logprobs than memory is for."""
    if (places := wanted.places) > MOST_PLACES:
        raise OptionError(
            f"`logprobs` are for {MOST_PLACES:,} characters of all completions at most "
            f"(with `echo` of their prompts, too), not {places:,}",
            "lower `max_tokens` or `n`, or send several requests",
        )


def check_names(given: Iterable[str], known: Collection[str], what: str) -> None:
    """Raise `OptionError` for a field that isn't known."""
    for name in given:
        if name not in known:
            meant = did_you_mean(name, known, quote="`")
            raise OptionError(f"{shown(name)} is no option of {what}{meant}")


def find_model(name: Any, models: Mapping[str, TrainedModel]) -> str:
    """Return a model's name; raise an `ApiError` if there is none of that name."""
    if isinstance(name, str) and name in models:
        return name
    listed = ", ".join(map(repr, models))
    raise ApiError(
        404,
        f"there is no model {shown(name)} here, only {listed}",
        param="model",
        code="model_not_found",
    )


def _prompts(given: dict[str, Any]) -> list[str]:
    if "prompt" not in given:
        raise OptionError("a `prompt` is missing", 'give one; "" begins from nothing')
    prompt = given["prompt"]
    prompts = prompt if isinstance(prompt, list) else [prompt]
    if not prompts or not all(isinstance(text, str) for text in prompts):
        kinds = "text or a list of texts (not of tokens' numbers)"
        raise OptionError(f"`prompt` must be {kinds}, but was {shown(prompt)}")
    return prompts


def read_prompt(text: str, model: TrainedModel, most: int, strict: bool) -> Prompt:
    """Return a prompt as its model reads it, if it has ``most`` characters at most."""
    if len(text) > most:
        problem = f"`prompt` must have {most:,} characters at most, not {len(text):,}"
        raise OptionError(problem, "give its end only")
    if strict:
        model.vocabulary.encode(text)
    return Prompt(text, model.vocabulary.fit(text))


def _stops(given: dict[str, Any]) -> tuple[str, ...]:
    stop = given.get("stop", [])
    stops = stop if isinstance(stop, list) else [stop]
    if len(stops) > MOST_STOPS or not all(
        isinstance(text, str) and 0 < len(text) <= MOST_STOP_CHARS for text in stops
    ):
        kinds = f"1 to {MOST_STOP_CHARS} characters, or {MOST_STOPS} such texts at most"
        raise OptionError(f"`stop` must be {kinds}, but was {shown(stop)}")
    return tuple(stops)


def read_flag(given: dict[str, Any], name: str) -> bool:
    """Return a field that is true or false; false if it isn't given."""
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise OptionError(f"`{name}` must be true or false, but was {shown(value)}")
    return value


def _with_usage(given: dict[str, Any]) -> bool:
    options = given.get("stream_options", {})
    if not isinstance(options, dict):
        received = shown(options)
        raise OptionError(f"`stream_options` must be an object, but was {received}")
    return read_flag(_not_null(options), "include_usage")


def _config(given: dict[str, Any]) -> CompletionConfig:
    options = {name: given[name] for name in DRAWING if name in given}
    temperature = options.get("temperature")
    if isinstance(temperature, list) and len(temperature) > MOST_TEMPERATURES:
        count = len(temperature)
        problem = (
            f"`temperature` must be {MOST_TEMPERATURES} numbers at most, not {count}"
        )
        raise OptionError(problem)
    return _the_same(CompletionConfig(**options))


@functools.lru_cache(maxsize=1024)
def _the_same(config: CompletionConfig) -> CompletionConfig:
    """Return one object for all configs that are equal: they draw together."""
    return config
