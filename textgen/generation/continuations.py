"""Ways in which a text may go on, a few words each, with their probabilities."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, repeat

import numpy as np

from textgen.config import CompletionConfig
from textgen.data.vocabulary import end_symbol
from textgen.generation.batch import complete_many, completion_seeds
from textgen.generation.healing import Openings
from textgen.generation.streaming import ids_to_read, openings_of
from textgen.saving.trained_model import TrainedModel

MAX_CHARS = 24  # of a continuation in which no word ends
# Up to three words with the space behind them; a line break ends it earlier.
SOME_WORDS = re.compile(r"\s*(?:\S+[^\S\n]+){0,2}\S+\s")


@dataclass(frozen=True)
class Continuation:
    """A few words that may come next."""

    text: str
    ends: bool  # whether the line or document ends with it
    probability: float  # of these characters, as the network itself gives it


def continuations(
    model: TrainedModel, text: str, draws: int, seed: int, config: CompletionConfig
) -> list[Continuation]:
    """Return the different ones of some draws of what follows, the likeliest first.

    They are drawn with the options of ``config`` but `length`, `stop` and `beam`; and
    the same seed gives the same ones. Their probabilities are the network's own,
    whatever the temperature.
    """
    config = replace(config, length=MAX_CHARS, stop=None, beam=None)
    prompts, seeds = repeat(text, draws), islice(completion_seeds(seed), draws)
    drawn = complete_many(model, prompts, seeds, config, batch_size=draws)
    found = list(dict.fromkeys(_some_words(completion.text) for completion in drawn))
    reading = text, config.strict, config.label
    if model.vocabulary.level == "character":
        logs = _log_probabilities(model, ids_to_read(model, *reading), found)
    else:
        logs = _of_all_spellings(model, openings_of(model, *reading), found)
    shares = np.exp(logs).tolist()
    made = [Continuation(*each, p) for each, p in zip(found, shares, strict=True)]
    return sorted(made, key=lambda each: -each.probability)


def _some_words(text: str) -> tuple[str, bool]:
    """Cut what was drawn after some words; tell whether it came to its end before."""
    if words := SOME_WORDS.match(text):
        return words[0], False
    return text, len(text) < MAX_CHARS


def _log_probabilities(
    model: TrainedModel, prompt_ids: np.ndarray, found: Sequence[tuple[str, bool]]
) -> np.ndarray:
    """Return the log-probability of each of K continuations of a prompt, (K,) float64.

    The prompt is read once, and what follows it as a batch from there on.
    """
    reader = model.decoder()
    for place in range(len(prompt_ids) - 1):
        reader.step(prompt_ids[place : place + 1])
    endings = [[model.end_id] if ends else [] for _, ends in found]
    rows = [
        [*model.vocabulary.encode(words).tolist(), *ending]
        for (words, _), ending in zip(found, endings, strict=True)
    ]
    sums = np.zeros(len(rows))
    for start in range(0, len(rows), model.max_batch_size):
        part = rows[start : start + model.max_batch_size]
        decoder = model.decoder(len(part))
        decoder.set_state(list(range(len(part))), reader.state())
        ids = np.full(len(part), prompt_ids[-1], np.int64)
        for place in range(max(map(len, part))):
            logits = decoder.step(ids).astype(np.float64)
            logits -= logits.max(axis=-1, keepdims=True)
            logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
            for row, own in enumerate(part):
                if place < len(own):
                    ids[row] = own[place]
                    sums[start + row] += logits[row, own[place]]
    return sums


def _of_all_spellings(
    model: TrainedModel, openings: Openings, found: Sequence[tuple[str, bool]]
) -> np.ndarray:
    """Return what `_log_probabilities` does of symbols longer than characters.

    These can write a continuation in several ways, and its last symbol may go on.
    """
    state, logs = openings.state, []
    end = end_symbol(model.kind, model.vocabulary) or ""
    for words, ends in found:
        rest = openings.rest + words + end * ends
        longer = Openings(model, openings.read, rest, state)
        state = longer.state
        logs.append(longer.log_probability - openings.log_probability)
    return np.array(logs)
