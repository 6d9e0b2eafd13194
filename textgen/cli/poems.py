"""How the command `generate` prints poems of a form, as it prints completions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from textgen.cli.printing import Printer
from textgen.config import CompletionConfig
from textgen.errors import OptionError
from textgen.generation.batch import completion_seeds
from textgen.generation.forms import Form
from textgen.generation.poems import stream_poem
from textgen.saving.trained_model import TrainedModel


class PoemPrinter(Printer):
    """Writes poems with one model and one form, and prints each line as it comes."""

    def __init__(
        self, model: TrainedModel, config: CompletionConfig, jsonl: bool, form: Form
    ) -> None:
        """Raise `OptionError` for options that the form leaves no room for."""
        super().__init__(model, config, jsonl)
        self._form = form
        if not config.is_plain:
            problem = "a `form` is drawn with one `temperature`, `top_k` and `top_p`"
            raise OptionError(problem, "leave out the other options of drawing")
        if config.stop is not None or config.length != CompletionConfig.length:
            problem = "the `form` says where a poem ends"
            raise OptionError(problem, "leave out `length` and `stop`")

    def _stream(self, prompt: str, seed: int) -> Iterator[str]:
        return stream_poem(self._model, prompt, self._form, self._config, seed)

    def print_each_line(self, stream: TextIO, seed: int) -> int:
        """Print a poem for each line, or one if there is none, since it needs none."""
        found = super().print_each_line(stream, seed)
        if not found:
            self.print_one("", seed)
        return found

    def print_many(self, prompt: str, count: int, seed: int) -> None:
        """Print ``count`` poems with the seeds of `completion_seeds`.

        An empty line separates them.
        """
        for number, own_seed in zip(range(count), completion_seeds(seed), strict=False):
            if number and not self._jsonl:
                self._write("\n")
            self.print_one(prompt, own_seed)
