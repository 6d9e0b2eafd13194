"""Many completions, made together as one batch.

    generate_many    completes each of a list of prompts, or makes a number of texts
    complete_many    yields the completions as they come; the prompts may be endless
    several          yields a number of completions of one prompt
    distinct_lines   yields different lines (names), or texts that are wanted

Each completion is the one that `generate_output` makes of its prompt and seed.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from textgen.config import CompletionConfig, ConstraintConfig
from textgen.errors import OptionError, checks_keywords
from textgen.generation.batch_decoder import Ended, Request, text_of
from textgen.generation.endings import stop_ids
from textgen.generation.halves import drawn_in_batch
from textgen.generation.healing import Openings
from textgen.generation.streaming import (
    as_model,
    check_prompt,
    check_seed,
    fresh_seed,
    ids_to_read,
    openings_of,
)
from textgen.saving.trained_model import TrainedModel
from textgen.system.checks import check_number

if TYPE_CHECKING:
    from textgen.generation.constraints import Constraint

# The most completions that are made together: more would be no faster.
MAX_BATCH_SIZE = 256
# After so many draws in a row that gave no new line, no more are looked for.
FRUITLESS_DRAWS = 2_000
FRUITLESS_LONG_DRAWS = 200
MAX_COUNT = 1_000_000
ANYTHING = ConstraintConfig()


@dataclass(frozen=True)
class Completion:
    """A prompt and what the model made of it."""

    prompt: str  # as it was given
    text: str  # the new characters
    seed: int  # repeats the completion, alone or among others


@checks_keywords
def generate_many(
    model: TrainedModel | str | os.PathLike | None,
    prompts_or_count: Sequence[str] | int,
    *,
    length: int = CompletionConfig.length,
    temperature: float | Sequence[float] = CompletionConfig.temperature,
    top_k: int | None = CompletionConfig.top_k,
    top_p: float | None = CompletionConfig.top_p,
    min_p: float | None = CompletionConfig.min_p,
    typical_p: float | None = CompletionConfig.typical_p,
    repetition_penalty: float | None = CompletionConfig.repetition_penalty,
    no_repeat_ngram: int | None = CompletionConfig.no_repeat_ngram,
    beam: int | None = CompletionConfig.beam,
    sampler: Any = CompletionConfig.sampler,
    seed: int | Sequence[int] | None = None,
    stop: str | None = CompletionConfig.stop,
    strict: bool = CompletionConfig.strict,
    label: str | None = CompletionConfig.label,
    starts_with: str | None = None,
    ends_with: str | None = None,
    contains: str | None = None,
    matching: str | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    novel: bool = False,
    distinct: bool = False,
) -> list[Completion]:
    """Make many completions together, which is much faster than one by one.

    Each is the one that `generate_output` makes with its seed. (Rarely a symbol may
    differ, since a float32 product of a batch is rounded differently in its last bits.)

    ``prompts_or_count`` are the prompts; or how many texts are to be made without one.
    Of a model of lines these all differ, and they are fewer where it has no more.
    ``seed`` is that of the first completion, from which the others' follow (see
    `completion_seeds`); or one for each prompt; None means a fresh one. What else there
    is, errors and warnings, too, is as for `generate_output`.

    From ``starts_with`` to ``max_length`` they say what each must be like: a line as a
    whole, with its prompt; of a longer text what is added. ``matching`` is a regular
    expression. Of a number of texts, ``novel`` leaves out lines that stand in the
    model's own text, and texts that share 40 characters running with it, and
    ``distinct`` leaves out repetitions. They are fewer if so many don't come. What
    nothing can fit is an `OptionError`.

    Returns:
        The completions, in the order of the prompts.
    """
    model = as_model(model)
    config = CompletionConfig(
        length=length, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        typical_p=typical_p, repetition_penalty=repetition_penalty, beam=beam,
        no_repeat_ngram=no_repeat_ngram, stop=stop, strict=strict, sampler=sampler,
        label=label,
    )  # fmt: skip
    wanted = ConstraintConfig(
        starts_with, ends_with, contains, matching, min_length, max_length,
        novel, distinct,
    )  # fmt: skip
    if isinstance(prompts_or_count, str):
        raise OptionError("`prompts_or_count` must be a list or a number, but was text")
    if not isinstance(prompts_or_count, Sequence):
        count = check_count(prompts_or_count)
        (first,) = _seeds(seed, 1)
        return list(several(model, "", count, first, config, wanted))
    if wanted.chooses:
        problem = "`novel` and `distinct` are for a number of texts"
        raise OptionError(f"{problem}, but there were prompts", "leave them out")
    prompts, seeds = prompts_or_count, _seeds(seed, len(prompts_or_count))
    constraint, size = constraint_of(model, wanted, config), len(prompts)
    return list(
        complete_many(
            model, prompts, seeds, config, batch_size=size, constraint=constraint
        )
    )


def constraint_of(
    model: TrainedModel, wanted: ConstraintConfig, config: CompletionConfig
) -> Constraint | None:
    """Return what a model's texts have to fit; None if anything does."""
    if not wanted.told:
        return None
    if is_search(config):
        raise OptionError(
            f"a search with `beam` can't go with {wanted.told}", "leave one out"
        )
    from textgen.generation.constraints import Constraint

    return Constraint(model, wanted, config)


