"""A prompt and a trained model → the text that follows.

    generate_output     the whole text, prompt and completion
    stream_output       the completion's characters, one by one as they are made
    stream_completion   the same, from a loaded model and a `CompletionConfig`

(`textgen.generation.batch` makes many together.) The network reads the prompt symbol by
symbol from zero state, and then each symbol drawn is the next one that it reads. A
model of ``lines``, or of several documents, reads the end symbol first, or in its place
the symbol of a label, as it did in training, and when it draws the end symbol, the
completion ends.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from textgen.config import DEFAULT_CORPUS, MAX_SEED, CompletionConfig
from textgen.data.vocabulary import END_SYMBOL
from textgen.errors import OptionError, checks_keywords, shown
from textgen.generation.healing import Opening, Openings, unsettled
from textgen.generation.sampling import sample
from textgen.saving.model_file import load_model, load_model_for
from textgen.saving.trained_model import TrainedModel
from textgen.system.checks import check_number
from textgen.system.terminal import writer

if TYPE_CHECKING:
    from textgen.generation.beam import BeamSearch
    from textgen.generation.chains import OneText
    from textgen.generation.samplers import Sampler

# Of a longer prompt only the last symbols are read. No network of ours remembers a
# hundredth of that.
MAX_PROMPT_SYMBOLS = 100_000


class UnknownSymbolsWarning(UserWarning):
    """A prompt holds symbols that the model has never seen; says what was done."""


@checks_keywords
def generate_output(
    model: TrainedModel | str | os.PathLike | None = None,
    prompt: str | None = None,
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
    seed: int | None = None,
    stop: str | None = CompletionConfig.stop,
    strict: bool = CompletionConfig.strict,
    label: str | None = CompletionConfig.label,
    stream: TextIO | None = None,
) -> str:
    """Complete a prompt and return the whole text.

    With no prompt, asks for the beginning on the terminal and shows the text there
    as it is made.

    Args:
        model: what `load_model` gave or takes: a name or a path; None means the model
            of the sonnets.
        prompt: begins the output verbatim, whatever is in it; may be empty.
        length: new characters; fewer only where ``stop`` occurs, or where a line ends
            for a model of lines, or the text for one of several documents.
        temperature: logits are divided by it; 0 means the likeliest symbol always.
            Several numbers serve in turn, a symbol each.
        top_k: draw among the k likeliest symbols only.
        top_p: draw among the likeliest symbols that together reach this probability.
        min_p: leave out symbols less probable than this share of the likeliest.
        typical_p: draw among the symbols of nearest to the expected surprisal only that
            together reach this probability.
        repetition_penalty: divides a symbol's odds for each symbol beyond 6 of the
            repetition that it would lengthen.
        no_repeat_ngram: no run of so many symbols comes twice.
        beam: search for the likeliest completion, keeping so many at each symbol,
            instead of drawing one.
        sampler: in place of these options from ``temperature`` on: a sampler, or a list
            of them in the order of their application; see `textgen.TopP` and others.
        seed: the same seed gives the same text; None means a fresh one.
        stop: the completion ends before the first occurrence of this text in it.
        strict: refuse symbols that the model has never seen, rather than fold or skip
            them.
        label: of a model trained with labels, the one whose rows the text should be
            like; None means any.
        stream: a text file to write the text to as it is made, then one newline.

    Returns:
        The prompt and the new characters.

    Raises:
        OptionError: for an option out of bounds, a label that the model doesn't know,
            or no prompt to be had.
        VocabularyError: for unknown symbols if ``strict``.
        ModelFileError: if the model can't be found or read.

    Warns:
        UnknownSymbolsWarning: names the symbols that were folded or skipped.
    """
    config = CompletionConfig(
        length=length, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        typical_p=typical_p, repetition_penalty=repetition_penalty, beam=beam,
        no_repeat_ngram=no_repeat_ngram, stop=stop, strict=strict, sampler=sampler,
        label=label,
    )  # fmt: skip
    model = as_model(model)
    if prompt is None:
        stream = stream or sys.stdout
        try:
            prompt = ask(request_for_beginning(model))
        except EOFError:
            problem = "a prompt was expected, but standard input has ended"
            raise OptionError(problem, "give a `prompt`") from None
    characters = stream_completion(model, prompt, config, seed)
    if stream is None:
        return prompt + "".join(characters)
    write, text = writer(stream), [prompt]
    write(prompt)
    for character in characters:
        write(character)
        text.append(character)
    write("\n")
    return "".join(text)


@checks_keywords
def stream_output(
    model: TrainedModel | str | os.PathLike | None,
    prompt: str,
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
    seed: int | None = None,
    stop: str | None = CompletionConfig.stop,
    strict: bool = CompletionConfig.strict,
    label: str | None = CompletionConfig.label,
) -> Iterator[str]:
    """Return an iterator over the new characters, each made when asked for.

    Arguments, errors and warnings are those of `generate_output`; errors are raised
    by the call, not by the first character. Characters that may be the beginning of
    ``stop`` are held back until that is settled.
    """
    config = CompletionConfig(
        length=length, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        typical_p=typical_p, repetition_penalty=repetition_penalty, beam=beam,
        no_repeat_ngram=no_repeat_ngram, stop=stop, strict=strict, sampler=sampler,
        label=label,
    )  # fmt: skip
    return stream_completion(as_model(model), prompt, config, seed)


def stream_completion(
    model: TrainedModel, prompt: str, config: CompletionConfig, seed: int | None
) -> Iterator[str]:
    """Return an iterator over the new characters; see `stream_output`."""
    seed = fresh_seed() if seed is None else check_seed(seed)
    generator = np.random.default_rng(seed)
    reading = prompt, config.strict, config.label
    if model.vocabulary.level == "character":
        begin = Opening(ids_to_read(model, *reading))
        characters = _symbols(model, begin, config, generator)
    else:
        begin = openings_of(model, *reading).drawn(config, seed)
        symbols = _symbols(model, begin, config, generator)
        made = chain(begin.text, chain.from_iterable(symbols))
        characters = islice(made, config.length)
    return characters if config.stop is None else _until(characters, config.stop)


def fresh_seed() -> int:
    """Return a seed, 0 to 2**32 - 1, from the operating system's entropy."""
    return int.from_bytes(os.urandom(4), "little")


