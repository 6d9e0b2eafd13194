"""A prompt and a trained model → the text that follows.

    generate_output   the whole text, prompt and completion
    stream_output     the completion's characters, one by one as they are made

(`textgen.generation.batch` makes many together.) The prompt is made encodable: what
the model has never seen is folded or skipped, and named in a warning. The network
reads it symbol by symbol from zero state, and then each symbol drawn is the next one
it reads. A model of ``lines`` reads the end symbol first, as it did in training;
drawing the end symbol ends its completion. Everything random comes from the seed.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from itertools import chain
from typing import TextIO

import numpy as np

from textgen.config import DEFAULT_CORPUS, MAX_SEED, CompletionConfig
from textgen.data.vocabulary import END_SYMBOL
from textgen.errors import OptionError
from textgen.generation.sampling import sample
from textgen.saving.model_file import load_model, load_model_for
from textgen.saving.trained_model import TrainedModel
from textgen.system.checks import check_number
from textgen.system.terminal import writer

# A model that carries its state reads no more than this many symbols of a prompt, the
# last ones. No network of ours remembers a hundredth of that.
MAX_PROMPT_SYMBOLS = 100_000


class UnknownSymbolsWarning(UserWarning):
    """A prompt holds symbols that the model has never seen; says what was done."""


def generate_output(
    model: TrainedModel | str | os.PathLike | None = None,
    prompt: str | None = None,
    *,
    length: int = CompletionConfig.length,
    temperature: float = CompletionConfig.temperature,
    top_k: int | None = CompletionConfig.top_k,
    top_p: float | None = CompletionConfig.top_p,
    seed: int | None = None,
    stop: str | None = None,
    strict: bool = False,
    stream: TextIO | None = None,
) -> str:
    """Complete a prompt and return the whole text.

    With no prompt, asks for the beginning on the terminal and shows the text there
    as it is made.

    Args:
        model: what `load_model` gave, or the path of a model file; None means the
            model of the sonnets.
        prompt: begins the output verbatim, whatever is in it; may be empty.
        length: new characters after the prompt. Fewer come only where ``stop``
            occurs, or at the end of the line for a model of lines.
        temperature: logits are divided by it; 0 means the likeliest symbol always.
        top_k: draw among the k likeliest symbols only.
        top_p: draw among the likeliest symbols that together reach this probability.
        seed: the same seed gives the same text; None means a fresh one.
        stop: the completion ends before the first occurrence of this text in the new
            characters; it is not part of the output.
        strict: refuse a prompt with symbols that the model has never seen, rather
            than fold or skip them for the network.
        stream: a text file to write the text to as it is made, then one newline.

    Returns:
        The prompt and the new characters.

    Raises:
        OptionError: for an option out of bounds, or no prompt to be had.
        VocabularyError: for unknown symbols if ``strict``.
        ModelFileError: if the model can't be found or read.

    Warns:
        UnknownSymbolsWarning: names the symbols that were folded or skipped.
    """
    model = as_model(model)
    if prompt is None:
        prompt = _ask_for_prompt(model)
        stream = stream or sys.stdout
    characters = stream_output(
        model,
        prompt,
        length=length,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop=stop,
        strict=strict,
    )
    if stream is None:
        return prompt + "".join(characters)
    write = writer(stream)
    pieces = []
    for piece in chain([prompt], characters):
        write(piece)
        pieces.append(piece)
    write("\n")
    return "".join(pieces)


def stream_output(
    model: TrainedModel | str | os.PathLike | None,
    prompt: str,
    *,
    length: int = CompletionConfig.length,
    temperature: float = CompletionConfig.temperature,
    top_k: int | None = CompletionConfig.top_k,
    top_p: float | None = CompletionConfig.top_p,
    seed: int | None = None,
    stop: str | None = None,
    strict: bool = False,
) -> Iterator[str]:
    """Return an iterator over the new characters, each made when asked for.

    Arguments, errors and warnings are those of `generate_output`; errors are raised
    by the call, not by the first character. Characters that may be the beginning of
    ``stop`` are held back until that is settled.
    """
    model = as_model(model)
    config = CompletionConfig(length, temperature, top_k, top_p, stop, strict)
    seed = fresh_seed() if seed is None else check_seed(seed)
    opening = opening_ids(model, prompt, strict)
    symbols = _symbols(model, opening, config, np.random.default_rng(seed))
    return symbols if stop is None else _until(symbols, stop)


def fresh_seed() -> int:
    """Return a seed, 0 to 2**32 - 1, from the operating system's entropy."""
    return int.from_bytes(os.urandom(4), "little")


