"""How `generate.py` prints completions.

As text: prompt and completion, each character as soon as it is made, then a newline.
As JSON lines: an object for each completion with its prompt, completion and seed, in
ASCII (other characters as JSON escapes), so that any reader can take it. JSON has no
form for the bytes of a prompt that are not UTF-8: each is the replacement character,
U+FFFD. Lone surrogates, as which Python has them, are what many readers refuse
(RFC 8259, section 8.2, leaves them open and RFC 7493 forbids them).
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from itertools import repeat
from typing import TextIO

from textgen.config import CompletionConfig
from textgen.generation.batch import (
    Completion,
    complete_many,
    completion_seeds,
    distinct_lines,
)
from textgen.generation.streaming import stream_completion
from textgen.saving.trained_model import TrainedModel
from textgen.system.terminal import lines_from, say, writer

LONE_SURROGATES = re.compile("[\ud800-\udfff]")


class Printer:
    """Makes completions with one model and one set of options, and prints them."""

    def __init__(
        self,
        model: TrainedModel,
        config: CompletionConfig,
        jsonl: bool = False,
    ) -> None:
        """Print to standard output from now on.

        Args:
            model: completes the prompts.
            config: how.
            jsonl: print JSON lines.
        """
        self._model = model
        self._config = config
        self._write = writer(sys.stdout)
        self._jsonl = jsonl

    def print_one(self, prompt: str, seed: int) -> None:
        """Print a completion; as text, each character as soon as it is made."""
        characters = stream_completion(self._model, prompt, self._config, seed)
        if self._jsonl:
            self._print(Completion(prompt, "".join(characters), seed))
            return
        self._write(prompt)
        for character in characters:
            self._write(character)
        self._write("\n")

    def print_each_line(self, stream: TextIO, seed: int) -> None:
        """Print a completion of each line as it comes; a blank line follows a text.

        The completions' seeds are those of `completion_seeds`.

        Args:
            stream: its lines are the prompts.
            seed: determines all completions.
        """
        prompts = lines_from(stream)
        for prompt, own_seed in zip(prompts, completion_seeds(seed), strict=False):
            self.print_one(prompt, own_seed)
            if not self._jsonl:
                self._write("\n")

    def print_many(self, prompt: str, count: int, seed: int) -> None:
        """Print ``count`` completions of a prompt, made together.

        A model of lines gives distinct ones, one a line, and it is said on stderr if
        there aren't so many. Texts are separated by a blank line. The completions'
        seeds are those of `completion_seeds`.
        """
        if self._model.kind == "lines":
            self._print_distinct(prompt, count, seed)
            return
        completions = complete_many(
            self._model,
            repeat(prompt, count),
            completion_seeds(seed),
            self._config,
            batch_size=count,
        )
        with contextlib.closing(completions):
            for number, completion in enumerate(completions):
                if number and not self._jsonl:
                    self._write("\n")
                self._print(completion)

    def _print_distinct(self, prompt: str, count: int, seed: int) -> None:
        found = 0
        lines = distinct_lines(self._model, prompt, count, seed, self._config)
        with contextlib.closing(lines):
            for completion in lines:
                self._print(completion)
                found += 1
        if found < count:
            say(
                f"note: {count:,} different lines were wanted, but no more than "
                f"{found:,} came; a higher `temperature` or a shorter `prompt` gives "
                "more"
            )

    def _print(self, completion: Completion) -> None:
        if self._jsonl:
            record = {
                "prompt": LONE_SURROGATES.sub("\ufffd", completion.prompt),
                "completion": completion.text,
                "seed": completion.seed,
            }
            self._write(json.dumps(record) + "\n")
        else:
            self._write(f"{completion.prompt}{completion.text}\n")