def request_for_beginning(model: TrainedModel, hint: str = "") -> str:
    """Return the line that asks for a prompt: of a name, a poem or another text."""
    of_named = {"dinos": "name", "sonnets": "poem"}
    usual = "line" if model.makes_lines else "text"
    noun = of_named.get(model.metadata.get("corpus", {}).get("name"), usual)
    return f"Write the beginning of a {noun}, the model will finish it{hint}: "


def ask(question: str) -> str:
    """Ask on the terminal, on standard error if standard output is elsewhere."""
    if not sys.stdout.isatty():
        print(question, end="", file=sys.stderr, flush=True)
        question = ""
    return input(question).removesuffix("\r")


def as_model(model: TrainedModel | str | os.PathLike | None) -> TrainedModel:
    """Return the model itself, or load the one named; None means the sonnets' one."""
    if model is None:
        return load_model_for(DEFAULT_CORPUS)
    if isinstance(model, str | os.PathLike):
        return load_model(model)
    if not hasattr(model, "decoder"):
        expected = "a model, its name or its path"
        raise OptionError(f"`model` must be {expected}, but was {shown(model)}")
    return model


def check_seed(seed: int) -> int:
    """Return a seed as an int; raise `OptionError` unless it is 0 to 2**32 - 1."""
    return check_number("seed", seed, 0, MAX_SEED, whole=True)


def check_prompt(prompt: str) -> str:
    """Return a prompt as it is; raise `OptionError` unless it is text."""
    if not isinstance(prompt, str):
        raise OptionError(f"`prompt` must be text, but was {type(prompt).__name__}")
    return prompt


def check_is_of_characters(model: TrainedModel, asked: str) -> None:
    """Raise `OptionError` if what is asked for can't be had with longer symbols."""
    names = {"word": "words", "bpe": "pieces of words"}
    if (level := model.vocabulary.level) in names:
        needed = f"{asked} needs a model of characters"
        raise OptionError(f"{needed}; this one's symbols are {names[level]}")


def known_ids(model: TrainedModel, text: str, strict: bool = False) -> np.ndarray:
    """Return a text's ids (N,), its unknown symbols folded or skipped with a warning.

    If ``strict``, unknown symbols raise `VocabularyError` instead.
    """
    return model.vocabulary.encode(text if strict else _known(model, text))


