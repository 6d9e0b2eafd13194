"""How the command `generate` prints completions.

As text: prompt and completion, each character as soon as it is made, then a newline.
As JSON lines: one object for each completion, in ASCII, with its prompt, completion
and seed. Many readers refuse lone surrogates in JSON (RFC 7493 forbids them), which is
how Python holds the bytes of a prompt that aren't UTF-8: each of these is printed as
the replacement character, U+FFFD.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from textgen.config import CompletionConfig, ConstraintConfig
from textgen.errors import OptionError
from textgen.generation.batch import (
    ANYTHING,
    Completion,
    complete_many,
    completion_seeds,
    constraint_of,
    several,
)
from textgen.generation.streaming import stream_completion
from textgen.saving.trained_model import TrainedModel
from textgen.system.terminal import lines_from, say, writer

if TYPE_CHECKING:
    from textgen.generation.constraints import Constraint

LONE_SURROGATES = re.compile("[\ud800-\udfff]")


class Printer:
    """Makes completions with one model and one set of options, and prints them."""

    def __init__(
        self,
        model: TrainedModel,
        config: CompletionConfig,
        jsonl: bool,
        wanted: ConstraintConfig = ANYTHING,
    ) -> None:
        self._model = model
        self._config = config
        self._jsonl = jsonl
        self._wanted = wanted
        self._write = writer(sys.stdout)

    def print_one(self, prompt: str, seed: int) -> None:
        """Print a completion; as text, each character as soon as it is made.

        One that has to fit something comes as a whole.
        """
        if self._wanted.told:
            self._print(self._fitting(prompt, seed))
            return
        characters = self._stream(prompt, seed)
        if self._jsonl:
            self._print(Completion(prompt, "".join(characters), seed))
            return
        self._write(prompt)
        for character in characters:
            self._write(character)
        self._write("\n")

    def _stream(self, prompt: str, seed: int) -> Iterator[str]:
        """Return what follows a prompt, piece by piece."""
        return stream_completion(self._model, prompt, self._config, seed)

    def _fitting(self, prompt: str, seed: int) -> Completion:
        fitting = complete_many(
            self._model, [prompt], [seed], self._config, constraint=self._constraint
        )
        return next(fitting)

    @functools.cached_property
    def _constraint(self) -> Constraint | None:
        return constraint_of(self._model, self._wanted, self._config)

    def print_each_line(self, stream: TextIO, seed: int) -> int:
        """Print a completion of each line as it comes; a blank line follows a text.

        The completions' seeds are those of `completion_seeds`. Returns how many came.
        """
        if self._wanted.told:
            _ = self._constraint  # what nothing can fit is refused before a line comes
        prompts, found = lines_from(stream), 0
        for prompt, own_seed in zip(prompts, completion_seeds(seed), strict=False):
            self.print_one(prompt, own_seed)
            if not self._jsonl:
                self._write("\n")
            found += 1
        return found

    def print_many(self, prompt: str, count: int, seed: int) -> None:
        """Print ``count`` completions of a prompt, made together.

        A model of lines gives distinct ones, one a line, and it is said on standard
        error if there aren't so many. What may hold newlines is separated by an empty
        line. The completions' seeds are those of `completion_seeds`.
        """
        separator = "" if self._jsonl or self._model.makes_lines else "\n"
        found = 0
        completions = several(
            self._model, prompt, count, seed, self._config, self._wanted
        )
        for completion in completions:
            self._write(separator if found else "")
            self._print(completion)
            found += 1
        if not found:
            raise OptionError(too_few(found, count, self._model, self._wanted))
        if found < count:
            say(f"note: {too_few(found, count, self._model, self._wanted)}")

    def _print(self, completion: Completion) -> None:
        if self._jsonl:
            record = {
                "prompt": LONE_SURROGATES.sub("\ufffd", completion.prompt),
                "completion": completion.text,
                "seed": completion.seed,
            }
            if self._config.label is not None:
                record["label"] = self._config.label
            self._write(json.dumps(record) + "\n")
        else:
            self._write(f"{completion.prompt}{completion.text}\n")


def too_few(
    found: int, count: int, model: TrainedModel, wanted: ConstraintConfig = ANYTHING
) -> str:
    """Return what is said when not so many different texts came."""
    what = "different lines" if model.kind == "lines" else "texts"
    asked = " that are `novel`" if wanted.novel else ""
    if told := wanted.told:
        asked = f"{asked} with {told}"
    advice = "a higher `temperature` or a shorter `prompt` gives more"
    if asked:
        advice = "ask for less, or a higher `temperature`"
    problem = f"{count:,} {what}{asked} were wanted, but no more than {found:,} came"
    return f"{problem}; {advice}"
