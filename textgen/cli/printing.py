"""How the command `generate` prints completions.

As text: prompt and completion, each character as soon as it is made, then a newline.
As JSON lines: one object for each completion, in ASCII, with its prompt, completion
and seed. Many readers refuse lone surrogates in JSON (RFC 7493 forbids them), which is
how Python holds the bytes of a prompt that aren't UTF-8: each of these is printed as
the replacement character, U+FFFD.
"""

from __future__ import annotations

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
        self, model: TrainedModel, config: CompletionConfig, jsonl: bool
    ) -> None:
        self._model = model
        self._config = config
        self._jsonl = jsonl
        self._write = writer(sys.stdout)

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
        """
        prompts = lines_from(stream)
        for prompt, own_seed in zip(prompts, completion_seeds(seed), strict=False):
            self.print_one(prompt, own_seed)
            if not self._jsonl:
                self._write("\n")

    def print_many(self, prompt: str, count: int, seed: int) -> None:
        """Print ``count`` completions of a prompt, made together.

        A model of lines gives distinct ones, one a line, and it is said on standard
        error if there aren't so many. What may hold newlines is separated by an empty
        line. The
        completions' seeds are those of `completion_seeds`.
        """
        model, config = self._model, self._config
        separator = "" if self._jsonl or model.makes_lines else "\n"
        if model.kind == "lines":
            completions = distinct_lines(model, prompt, count, seed, config)
        else:
            prompts, seeds = repeat(prompt, count), completion_seeds(seed)
            completions = complete_many(model, prompts, seeds, config, batch_size=count)
        found = 0
        for completion in completions:
            self._write(separator if found else "")
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
