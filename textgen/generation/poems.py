"""A poem of a form, line by line.

    generate_form   returns the whole poem
    stream_form     yields it line by line

For each line, `textgen.generation.verse` draws candidates that keep to metre and rhyme,
and the one is taken that the model finds the most probable. Where none comes, they are
drawn again, and then the poem goes a step back: a line whose rhyme is still open is
taken away. Therefore a line is given out only when its rhyme has been found.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from textgen.config import CompletionConfig
from textgen.errors import FormError, OptionError, checks_keywords, shown
from textgen.generation.forms import ANY_PAUSE, Form, LineForm, find_form
from textgen.generation.prosody import dictionary, rhyme_length
from textgen.generation.streaming import (
    as_model,
    check_is_of_characters,
    check_prompt,
    check_seed,
    first_id,
    fresh_seed,
    known_ids,
)
from textgen.generation.verse import (
    Candidate,
    LineDrawer,
    Standing,
    Wanted,
    syllables_of,
    words_of,
)
from textgen.saving.trained_model import TrainedModel

NEEDED_SYMBOLS = "abcdefghijklmnopqrstuvwxyz \n"
# Candidates of a line are drawn in two halves, each by a thread of its own.
HALVES = 2
HALF_ROWS = 32
TRIES_OF_A_LINE = 2  # before the poem goes a step back
TRIES_WITHOUT_STEP = 8  # where no step back is possible
TRIES_OF_A_POEM = 4  # for each of its lines
LEAST_TRIES_OF_A_POEM = 30


@checks_keywords
def generate_form(
    model: TrainedModel | str | os.PathLike | None = None,
    form: str | None = None,
    prompt: str = "",
    *,
    rhyme_scheme: str | None = None,
    syllables: int | None = None,
    temperature: float = 0.7,
    top_k: int | None = CompletionConfig.top_k,
    top_p: float | None = CompletionConfig.top_p,
    seed: int | None = None,
    strict: bool = CompletionConfig.strict,
    label: str | None = CompletionConfig.label,
) -> str:
    """Write a poem of a form, in English.

    Args:
        model: what `load_model` gave or takes, of running text with line breaks; None
            means the model of the sonnets.
        form: ``sonnet``, ``couplet``, ``quatrain``, ``haiku`` or ``limerick``; None
            means a form of one's own, or a sonnet without that.
        prompt: the first lines, or the beginning of the first one. They are the
            user's, whatever their metre.
        rhyme_scheme: of one's own form, a letter for each line, such as ``"ABBA"``;
            lines with the same letter rhyme, and ``-`` rhymes with nothing.
        syllables: of each of its lines; None means 10.
        temperature: logits are divided by it; above 0.
        top_k: draw among the k likeliest symbols that fit the form only.
        top_p: draw among the likeliest of these that together reach this probability.
        seed: the same seed gives the same poem; None means a fresh one.
        strict: refuse symbols that the model has never seen, rather than fold or skip
            them.
        label: as for `textgen.generate_output`.

    Returns:
        The poem, the prompt included, its lines parted by newlines.

    Raises:
        OptionError: for an option out of bounds, a prompt of as many lines as the
            poem has, or if the library ``pronouncing`` isn't installed.
        FormError: if the model finds no line that fits within a bound on tries.
        VocabularyError: for unknown symbols if ``strict``.
        ModelFileError: if the model can't be found or read.

    Warns:
        UnknownSymbolsWarning: names the symbols that were folded or skipped.
    """
    chosen = find_form(form, rhyme_scheme, syllables)
    config = CompletionConfig(
        temperature=temperature, top_k=top_k, top_p=top_p, strict=strict, label=label
    )
    lines = stream_poem(as_model(model), prompt, chosen, config, seed)
    return prompt + "".join(lines)


@checks_keywords
def stream_form(
    model: TrainedModel | str | os.PathLike | None = None,
    form: str | None = None,
    prompt: str = "",
    *,
    rhyme_scheme: str | None = None,
    syllables: int | None = None,
    temperature: float = 0.7,
    top_k: int | None = CompletionConfig.top_k,
    top_p: float | None = CompletionConfig.top_p,
    seed: int | None = None,
    strict: bool = CompletionConfig.strict,
    label: str | None = CompletionConfig.label,
) -> Iterator[str]:
    """Return an iterator over what follows the prompt, a line at a time.

    Arguments, errors and warnings are those of `generate_form`; all errors but
    `FormError` are raised by the call. What it yields, added to the prompt, is the
    poem: each line comes with the newline before it.
    """
    chosen = find_form(form, rhyme_scheme, syllables)
    config = CompletionConfig(
        temperature=temperature, top_k=top_k, top_p=top_p, strict=strict, label=label
    )
    return stream_poem(as_model(model), prompt, chosen, config, seed)


def stream_poem(
    model: TrainedModel,
    prompt: str,
    form: Form,
    config: CompletionConfig,
    seed: int | None,
    before_try: Callable[[], None] = lambda: None,
) -> Iterator[str]:
    """Return an iterator over what follows the prompt; see `stream_form`.

    ``before_try`` is called before candidates for a line are drawn, and may raise what
    ends the poem.
    """
    seed = fresh_seed() if seed is None else check_seed(seed)
    _check(model, config)
    given, beginning = _split_prompt(check_prompt(prompt), form)
    standing = _read(model, prompt, config)
    poet = _Poet(model, form, config, seed, before_try)
    return poet.write(given, beginning, standing, prompt)


def check_writes_forms(model: TrainedModel) -> None:
    """Raise `OptionError` unless a model has what English lines need."""
    check_is_of_characters(model, "`form`")
    missing = [x for x in NEEDED_SYMBOLS if x not in model.vocabulary]
    if missing or model.makes_lines:
        expected = "`form` needs a model of running English text with line breaks"
        raise OptionError(expected, "use one such as sonnets or english")


def _check(model: TrainedModel, config: CompletionConfig) -> None:
    dictionary()
    check_writes_forms(model)
    if isinstance(config.temperature, Sequence):
        problem = f"one number, but was {shown(config.temperature)}"
        raise OptionError(f"of a `form`, `temperature` must be {problem}")
    if config.temperature == 0:
        problem = "`form` draws many lines, so `temperature` must be above 0, but was 0"
        raise OptionError(problem)


def _split_prompt(prompt: str, form: Form) -> tuple[list[str], str]:
    """Return the user's whole lines, and the beginning of a line that is to go on."""
    *whole, last = prompt.split("\n")
    place = len(whole)
    if place < len(form.lines) and last.strip():
        length, counts = min(map(len, form.lines[place].metres)), syllables_of(last)
        # Where a word may be shorter, as temperate, a mark tells that the line ends.
        ends = last.rstrip()[-1] in ANY_PAUSE
        if (max(counts) if ends else min(counts)) >= length:
            whole, last = [*whole, last], ""
    if any(not words_of(line) for line in whole):
        problem = f"each line of `prompt` must have a word, but was {shown(prompt)}"
        raise OptionError(problem, "leave out lines without one")
    if len(whole) >= len(form.lines):
        problem = (
            f"a {form.name} has {len(form.lines)} lines, but `prompt` has them all"
        )
        raise OptionError(problem, "leave out some of it")
    return whole, last


