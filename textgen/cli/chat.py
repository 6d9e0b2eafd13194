"""The conversation of `generate.py` on a terminal.

    Write the beginning of a poem, the model will finish it (/help for more): ▮

Completions go to standard output, everything said about them to stderr.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from argparse import ArgumentTypeError
from dataclasses import replace
from itertools import islice

from textgen.config import CompletionConfig
from textgen.errors import OptionError, TextgenError, as_command_line, shown
from textgen.generation.batch import completion_seeds
from textgen.generation.streaming import (
    UnknownSymbolsWarning,
    ask,
    check_seed,
    fresh_seed,
    request_for_beginning,
    stream_output,
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

SETTINGS = {
    "temperature": number,
    "length": whole_number,
    "top-k": whole_number,
    "top-p": number,
    "seed": whole_number,
}
OPTIONAL_SETTINGS = ("top-k", "top-p", "seed")


class Conversation:
    """Asks for beginnings and completes them until the user leaves."""

    def __init__(
        self,
        model: TrainedModel,
        config: CompletionConfig,
        *,
        seed: int | None = None,
    ) -> None:
        """Begin with the given options; the user may change config and seed.

        Args:
            model: completes the beginnings.
            config: how.
            seed: used for every beginning; None means a fresh one each time.
        """
        self._model = model
        self._config = config
        self._seed = seed
        self._write = writer(sys.stdout)
        self._question = request_for_beginning(model, hint=" (/help for more)")
        self._prompt: str | None = None
        self._pieces: list[str] = []
        self._first_seed = 0
        self._times_more = 0

    def run(self) -> None:
        """Talk until ``/quit`` or the end of standard input (Ctrl-D)."""
        while True:
            try:
                line = ask(self._question)
                if line.split()[:1] == ["/quit"]:
                    return
                self._answer(line)
            except KeyboardInterrupt:
                self._write("\n")
                say("(stopped; Ctrl-D or /quit leaves)")
            except EOFError:
                self._write("\n")
                return
            except TextgenError as error:
                say(as_command_line(str(error), prefix="/"))

    def _answer(self, line: str) -> None:
        if line.startswith("//"):
            self._begin(line[1:])
        elif line.startswith("/"):
            command, _, value = line[1:].partition(" ")
            self._obey(command, value.strip())
        else:
            self._begin(line)

    def _obey(self, command: str, value: str) -> None:
        if command == "help":
            print(HELP, file=sys.stderr, flush=True)
        elif command == "more":
            self._go_on()
        elif command in SETTINGS:
            if value:
                self._set(command, value)
            say(f"{command} is {self._shown_setting(command)}")
        else:
            given = shown(f"/{command} {value}".rstrip())
            raise OptionError(f"there is no command {given}; /help lists all")

    def _set(self, name: str, value: str) -> None:
        if value == "none" and name in OPTIONAL_SETTINGS:
            setting = None
        else:
            try:
                setting = SETTINGS[name](value)
            except ArgumentTypeError as error:
                keyword = name.replace("-", "_")
                raise OptionError(f"`{keyword}` {error}") from None
        if name == "seed":
            self._seed = setting if setting is None else check_seed(setting)
        else:
            self._config = replace(self._config, **{name.replace("-", "_"): setting})

    def _shown_setting(self, name: str) -> str:
        if name != "seed":
            return str(getattr(self._config, name.replace("-", "_"))).lower()
        if self._seed is not None:
            return str(self._seed)
        last = f"; the last was {self._first_seed}" if self._prompt is not None else ""
        return f"fresh each time{last}"

    def _begin(self, prompt: str) -> None:
        self._prompt = prompt
        self._pieces = [prompt]
        self._first_seed = fresh_seed() if self._seed is None else self._seed
        self._times_more = 0
        self._complete(prompt, shown=prompt)

    def _go_on(self) -> None:
        if self._prompt is None:
            raise OptionError("there is nothing to go on from yet; write a beginning")
        self._times_more += 1
        if self._model.kind == "lines":
            self._complete(self._prompt, shown=self._prompt)
        else:
            with warnings.catch_warnings():
                # What is unknown in the beginning was said when it was new.
                warnings.simplefilter("ignore", UnknownSymbolsWarning)
                self._complete("".join(self._pieces), shown="")

    def _complete(self, text: str, shown: str) -> None:
        """Stream what follows ``text``; keep it for ``/more``."""
        seeds = completion_seeds(self._first_seed)
        seed = next(islice(seeds, self._times_more, None))
        characters = stream_output(self._model, text, seed=seed, **vars(self._config))
        self._write(shown)
        for character in characters:
            self._pieces.append(character)
            self._write(character)
        self._write("\n\n")
