"""The samplers of a configuration, one after the other, and what is drawn by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from textgen.config import SEARCHING, SHAPING, CompletionConfig
from textgen.errors import OptionError, shown
from textgen.generation.beam import BeamSearch
from textgen.generation.samplers import (
    Greedy,
    MinP,
    NoRepeatNgram,
    RepetitionPenalty,
    Sampler,
    Temperature,
    TemperatureSchedule,
    Texts,
    TopK,
    TopP,
    TypicalP,
    apply,
)
from textgen.generation.sampling import sample_batch

Chain = tuple[Sampler | BeamSearch, ...]  # a search only as the last

# Those that know nothing of a text but how likely what may follow is.
OF_PROBABILITY = (Greedy, Temperature, TemperatureSchedule, TopK, TopP, MinP, TypicalP)
UNCHANGED = CompletionConfig(temperature=1)
FIRST_CAPACITY = 64  # ids that a text has room for at first


def _temperature(given: float | Sequence[float]) -> Sampler:
    if isinstance(given, Sequence):
        return TemperatureSchedule(given)
    return Temperature(given)


# What applies an option's value.
SAMPLERS: Mapping[str, Callable[[Any], Sampler | BeamSearch]] = {
    "repetition_penalty": RepetitionPenalty,
    "no_repeat_ngram": NoRepeatNgram,
    "beam": BeamSearch,
    "temperature": _temperature,
    "top_k": TopK,
    "typical_p": TypicalP,
    "top_p": TopP,
    "min_p": MinP,
}


def chain_of(config: CompletionConfig) -> Chain:
    """Return the samplers that a config stands for, in the order of their application.

    That is the config's own ``sampler``, or what its options say, as `SAMPLERS` has
    them; a search is the last.

    Raises:
        OptionError: if ``sampler`` holds something that is none.
    """
    if config.sampler is not None:
        return _checked(config.sampler)
    names = SHAPING if config.beam is None else SEARCHING
    given = [(SAMPLERS[name], getattr(config, name)) for name in names]
    return tuple(sampler(value) for sampler, value in given if value is not None)


def parts_of(config: CompletionConfig) -> tuple[list[Sampler], BeamSearch | None]:
    """Return the samplers of a config, and the search if one follows them."""
    samplers: list[Sampler] = []
    beam = None
    for each in chain_of(config):
        if isinstance(each, BeamSearch):
            beam = each
        else:
            samplers.append(each)
    return samplers, beam


def with_first(config: CompletionConfig, *samplers: Sampler) -> CompletionConfig:
    """Return a config that applies ``samplers`` before all that it applies already."""
    options = {name: getattr(CompletionConfig, name) for name in SHAPING}
    return replace(config, sampler=(*samplers, *chain_of(config)), **options)


def _checked(chain: Chain) -> Chain:
    for place, each in enumerate(chain, 1):
        is_search = isinstance(each, BeamSearch)
        if is_search and place < len(chain):
            problem = "`sampler` may have a BeamSearch only as the last of its list"
            raise OptionError(problem, f"but {shown(chain[place])} follows it")
        if isinstance(each, type) or not (callable(each) or is_search):
            expected = "a sampler or a list of them, such as [TopP(0.9)]"
            raise OptionError(f"`sampler` must be {expected}, but was {shown(each)}")
    return chain


def draw(logits: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Draw an id (B,) from the softmax of each row of logits (B, V) float64.

    ``uniforms`` (B,) are the rows' own random numbers, uniform in [0, 1).
    """
    return sample_batch(logits, uniforms, UNCHANGED)


def draw_one_of(
    scores: np.ndarray, config: CompletionConfig, rng: np.random.Generator
) -> int:
    """Draw one of K things as symbols are drawn, by their log-probabilities (K,).

    Samplers that look at a text's ids are left out, and a search takes the likeliest.
    """
    samplers, beam = parts_of(config)
    if beam is not None:
        return int(scores.argmax())
    chain = [each for each in samplers if isinstance(each, OF_PROBABILITY)]
    nothing = Texts(np.zeros((1, 1), np.uint8), *np.zeros((2, 1), np.int64))
    return int(draw(apply(chain, scores[None], nothing), rng.random(1))[0])


class OneText:
    """A single text, whose ids are drawn by a chain of samplers."""

    def __init__(self, chain: Sequence[Sampler], prompt_ids: np.ndarray) -> None:
        """Begin with what the model reads first, (N,)."""
        self._chain = chain
        self._ids = np.zeros((1, len(prompt_ids) + FIRST_CAPACITY), prompt_ids.dtype)
        self._ids[0, : len(prompt_ids)] = prompt_ids
        self._prompt_lengths = np.array([len(prompt_ids)])
        self._lengths = self._prompt_lengths.copy()

    def draw(self, logits: np.ndarray, rng: np.random.Generator) -> int:
        """Draw the next id by logits (1, V) and one number of ``rng``, and add it."""
        texts = Texts(self._ids, self._prompt_lengths, self._lengths)
        drawn = draw(apply(self._chain, logits, texts), rng.random(1))
        length = int(self._lengths[0])
        if length == self._ids.shape[1]:
            self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)], axis=1)
        self._ids[0, length] = drawn[0]
        self._lengths[0] += 1
        return int(drawn[0])