def request_for_beginning(model: TrainedModel, hint: str = "") -> str:
    """Return the friendly line that asks for a prompt.

    Args:
        model: what it writes (names, poems, other text) is what is asked for.
        hint: more to say, in parentheses.
    """
    if model.kind == "lines":
        noun = "name"
    elif model.metadata.get("corpus", {}).get("name") == "sonnets":
        noun = "poem"
    else:
        noun = "text"
    return f"Write the beginning of a {noun}, the model will finish it{hint}: "


def ask(question: str) -> str:
    """Ask on the terminal, on stderr if standard output is not the terminal.

    Raises:
        EOFError: if standard input has ended.
    """
    if not sys.stdout.isatty():
        print(question, end="", file=sys.stderr, flush=True)
        question = ""
    return input(question).removesuffix("\r")


def as_model(model: TrainedModel | str | os.PathLike | None) -> TrainedModel:
    """Return a model as it is; load it from a path; None means the sonnets' one.

    Raises:
        ModelFileError: if it can't be found or read.
    """
    if model is None:
        return load_model_for(DEFAULT_CORPUS)
    if isinstance(model, str | os.PathLike):
        return load_model(model)
    return model


def _ask_for_prompt(model: TrainedModel) -> str:
    try:
        return ask(request_for_beginning(model))
    except EOFError:
        raise OptionError(
            "a prompt was expected, but standard input has ended; give one as prompt"
        ) from None


def check_seed(seed: int) -> int:
    """Return a seed as an int; raise `OptionError` unless it is 0 to 2**32 - 1."""
    return check_number("seed", seed, 0, MAX_SEED, whole=True)


def check_prompt(prompt: str) -> str:
    """Return a prompt as it is; raise `OptionError` unless it is text."""
    if not isinstance(prompt, str):
        raise OptionError(f"prompt must be text, but was {type(prompt).__name__}")
    return prompt


def end_id_of(model: TrainedModel) -> int | None:
    """Return the id that ends a completion, or None."""
    return model.end_id if model.kind == "lines" else None


def opening_ids(model: TrainedModel, prompt: str, strict: bool) -> np.ndarray:
    """Return the ids that the network reads before it draws the first new one.

    Args:
        model: its vocabulary, kind and windows determine what it reads.
        prompt: any text.
        strict: refuse unknown symbols rather than fold or skip them.

    Returns:
        (N,) ids of the vocabulary's dtype, N at least 1.

    Raises:
        OptionError: if ``prompt`` is no text.
        VocabularyError: for unknown symbols if ``strict``.
    """
    check_prompt(prompt)
    vocabulary = model.vocabulary
    if strict:
        ids = vocabulary.encode(prompt)
    else:
        fitted = vocabulary.fit(prompt)
        ids = vocabulary.encode(fitted.text)
        note = fitted.describe()
        if note:
            warnings.warn(note, UnknownSymbolsWarning, stacklevel=3)
    if model.kind == "lines" or not len(ids):
        # An empty prompt to a stream model begins as after a line break.
        start = END_SYMBOL if END_SYMBOL in vocabulary else vocabulary.symbols[0]
        ids = np.concatenate([vocabulary.encode(start), ids])
    windows = model.windows
    limit = windows.seq_length if windows.targets == "last" else MAX_PROMPT_SYMBOLS
    return ids[-limit:]


def _symbols(
    model: TrainedModel,
    opening: np.ndarray,
    config: CompletionConfig,
    rng: np.random.Generator,
) -> Iterator[str]:
    """Yield the new symbols of one completion."""
    symbols = model.vocabulary.symbols
    end_id = end_id_of(model)
    decoder = model.decoder()
    current = np.empty(1, np.int64)
    for symbol_id in opening[:-1]:
        current[0] = symbol_id
        decoder.step(current)
    current[0] = opening[-1]
    for _ in range(config.length):
        logits = decoder.step(current)[0]
        drawn = sample(logits, rng, config.temperature, config.top_k, config.top_p)
        if drawn == end_id:
            return
        yield symbols[drawn]
        current[0] = drawn


def _until(symbols: Iterator[str], stop: str) -> Iterator[str]:
    """Pass symbols on until ``stop`` occurs, holding back what may be its beginning."""
    held = ""
    for symbol in symbols:
        held += symbol
        if held == stop:
            return
        while not stop.startswith(held):
            yield held[0]
            held = held[1:]
    yield from held
