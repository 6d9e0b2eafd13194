"""Many completions, advanced together as one batch.

    generate_many   a completion for each of many prompts
    distinct_lines  so many different lines (names) from a model of lines

Each row of the batch is what `generation.stream_output` would make of its prompt and
seed; a finished row's place goes to the next prompt in line.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from textgen.config import CompletionConfig
from textgen.errors import OptionError
from textgen.generation.batch_decoder import Row, complete_rows
from textgen.generation.lanes import deal, merge
from textgen.generation.streaming import (
    as_model,
    check_prompt,
    check_seed,
    fresh_seed,
    opening_ids,
)
from textgen.saving.trained_model import TrainedModel
from textgen.system.checks import check_number

# Completions advanced together: more make the batch no faster, only larger.
STREAMS = 256
# So many halves of a large batch go side by side, in threads, on any number of cores,
# so that a seed's completion is the same to the last bit. Small ones would spend more
# time on waiting for Python's lock than they gain.
LANES = 2
LEAST_LANE_STREAMS = 64
# After this many draws in a row without a new line, there are none left to find.
FRUITLESS_DRAWS = 2_000
MAX_COUNT = 1_000_000


@dataclass(frozen=True)
class Completion:
    """What came of one prompt.

    Attributes:
        prompt: as it was given.
        text: the new characters.
        seed: repeats the completion, alone or among others.
    """

    prompt: str
    text: str
    seed: int


def generate_many(
    model: TrainedModel | str | os.PathLike | None,
    prompts: Sequence[str],
    *,
    seeds: Sequence[int] | None = None,
    length: int = CompletionConfig.length,
    temperature: float = CompletionConfig.temperature,
    top_k: int | None = CompletionConfig.top_k,
    top_p: float | None = CompletionConfig.top_p,
    stop: str | None = None,
    strict: bool = False,
) -> list[Completion]:
    """Complete many prompts together, which is much faster than one by one.

    Each completion is the one that `generate_output` gives with its seed, as far as
    rounding allows: a batched float32 product may differ in its last bits, and so,
    rarely, in a symbol.

    Args:
        model: as for `generate_output`.
        prompts: any number, of any lengths.
        seeds: one for each prompt; None means fresh ones.
        length: as for `generate_output`.
        temperature: likewise.
        top_k: likewise.
        top_p: likewise.
        stop: likewise.
        strict: likewise.

    Returns:
        A completion for each prompt, in order.

    Raises:
        TextgenError: as `generate_output`, or if there isn't a seed for each prompt.
    """
    if seeds is None:
        seeds = [fresh_seed() for _ in prompts]
    if len(seeds) != len(prompts):
        raise OptionError(
            f"seeds must be as many as the prompts, {len(prompts)}, "
            f"but were {len(seeds)}"
        )
    return list(
        iterate_completions(
            model,
            prompts,
            seeds,
            config=CompletionConfig(length, temperature, top_k, top_p, stop, strict),
            streams=max(1, min(len(prompts), STREAMS)),
        )
    )


def iterate_completions(
    model: TrainedModel | str | os.PathLike | None,
    prompts: Iterable[str],
    seeds: Iterable[int],
    *,
    config: CompletionConfig,
    streams: int = STREAMS,
) -> Iterator[Completion]:
    """Yield the completions of `generate_many` in order, each as soon as it is done.

    Prompts and seeds may be endless; no more are taken than are worked on. Of a large
    batch they are taken by the threads of its halves, each of which may leave some to
    the other.

    Args:
        model: as for `generate_output`.
        prompts: what to complete.
        seeds: one for each prompt.
        config: how each is completed.
        streams: rows B of the batch; more than the model's ``max_batch_size`` are not
            taken.

    Raises:
        TextgenError: as `generate_output`, once the prompt at fault is reached.
    """
    model = as_model(model)
    opening = functools.lru_cache(maxsize=1)(
        lambda prompt: opening_ids(model, prompt, config.strict)
    )
    rows = (
        Row(index, prompt, opening(check_prompt(prompt)), check_seed(seed))
        for index, (prompt, seed) in enumerate(zip(prompts, seeds, strict=False))
    )
    waiting: dict[int, Completion] = {}
    due = 0
    streams = min(streams, model.max_batch_size)
    lanes = lanes_for(streams)
    works = [
        complete_rows(model, hand, config, streams // lanes)
        for hand in deal(rows, lanes)
    ]
    for row in merge(works):
        text = model.vocabulary.decode(row.made)
        waiting[row.index] = Completion(row.prompt, text, row.seed)
        while due in waiting:
            yield waiting.pop(due)
            due += 1


def lanes_for(streams: int) -> int:
    """Return in how many threads so many streams are completed."""
    return LANES if streams >= LANES * LEAST_LANE_STREAMS else 1


def distinct_lines(
    model: TrainedModel | str | os.PathLike | None,
    prompt: str,
    count: int,
    seed: int,
    *,
    config: CompletionConfig,
) -> Iterator[Completion]:
    """Yield completions of one prompt that all differ, none of them an empty line.

    Draws with the seeds of `completion_seeds`, in order, and leaves out what was
    there already. Ends early after `FRUITLESS_DRAWS` draws in a row that gave nothing
    new, so count what you get.

    Args:
        model: as for `generate_output`.
        prompt: what every line begins with; may be empty.
        count: lines wanted, 1 to `MAX_COUNT`.
        seed: determines all of them.
        config: how each is completed.

    Raises:
        TextgenError: as `generate_output`, at the first completion.
    """
    check_count(count)
    draws = iterate_completions(
        model,
        repeat(prompt),
        completion_seeds(seed),
        config=config,
        streams=min(count, STREAMS),
    )
    seen = {""}
    fruitless = 0
    for completion in draws:
        line = prompt + completion.text
        if line in seen:
            fruitless += 1
            if fruitless == FRUITLESS_DRAWS:
                return
            continue
        seen.add(line)
        fruitless = 0
        yield completion
        if len(seen) > count:
            return


def check_count(count: int) -> None:
    """Raise `OptionError` unless ``count`` is from 1 to `MAX_COUNT`."""
    check_number("count", count, 1, MAX_COUNT, whole=True)


def completion_seeds(seed: int) -> Iterator[int]:
    """Yield the seeds of a run of completions, endlessly: ``seed`` itself comes first.

    The i-th, from 1 on, is a hash of (seed, i), so that runs with neighbouring seeds
    have nothing in common, and each completion can be repeated alone by its own seed.
    """
    yield check_seed(seed)
    for index in range(1, 2**62):
        yield int(np.random.SeedSequence((seed, index)).generate_state(1)[0])