def _read(model: TrainedModel, prompt: str, config: CompletionConfig) -> Standing:
    """Read all of a prompt but its last symbol, as the beginning of a new poem."""
    vocabulary = model.vocabulary
    ids = [vocabulary.encode("\n\n"), known_ids(model, prompt, config.strict)]
    if (first := first_id(model, config.label)) is not None:
        ids[0] = np.array([first], ids[0].dtype)
    *read, last = np.concatenate(ids).tolist()
    decoder = model.decoder()
    for symbol_id in read:
        decoder.step(np.array([symbol_id]))
    return Standing(decoder.state(), np.array([last]))


@dataclass(frozen=True, eq=False)
class _Line:
    """A line of the poem, and where the poem stands after it."""

    text: str
    after: Standing

    @property
    def last_word(self) -> str:
        """The word that bears the rhyme; "" if there is none."""
        return (words_of(self.text) or [""])[-1]


class _Poet:
    """Writes one poem."""

    def __init__(
        self,
        model: TrainedModel,
        form: Form,
        config: CompletionConfig,
        seed: int,
        before_try: Callable[[], None],
    ) -> None:
        self._model, self._form, self._seed = model, form, seed
        self._before_try = before_try
        self._drawers = [LineDrawer(model, HALF_ROWS, config) for _ in range(HALVES)]
        self._tries = 0

    def write(
        self, given: list[str], beginning: str, standing: Standing, prompt: str
    ) -> Iterator[str]:
        """Yield what follows the prompt, line by line."""
        if prompt and not beginning and not prompt.endswith("\n"):
            standing = self._with(standing, "\n")
        if not beginning:
            standing = self._with(standing, self._form.lines[len(given)].indent)
        lines = [_Line(text, standing) for text in given]
        first, told, failures = len(lines), len(lines), 0
        with ThreadPoolExecutor(HALVES) as pool:
            while told < len(self._form.lines):
                here = lines[-1].after if lines else standing
                wanted = self._wanted(lines, beginning * (len(lines) == first))
                candidates = self._draw(pool, here, wanted)
                if candidates:
                    lines.append(self._best(candidates, len(lines)))
                    failures = 0
                else:
                    failures += 1
                    self._check_tries(failures, wanted, len(lines))
                    if failures >= TRIES_OF_A_LINE and len(lines) > told:
                        lines.pop()
                        failures = 0
                for place in range(told, self._settled(lines)):
                    yield self._as_continuation(lines[place].text, place, prompt, first)
                    told = place + 1

    def _as_continuation(self, line: str, place: int, prompt: str, first: int) -> str:
        """Return what a line adds to the prompt, or to the lines before it."""
        if place > first:
            return f"\n{line}"
        *_, last = prompt.split("\n")
        is_beginning = last and line.startswith(last)
        if is_beginning:
            return line[len(last) :]
        return f"\n{line}" if last else line

    def _with(self, standing: Standing, text: str) -> Standing:
        """Return where the poem stands when a text is yet to be read, too."""
        ids = self._model.vocabulary.encode(text)
        return replace(standing, unread=np.concatenate([standing.unread, ids]))

    def _best(self, candidates: Sequence[Candidate], place: int) -> _Line:
        best = max(candidates, key=lambda candidate: candidate.score)
        after = best.standing
        if place + 1 < len(self._form.lines):
            after = self._with(after, self._form.lines[place + 1].indent)
        return _Line(self._form.lines[place].indent + best.text, after)

    def _settled(self, lines: Sequence[_Line]) -> int:
        """Return how many lines stay: those before the first whose rhyme is open."""
        written = [line.rhyme for line in self._form.lines[: len(lines)]]
        later = [line.rhyme for line in self._form.lines[len(lines) :]]
        for place, rhyme in enumerate(written):
            if rhyme and written.count(rhyme) == 1 and rhyme in later:
                return place
        return len(lines)

    def _draw(
        self, pool: Executor, standing: Standing, wanted: Wanted
    ) -> list[Candidate]:
        """Return all candidates of both halves; another try draws others."""
        self._before_try()
        self._tries += 1

        def draw(half: int) -> list[Candidate]:
            rng = np.random.default_rng((self._seed, self._tries, half))
            return self._drawers[half].draw(standing, wanted, rng)

        return [each for half in pool.map(draw, range(HALVES)) for each in half]

    def _check_tries(self, failures: int, wanted: Wanted, place: int) -> None:
        """Raise `FormError` if no line came too often."""
        bound = TRIES_OF_A_POEM * len(self._form.lines)
        bound = max(bound, LEAST_TRIES_OF_A_POEM)
        if failures < TRIES_WITHOUT_STEP and self._tries < bound:
            return
        rhyme = f" and rhymes with {shown(wanted.rhymes[0])}" if wanted.rhymes else ""
        problem = (
            f"no line {place + 1} came that fits the {self._form.name}{rhyme} "
            f"among {self._tries * HALVES * HALF_ROWS:,} candidates"
        )
        raise FormError(problem, "try another `seed`, `temperature` or `prompt`")

    def _wanted(self, lines: Sequence[_Line], beginning: str) -> Wanted:
        """Return what the next line has to be."""
        form = self._form.lines[len(lines)]
        ends = [
            (each.rhyme, line.last_word)
            for each, line in zip(self._form.lines, lines, strict=False)
            if each.rhyme
        ]
        rhymes = tuple(word for rhyme, word in ends if rhyme == form.rhyme)
        return Wanted(
            form=self._sounding(form, rhymes),
            beginning=beginning,
            rhymes=rhymes,
            others=tuple(word for rhyme, word in ends if rhyme != form.rhyme),
            leads=not rhymes and self._is_repeated(form, len(lines)),
            before=tuple(line.text for line in lines),
        )

    def _sounding(self, form: LineForm, rhymes: tuple[str, ...]) -> LineForm:
        """Return a line's form with the weak ending that a rhyme such as ever needs."""
        known = "".join(x for x in form.pause if x in self._model.vocabulary)
        weak = "w" * (rhyme_length(rhymes[0]) - 1) if rhymes else ""
        metres = tuple(metre + weak for metre in form.metres)
        return replace(form, metres=metres, pause=known)

    def _is_repeated(self, form: LineForm, place: int) -> bool:
        later = self._form.lines[place + 1 :]
        return bool(form.rhyme) and form.rhyme in [line.rhyme for line in later]