def _seeds(seed: int | Sequence[int] | None, count: int) -> list[int]:
    if not isinstance(seed, Sequence):
        first = fresh_seed() if seed is None else check_seed(seed)
        return list(islice(completion_seeds(first), count))
    if len(seed) != count:
        expected = f"one number or {count}, one for each completion"
        raise OptionError(f"`seed` must be {expected}, but was {len(seed)} of them")
    return list(seed)


def complete_many(
    model: TrainedModel,
    prompts: Iterable[str],
    seeds: Iterable[int],
    config: CompletionConfig,
    *,
    batch_size: int = MAX_BATCH_SIZE,
    constraint: Constraint | None = None,
) -> Iterator[Completion]:
    """Yield a completion of each prompt in order, each as soon as it is made.

    The prompts may be endless, as they are taken when there is room, and so may their
    seeds. A prompt at fault raises what `generate_output` raises, once it is reached.
    So many completions are made together as ``batch_size``, `MAX_BATCH_SIZE` and the
    model's own limit allow. All of them fit the ``constraint``, if there is one.
    """

    @functools.lru_cache(maxsize=1)
    def openings(prompt: str) -> Openings:
        if constraint is not None:
            constraint.check_prompt(prompt)
            ids = ids_to_read(model, prompt, config.strict, config.label)
            return Openings(model, ids)
        return openings_of(model, prompt, config.strict, config.label)

    is_line = model.end_id is not None
    if constraint is not None and not is_line:
        from textgen.generation.chains import with_first

        config = with_first(config, constraint)
    requests = _requests(model, prompts, seeds, config, openings)
    batch_size = max(1, min(batch_size, MAX_BATCH_SIZE, model.max_batch_size))
    made: dict[int, Completion] = {}
    next_index = 0
    if constraint is not None and is_line:
        from textgen.generation.fitting import fitting_lines

        all_ended = fitting_lines(model, requests, config, constraint, batch_size)
    else:
        all_ended = _complete(model, requests, config, batch_size)
    for request, ids in all_ended:
        text = text_of(request, ids, model.vocabulary)
        made[request.index] = Completion(request.prompt, text, request.seed)
        while next_index in made:
            yield made.pop(next_index)
            next_index += 1


def _requests(
    model: TrainedModel,
    prompts: Iterable[str],
    seeds: Iterable[int],
    config: CompletionConfig,
    openings: Callable[[str], Openings],
) -> Iterator[Request]:
    """Yield a request for each prompt and seed, which shares its ids with its like."""
    stop_texts = [config.stop] if config.stop else []
    stops = stop_ids(model.vocabulary, *stop_texts)
    for index, (prompt, seed) in enumerate(zip(prompts, seeds, strict=False)):
        ways, seed = openings(check_prompt(prompt)), check_seed(seed)
        begin = ways.drawn(config, seed)
        yield Request(
            index, prompt, begin.ids, seed, config, config.length, stops,
            state=begin.state, begun=begin.text, stop_texts=stop_texts,
        )  # fmt: skip


def _complete(
    model: TrainedModel,
    requests: Iterator[Request],
    config: CompletionConfig,
    batch_size: int,
) -> Iterator[Ended]:
    """Yield the requests in the order in which they end, with the ids drawn."""
    if is_search(config):
        for request in requests:
            yield request, _search(model, request, config)[0]
        return
    yield from drawn_in_batch(model, requests, batch_size)


