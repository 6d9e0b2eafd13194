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
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np

from textgen.checks import check_number
from textgen.config import CompletionConfig
from textgen.errors import OptionError
from textgen.generation import (
    as_model,
    check_seed,
    end_id_of,
    fresh_seed,
    opening_ids,
)
from textgen.sampling import sample_batch
from textgen.trained_model import TrainedModel

# Completions advanced together: more make the batch no faster, only larger.
STREAMS = 256
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

    Prompts and seeds may be endless; no more are taken than are worked on.

    Args:
        model: as for `generate_output`.
        prompts: what to complete.
        seeds: one for each prompt.
        config: how each is completed.
        streams: rows B of the batch, fewer where a large network has no more.

    Raises:
        TextgenError: as `generate_output`, once the prompt at fault is reached.
    """
    model = as_model(model)
    opening = functools.lru_cache(maxsize=1)(
        lambda prompt: opening_ids(model, prompt, config.strict)
    )
    rows = (
        _Row(index, prompt, opening(prompt), check_seed(seed))
        for index, (prompt, seed) in enumerate(zip(prompts, seeds, strict=False))
    )
    waiting: dict[int, Completion] = {}
    due = 0
    for row in _advance(model, rows, config, streams):
        text = model.vocabulary.decode(np.array(row.made, model.vocabulary.dtype))
        waiting[row.index] = Completion(row.prompt, text, row.seed)
        while due in waiting:
            yield waiting.pop(due)
            due += 1


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
    check_number("--count", count, 1, MAX_COUNT, whole=True)


def completion_seeds(seed: int) -> Iterator[int]:
    """Yield the seeds of a run of completions, endlessly: ``seed`` itself comes first.

    The i-th, from 1 on, is a hash of (seed, i), so that runs with neighbouring seeds
    have nothing in common, and each completion can be repeated alone by its own seed.
    """
    yield check_seed(seed)
    for index in range(1, 2**62):
        yield int(np.random.SeedSequence((seed, index)).generate_state(1)[0])


@dataclass
class _Row:
    """One completion on its way through the batch."""

    index: int
    prompt: str
    opening: np.ndarray
    seed: int
    read: int = 0
    made: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def next_input(self) -> int:
        if self.read < len(self.opening):
            self.read += 1
            return self.opening[self.read - 1]
        return self.made[-1]


def _advance(
    model: TrainedModel,
    rows: Iterator[_Row],
    config: CompletionConfig,
    streams: int,
) -> Iterator[_Row]:
    """Yield rows as they are finished; the next in line takes a finished one's place.

    Rows still reading their prompt and rows already drawing share each step.
    """
    end_id = end_id_of(model)
    stop_ids = _stop_ids(model, config.stop)
    streams = min(streams, model.most_streams)
    stepper = model.stepper(streams)
    inputs = np.zeros(streams, np.int64)
    at_work: dict[int, _Row] = {}
    while True:
        free = [place for place in range(streams) if place not in at_work]
        taken = dict(zip(free, rows, strict=False))
        if taken:
            stepper.reset(rows=list(taken))
            at_work |= taken
        if not at_work:
            return
        for place, row in at_work.items():
            inputs[place] = row.next_input()
        logits = stepper.step(inputs)
        drawing = [p for p, row in at_work.items() if row.read == len(row.opening)]
        if not drawing:
            continue
        rngs = [at_work[place].rng for place in drawing]
        ids = sample_batch(
            logits[drawing], rngs, config.temperature, config.top_k, config.top_p
        )
        for place, drawn in zip(drawing, ids.tolist(), strict=True):
            row = at_work[place]
            ended = drawn == end_id
            if not ended:
                row.made.append(drawn)
            if stop_ids and row.made[-len(stop_ids) :] == stop_ids:
                del row.made[-len(stop_ids) :]
                ended = True
            if ended or len(row.made) == config.length:
                yield at_work.pop(place)


def _stop_ids(model: TrainedModel, stop: str | None) -> list[int]:
    """Return the ids of ``stop``; none if there is no stop, or it can't occur."""
    if stop is None or not set(stop) <= set(model.vocabulary.symbols):
        return []
    return model.vocabulary.encode(stop).tolist()