def _known(model: TrainedModel, text: str) -> str:
    """Return a text with its unknown symbols folded or skipped, with a warning."""
    fitted = model.vocabulary.fit(text)
    if note := fitted.describe():
        warnings.warn(note, UnknownSymbolsWarning, stacklevel=callers_level())
    return fitted.text


def callers_level() -> int:
    """Return the `stacklevel` that names the first caller outside this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals["__name__"].startswith("textgen."):
        frame, level = frame.f_back, level + 1
    return level


def first_id(model: TrainedModel, label: str | None) -> int | None:
    """Return what is read before a prompt, a label or the end symbol; None if nothing.

    An `OptionError` says that the model doesn't know the label.
    """
    return model.end_id if label is None else model.vocabulary.label_id(label)


def ids_to_read(
    model: TrainedModel, prompt: str, strict: bool, label: str | None = None
) -> np.ndarray:
    """Return the ids that are read at first: at least one, at most what is of use."""
    return _read_first(model, known_ids(model, check_prompt(prompt), strict), label)


def openings_of(
    model: TrainedModel, prompt: str, strict: bool, label: str | None = None
) -> Openings:
    """Return how completions of a prompt may begin; see `textgen.generation.healing`.

    Of a model of characters there is one way, which is to read the `ids_to_read`.
    """
    if model.vocabulary.level == "character":
        return Openings(model, ids_to_read(model, prompt, strict, label))
    text = check_prompt(prompt) if strict else _known(model, check_prompt(prompt))
    place = unsettled(model.vocabulary, text)
    read = _read_first(model, model.vocabulary.encode(text[:place]), label)
    openings = Openings(model, read, text[place:])
    if openings.are_found:
        return openings
    rest = model.vocabulary.encode(text[place:])
    return Openings(model, np.concatenate([read, rest]))


def _read_first(model: TrainedModel, ids: np.ndarray, label: str | None) -> np.ndarray:
    """Return the ids to read for those of a prompt, with what stands before them."""
    vocabulary, first = model.vocabulary, first_id(model, label)
    if first is not None:
        ids = np.concatenate([np.array([first], ids.dtype), ids])
    elif not len(ids):
        # A text from an empty prompt begins as after a line break.
        start = END_SYMBOL if END_SYMBOL in vocabulary else vocabulary.symbols[0]
        ids = vocabulary.encode(start)
    is_windowed = model.windows.targets == "last"
    return ids[-(model.windows.seq_length if is_windowed else MAX_PROMPT_SYMBOLS) :]


def _symbols(
    model: TrainedModel,
    begin: Opening,
    config: CompletionConfig,
    rng: np.random.Generator,
) -> Iterator[str]:
    """Return an iterator over the new symbols, as the config draws or searches them."""
    if config.is_plain:
        return _drawn(model, begin, config, rng)
    # Imported only now, since the first character shouldn't wait for it.
    from textgen.generation.chains import OneText, parts_of

    samplers, beam = parts_of(config)
    if beam is not None:
        return _searched(model, begin, config, samplers, beam)
    return _drawn(model, begin, config, rng, OneText(samplers, begin.ids))


def _drawn(
    model: TrainedModel,
    begin: Opening,
    config: CompletionConfig,
    rng: np.random.Generator,
    text: OneText | None = None,
) -> Iterator[str]:
    """Yield the new symbols of one completion, up to its end or its full length.

    They are drawn by the config's options, or as ``text`` does it.
    """
    symbols, end_id = model.vocabulary.symbols, model.end_id
    decoder = model.decoder()
    current = np.empty(1, np.int64)
    if begin.state is not None:
        decoder.set_state([0], begin.state)
    else:
        for symbol_id in begin.ids[:-1]:
            current[0] = symbol_id
            decoder.step(current)
    current[0] = begin.ids[-1]
    for _ in range(config.length):
        if text is None:
            drawn = sample(decoder.step(current)[0], rng, config)
        else:
            drawn = text.draw(decoder.step(current), rng)
        if drawn == end_id:
            return
        yield symbols[drawn]
        current[0] = drawn


def _searched(
    model: TrainedModel,
    begin: Opening,
    config: CompletionConfig,
    samplers: list[Sampler],
    beam: BeamSearch,
) -> Iterator[str]:
    """Yield the symbols of the likeliest completion, all once it is found."""
    from textgen.generation.beam import search

    best, *_ = search(model, begin.ids, config, samplers, beam, begin.text)
    yield from model.vocabulary.decode(best)


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