def several(
    model: TrainedModel,
    prompt: str,
    count: int,
    seed: int,
    config: CompletionConfig,
    wanted: ConstraintConfig = ANYTHING,
) -> Iterator[Completion]:
    """Yield completions of a prompt, made together: of a model of lines distinct ones.

    Their seeds are those of `completion_seeds`.
    """
    if model.kind == "lines" or wanted.chooses or is_search(config):
        return distinct_lines(model, prompt, count, seed, config, wanted)
    prompts, seeds = repeat(prompt, count), completion_seeds(seed)
    constraint = constraint_of(model, wanted, config)
    return complete_many(
        model, prompts, seeds, config, batch_size=count, constraint=constraint
    )


def distinct_lines(
    model: TrainedModel,
    prompt: str,
    count: int,
    seed: int,
    config: CompletionConfig,
    wanted: ConstraintConfig = ANYTHING,
) -> Iterator[Completion]:
    """Yield ``count`` completions of a prompt that are wanted: of lines, all differ.

    No line is empty. They are fewer if too many draws in a row give no new one:
    `FRUITLESS_DRAWS` of free lines, and of what takes longer `FRUITLESS_LONG_DRAWS`.
    The draws have the `completion_seeds` of ``seed``. A beam search gives its likeliest
    texts instead.
    """
    check_count(count)
    constraint = constraint_of(model, wanted, config)
    if is_search(config):
        if wanted.chooses:
            problem = "a search with `beam` can't go with `novel` or `distinct`"
            raise OptionError(problem, "leave one out")
        texts = _search_texts(model, prompt, seed, config, count)
        lines = [text for text in dict.fromkeys(texts) if prompt + text]
        yield from (Completion(prompt, text, seed) for text in lines[:count])
        return
    is_known = _known_to(model) if wanted.novel else None
    seeds = completion_seeds(seed)
    draws = complete_many(
        model, repeat(prompt), seeds, config, batch_size=count, constraint=constraint
    )
    is_line = model.kind == "lines"
    are_distinct = is_line or wanted.distinct
    is_quick = is_line and constraint is None
    most = FRUITLESS_DRAWS if is_quick else FRUITLESS_LONG_DRAWS
    seen, found, fruitless = {""} if is_line else set(), 0, 0
    for completion in draws:
        text = prompt + completion.text
        is_old = text in seen and are_distinct
        is_old = is_old or bool(is_known and is_known(prompt, completion.text))
        fruitless = fruitless + 1 if is_old else 0
        if fruitless == most:
            return
        if not fruitless:
            seen.add(text)
            found += 1
            yield completion
            if found == count:
                return


def _known_to(model: TrainedModel) -> Callable[[str, str], bool]:
    from textgen.generation.novel import known_to

    return known_to(model)


def is_search(config: CompletionConfig) -> bool:
    """Tell whether completions are searched for, and not drawn."""
    if config.is_plain:
        return False
    from textgen.generation.chains import parts_of  # only where it is needed

    return parts_of(config)[1] is not None


def _search_texts(
    model: TrainedModel, prompt: str, seed: int, config: CompletionConfig, count: int
) -> list[str]:
    """Return the likeliest completions of a prompt."""
    one = openings_of(model, check_prompt(prompt), config.strict, config.label)
    (request,) = _requests(model, [prompt], [seed], config, lambda _: one)
    found = _search(model, request, config, count)
    return [text_of(request, ids, model.vocabulary) for ids in found]


def _search(
    model: TrainedModel,
    request: Request,
    config: CompletionConfig,
    count: int = 1,
) -> list[np.ndarray]:
    """Return the likeliest completions' ids, as many as a beam search keeps."""
    from textgen.generation.beam import search
    from textgen.generation.chains import parts_of

    samplers, beam = parts_of(config)
    assert beam is not None
    if count > beam.width:
        problem = f"`count` must be at most `beam`, {beam.width}, but was {count}"
        raise OptionError(problem, "a search finds no more texts than it keeps")
    return search(model, request.prompt_ids, config, samplers, beam, request.begun)


def check_count(count: int) -> int:
    """Return a count as an int; raise `OptionError` unless it is 1 to `MAX_COUNT`."""
    return check_number("count", count, 1, MAX_COUNT, whole=True)


def completion_seeds(seed: int) -> Iterator[int]:
    """Yield the seeds of a run of completions, endlessly: ``seed`` itself comes first.

    The i-th, from 1 on, is a hash of (seed, i), so that runs with neighbouring seeds
    have nothing in common, and each completion can be repeated alone by its own seed.
    """
    yield check_seed(seed)
    for index in range(1, 2**62):
        yield int(np.random.SeedSequence((seed, index)).generate_state(1)[0])
