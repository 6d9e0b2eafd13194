"""The conversation of the command `generate` on a terminal.

    Write the beginning of a poem, the model will finish it (/help for more): ▮

Completions go to standard output, everything said about them to standard error.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from textgen.config import CompletionConfig
from textgen.errors import (
    OptionError,
    TextgenError,
    as_command_line,
    did_you_mean,
    shown,
)
from textgen.generation.batch import completion_seeds
from textgen.generation.streaming import (
    UnknownSymbolsWarning,
    ask,
    check_seed,
    fresh_seed,
    request_for_beginning,
    stream_completion,
)
from textgen.saving.trained_model import TrainedModel
from textgen.system.terminal import number, say, whole_number, writer

with contextlib.suppress(ImportError):
    # Gives input() a history and line editing; Windows has its own.
    import readline  # noqa: F401

HELP = """\
What you write is the beginning of a text, and the model goes on from it.
/more              go on from where the last completion stopped; for a model of
                   lines, another completion of the same beginning
/temperature 0.7   lower is safer, higher is bolder; 0 takes the likeliest always
/length 200        characters of a completion, at most
/top-k 40          draw among so many of the likeliest characters; none for all
/top-p 0.9         draw among the likeliest that together reach this; none for all
/seed 3            repeat: the same seed and beginning give the same completion;
                   none for a fresh seed each time
/quit              leave, as Ctrl-D does; Ctrl-C stops a completion
A setting without a value is shown. Write // for a beginning with a slash."""

SETTINGS: dict[str, Callable[[str], int | float]] = {
    "temperature": number,
    "length": whole_number,
    "top-k": whole_number,
    "top-p": number,
    "seed": whole_number,
}
OPTIONAL_SETTINGS = ("top-k", "top-p", "seed")
COMMANDS = ("help", "more", *SETTINGS, "quit")


class Conversation:
    """Asks for beginnings and completes them until the user leaves."""

    def __init__(
        self,
        model: TrainedModel,
        config: CompletionConfig,
        seed: int | None = None,
    ) -> None:
        """Begin with a config and a seed, None for a fresh one for each beginning."""
        self._model = model
        self._config = config
        self._seed = seed
        self._write = writer(sys.stdout)
        self._question = request_for_beginning(model, hint=" (/help for more)")
        self._prompt: str | None = None  # the last beginning
        self._text: list[str] = []  # the beginning and all that followed it
        self._last_seed = 0  # of the last beginning's first completion
        self._seeds: Iterator[int] = iter(())  # of its next completions

    def run(self) -> None:
        """Talk until ``/quit`` or the end of standard input (Ctrl-D)."""
        while True:
            try:
                line = ask(self._question)
                if line.split()[:1] == ["/quit"]:
                    return
                if line.startswith("/") and not line.startswith("//"):
                    self._obey(line.rstrip())
                else:
                    self._begin(line.removeprefix("/"))
            except KeyboardInterrupt:
                self._write("\n")
                say("(stopped; Ctrl-D or /quit leaves)")
            except EOFError:
                self._write("\n")
                return
            except TextgenError as error:
                say(as_command_line(str(error), prefix="/"))

    def _obey(self, line: str) -> None:
        command, _, value = line[1:].partition(" ")
        if command == "help":
            print(HELP, file=sys.stderr, flush=True)
        elif command == "more":
            self._go_on()
        elif command in SETTINGS:
            if value:
                self._set(command, value.strip())
            say(f"{command} is {self._shown_setting(command)}")
        else:
            meant = did_you_mean(line, [f"/{known}" for known in COMMANDS])
            raise OptionError(
                f"there is no command {shown(line)}{meant} (/help lists all)"
            )

    def _set(self, name: str, value: str) -> None:
        keyword = name.replace("-", "_")
        setting: Any = None
        if value != "none" or name not in OPTIONAL_SETTINGS:
            try:
                setting = SETTINGS[name](value)
            except ArgumentTypeError as error:
                raise OptionError(f"`{keyword}` {error}") from None
        if name == "seed":
            self._seed = setting if setting is None else check_seed(setting)
        else:
            self._config = replace(self._config, **{keyword: setting})

    def _shown_setting(self, name: str) -> str:
        if name != "seed":
            return str(getattr(self._config, name.replace("-", "_"))).lower()
        if self._seed is not None:
            return str(self._seed)
        last = f"; the last was {self._last_seed}" if self._prompt is not None else ""
        return f"fresh each time{last}"

    def _begin(self, prompt: str) -> None:
        self._prompt = prompt
        self._text = [prompt]
        self._last_seed = fresh_seed() if self._seed is None else self._seed
        self._seeds = completion_seeds(self._last_seed)
        self._complete(prompt, shown=prompt)

    def _go_on(self) -> None:
        if self._prompt is None:
            raise OptionError("there is nothing to go on from yet; write a beginning")
        if self._model.kind == "lines":
            self._complete(self._prompt, shown=self._prompt)
            return
        with warnings.catch_warnings():
            # What is unknown in the beginning was said when it was new.
            warnings.simplefilter("ignore", UnknownSymbolsWarning)
            self._complete("".join(self._text), shown="")

    def _complete(self, text: str, shown: str) -> None:
        """Print what follows ``text`` as it is made, and keep it for ``/more``."""
        seed = next(self._seeds)
        characters = stream_completion(self._model, text, self._config, seed)
        self._write(shown)
        for character in characters:
            self._text.append(character)
            self._write(character)
        self._write("\n\n")
