"""How much of what a model writes stands in the text that it was trained on.

    novelty         lets a model write and compares that with its own text
    novelty_line    the same of less text in a line, for the end of a training

What goes from one text, line or document to the next is no stretch. People repeat
phrases, too: what the held-out part has in common with the rest shows how much.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from textgen.config import CompletionConfig
from textgen.data.corpus import Corpus
from textgen.data.vocabulary import end_symbol
from textgen.errors import OptionError, checks_keywords
from textgen.evaluation.seen import unseen_share
from textgen.generation.batch import MAX_COUNT, complete_many, completion_seeds
from textgen.generation.streaming import as_model, check_seed
from textgen.generation.stretches import Stretches
from textgen.saving.own_text import own_corpus
from textgen.saving.trained_model import TrainedModel
from textgen.system.checks import check_number

SIZES = (8, 16, 40)  # characters of a stretch
TOLD_SIZE = 16  # at the end of a training
LINES, TEXTS, TEXT_CHARS = 1_000, 20, 1_000  # that are drawn
FEW_LINES, FEW_TEXTS, FEW_CHARS = 200, 16, 200  # at the end of a training
LEAST_S = 10.0  # of a training, so that the line takes a small share of it
COPIES = 3  # that are told
MAX_CHARS = 10_000_000  # of a text, where it would take long


@dataclass(frozen=True)
class Novelty:
    """How new what a model wrote is. Shares are 0 to 1; None: no stretch is so long."""

    samples: int  # lines or texts that were drawn, repetitions among them
    characters: int  # that they have together
    temperature: float | Sequence[float]
    seed: int
    novel: Mapping[int, float | None]  # share of stretches that aren't trained on
    novel_held_out: Mapping[int, float | None]  # the same of the held-out part, if any
    distinct: Mapping[int, float | None]  # share of different ones among stretches
    copies: tuple[str, ...]  # the longest stretches that are trained on, apart
    distinct_lines: float | None  # share of lines that weren't drawn before
    known_lines: float | None  # share of lines that are lines trained on
    held_out_lines: float | None  # of lines that are held out, real and never seen


@checks_keywords
def novelty(
    model: TrainedModel | str | os.PathLike | None,
    *,
    samples: int | None = None,
    length: int | None = None,
    temperature: float | Sequence[float] = CompletionConfig.temperature,
    seed: int = 0,
) -> Novelty:
    """Let a model write, and measure how much of it stands in its training text.

    Args:
        model: as for `textgen.generate_output`. The text that it was trained on last is
            a named corpus or lies in the current folder.
        samples: lines or texts to draw; None means 1,000 lines or 20 texts.
        length: characters of each at the most; None means 400 or 1,000.
        temperature: as for `textgen.generate_output`.
        seed: of the draws.

    Returns:
        The shares of stretches of 8, 16 and 40 characters, of a model of lines those
        of lines, and the longest copies.

    Raises:
        OptionError: if the text can't be found, or for an option out of bounds.
        ModelFileError: if the model can't be found or read.
    """
    model = as_model(model)
    usual = _usual(model)
    config = CompletionConfig(
        length=usual.length if length is None else length, temperature=temperature
    )
    if samples is not None:
        check_number("samples", samples, 1, MAX_COUNT, whole=True)
    check_seed(seed)
    return novelty_of(model, own_corpus(model), samples, config, seed)


def novelty_of(
    model: TrainedModel,
    corpus: Corpus,
    samples: int | None = None,
    config: CompletionConfig | None = None,
    seed: int = 0,
) -> Novelty:
    """Measure as `novelty` does, against a corpus in the model's ids.

    What the model never saw of it is the held-out part.
    """
    is_lines = model.kind == "lines"
    config = config or _usual(model)
    samples = samples or (LINES if is_lines else TEXTS)
    texts = _drawn(model, samples, config, seed)
    split = corpus.split(unseen_share(model.texts, corpus) or 0.0)
    vocabulary = corpus.vocabulary
    training, unseen_ids = map(vocabulary.without_labels, vars(split).values())
    gap = len(vocabulary)  # an id that no text has
    written = _joined([vocabulary.encode(text) for text in texts], gap)
    own = Stretches(training, gap + 1)
    held_out = unseen_ids[:MAX_CHARS].astype(np.int64)
    if (end := end_symbol(corpus.kind, vocabulary)) is not None:
        held_out[held_out == vocabulary.encode(end)[0]] = gap
    sizes = SIZES if len(held_out) else ()
    lines = texts if is_lines else []
    known, unseen = (
        _lines(corpus, ids) if is_lines else set() for ids in (training, unseen_ids)
    )
    return Novelty(
        samples=samples,
        characters=sum(map(len, texts)),
        temperature=config.temperature,
        seed=seed,
        novel={size: _novel(own, written, size, gap) for size in SIZES},
        novel_held_out={size: _novel(own, held_out, size, gap) for size in sizes},
        distinct={size: _distinct(written, size, gap) for size in SIZES},
        copies=tuple(map(vocabulary.decode, _copies(own, written, gap))),
        distinct_lines=_share(len(set(lines)), lines),
        known_lines=_share(sum(line in known for line in lines), lines),
        held_out_lines=_share(
            sum(line in unseen for line in lines), lines if unseen else []
        ),
    )


def novelty_line(model: TrainedModel, corpus: Corpus, seconds: float) -> str:
    """Return what to tell of a training's novelty at its end; "" if nothing.

    The training took so many ``seconds``, to which this adds little.
    """
    if seconds < LEAST_S:
        return ""
    is_lines = model.kind == "lines"
    config = CompletionConfig(length=FEW_CHARS)
    try:
        texts = _drawn(model, FEW_LINES if is_lines else FEW_TEXTS, config)
    except OptionError:
        return ""
    ids = corpus.split(unseen_share(model.texts, corpus) or 0.0).training
    ids = corpus.vocabulary.without_labels(ids)
    text = "the text"
    if len(ids) > MAX_CHARS:
        ids, text = ids[:MAX_CHARS], f"the text's first {MAX_CHARS:,} characters"
    if is_lines:
        known = _lines(corpus, ids)
        real = sum(line in known for line in texts) / len(texts)
        distinct = len(set(texts)) / len(texts)
        return (
            f"novelty: {real:.0%} of {len(texts)} lines that it writes are in {text}, "
            f"{distinct:.0%} are distinct"
        )
    gap, size = len(corpus.vocabulary), TOLD_SIZE
    written = _joined([corpus.vocabulary.encode(text) for text in texts], gap)
    own = Stretches(ids, gap + 1)
    share = _novel(own, written, size, gap)
    if share is None:
        return ""
    return (
        f"novelty: {share:.1%} of all stretches of {size} characters that it writes "
        f"aren't in {text}; the longest copy has {own.longest(written)[1]}"
    )


def _drawn(
    model: TrainedModel, samples: int, config: CompletionConfig, seed: int = 0
) -> list[str]:
    """Let a model write; raise `OptionError` if it writes nothing."""
    prompts, seeds = [""] * samples, islice(completion_seeds(seed), samples)
    drawn = complete_many(model, prompts, seeds, config, batch_size=samples)
    texts = [completion.text for completion in drawn]
    if not any(texts):
        raise OptionError("the model writes nothing, whose novelty could be measured")
    return texts


def _usual(model: TrainedModel) -> CompletionConfig:
    """Return how long what is drawn may be: lines end by themselves."""
    is_lines = model.kind == "lines"
    return CompletionConfig() if is_lines else CompletionConfig(length=TEXT_CHARS)


def _joined(texts: Sequence[np.ndarray], gap: int) -> np.ndarray:
    """Return the ids of all texts in one array, with a gap after each."""
    return np.concatenate([np.append(ids.astype(np.int64), gap) for ids in texts])


def _stretches(ids: np.ndarray, size: int, gap: int) -> np.ndarray:
    """Tell which places (M - size + 1,) have a stretch without a gap in it."""
    gaps = np.concatenate([[0], np.cumsum(ids == gap)])
    return gaps[size:] == gaps[: max(len(gaps) - size, 0)]


def _novel(own: Stretches, ids: np.ndarray, size: int, gap: int) -> float | None:
    is_one = _stretches(ids, size, gap)
    return _share(int((~own.have(ids, size))[is_one].sum()), is_one[is_one])


def _distinct(ids: np.ndarray, size: int, gap: int) -> float | None:
    is_one = _stretches(ids, size, gap)
    if not is_one.any():
        return None
    all_of_them = np.lib.stride_tricks.sliding_window_view(ids, size)[is_one]
    different = {stretch.tobytes() for stretch in all_of_them}
    return len(different) / len(all_of_them)


def _copies(own: Stretches, ids: np.ndarray, gap: int) -> list[np.ndarray]:
    """Return the longest stretches that stand in the text, none of them within others.

    Each that is found is cut out before the next is looked for.
    """
    ids, below = ids.copy(), None
    copies: list[np.ndarray] = []
    for _ in range(10 * COPIES):
        first, length = own.longest(ids, below)
        if not length or len(copies) == COPIES:
            break
        copy = ids[first : first + length].copy()
        if not any(np.array_equal(copy, other) for other in copies):
            copies.append(copy)
        ids[first : first + length] = gap
        below = length + 1
    return copies


def _lines(corpus: Corpus, ids: np.ndarray) -> set[str]:
    end = end_symbol(corpus.kind, corpus.vocabulary)
    assert end is not None, "lines have ends"
    return set(corpus.vocabulary.decode(ids).split(end)) - {""}


def _share(part: int, whole: Sequence[object] | np.ndarray) -> float | None:
    return part / len(whole) if len(whole) else None
