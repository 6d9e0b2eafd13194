"""The conversation of the command `generate` on a terminal.

    Write the beginning of a poem, the model will finish it (/help for more): ▮

Completions go to standard output, everything said about them to standard error. What
is pasted is one beginning, with its line breaks, where Python has GNU readline.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from textgen.cli.printing import too_few
from textgen.cli.settings import (
    SETTINGS,
    Drawing,
    help_on_settings,
    read_setting,
    read_value,
    written,
)
from textgen.cli.text_so_far import SavedTexts, Text
from textgen.config import CompletionConfig, ConstraintConfig, options_of
from textgen.errors import (
    OptionError,
    TextgenError,
    as_command_line,
    did_you_mean,
    option_name,
    shown,
)
from textgen.generation.batch import completion_seeds, several
from textgen.generation.streaming import (
    UnknownSymbolsWarning,
    ask,
    first_id,
    fresh_seed,
    known_ids,
    request_for_beginning,
    stream_completion,
)
from textgen.saving.model_file import load_model
from textgen.saving.trained_model import TrainedModel
from textgen.system.terminal import say, tell, whole_number, writer

if TYPE_CHECKING:
    from textgen.cli.picking import Picker
    from textgen.generation.continuations import Continuation

with contextlib.suppress(ImportError):
    # Gives input() a history and line editing; Windows has its own.
    import readline

    if "libedit" not in (readline.__doc__ or ""):
        readline.parse_and_bind("set enable-bracketed-paste on")

HELP = """\
What you write or paste is the beginning of a text, and the model goes on from it.
/more                  go on from where the last completion stopped; for a model
                       of lines, another completion of the same beginning
/more 2                go on from the second of several completions (see /count)
/pick 5                show five ways to go on, of a few words each: a number
                       takes one, Enter draws another, and what you write is
                       added; /pick again shows others, /pick none ends it
/undo                  take back the last completion, pick or words
/save FILE             save the text, with others saved there in this talk
/model NAME            change to another model, a name or a file; of another
                       program's: /model FILE --vocabulary-from TEXT
/quit, /exit, /q       leave, as Ctrl-D does; Ctrl-C stops a completion
Write // for a beginning with a slash. These are settings; without a value one is
shown, and none unsets one that has no default:"""

OF_THE_COMMAND = [
    *("form", "rhyme-scheme", "syllables", "jsonl", "prompt-file"),
    *(option_name(field.name) for field in options_of(ConstraintConfig)),
]
LEAVING = ("quit", "exit", "q")
COMMANDS = (
    "help", "more", "pick", "undo", "save", "model", *SETTINGS, *LEAVING,
)  # fmt: skip


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
        self._drawing = Drawing(seed=seed)
        self._write = writer(sys.stdout)
        self._is_known = False  # what is asked for: a name, a poem or another text
        self._text = Text()
        self._is_shown = True  # all of it on standard output
        self._saved = SavedTexts()
        self._picker: Picker | None = None
        self._last_seed = 0  # of the last beginning's first completion
        self._seeds: Iterator[int] = iter(())  # of its next completions
        self._commands: dict[str, Callable[[str], None]] = {
            "help": self._help,
            "more": self._go_on,
            "pick": self._pick,
            "undo": self._undo,
            "save": self._save,
            "model": self._change_model,
        }

    def run(self) -> None:
        """Talk until ``/quit`` or the end of standard input (Ctrl-D)."""
        while True:
            try:
                name, line = _command_in(ask(self._question()))
                if name in LEAVING:
                    return self._stop_picking()
                if name is not None:
                    self._obey(name, line)
                elif picker := self._open_picker():
                    self._take(picker, line)
                else:
                    self._begin(line)
            except KeyboardInterrupt:
                self._write("\n")
                self._stop_picking()
                say("(stopped; Ctrl-D or /quit leaves)")
            except EOFError:
                self._write("\n")
                if self._picker is None:
                    return None
                self._stop_picking()
                say("(picking ends; Ctrl-D or /quit leaves)")
            except TextgenError as error:
                message = str(error).replace("`vocabulary_from`", "--vocabulary-from")
                tell(as_command_line(message, prefix="/"))

    def _question(self) -> str:
        """Return what to ask, at length only once; in picking, make an offer first."""
        if picker := self._open_picker():
            return self._offer(picker)
        if self._is_known:
            return "> "
        self._is_known = True
        return request_for_beginning(self._model, hint=" (/help for more)")

    def _obey(self, name: str, value: str) -> None:
        if name in self._commands:
            self._commands[name](value)
        elif name in SETTINGS:
            if value:
                self._set(name, value)
            tell(f"{name} is {self._shown_setting(name)}")
        elif name in OF_THE_COMMAND:
            raise OptionError(f"there is no /{name} here: give --{name} to the command")
        else:
            meant = did_you_mean(f"/{name}", [f"/{known}" for known in COMMANDS])
            command = shown(f"/{name}")
            raise OptionError(f"there is no command {command}{meant} (/help lists all)")

    def _help(self, _: str) -> None:
        print(f"{HELP}\n{help_on_settings()}", file=sys.stderr, flush=True)

    def _set(self, name: str, value: str) -> None:
        changed = {SETTINGS[name].dest: read_setting(name, value)}
        if hasattr(self._drawing, name):
            self._drawing = replace(self._drawing, **changed)
        else:
            config = replace(self._config, **changed)
            first_id(self._model, config.label)
            self._config = config

    def _shown_setting(self, name: str) -> str:
        if name == "seed" and self._drawing.seed is None:
            last = f"; the last was {self._last_seed}" if self._text else ""
            return f"fresh each time{last}"
        holder = self._drawing if hasattr(self._drawing, name) else self._config
        return written(getattr(holder, SETTINGS[name].dest))

    def _change_model(self, value: str) -> None:
        if value:
            name, _, text = value.partition(" --vocabulary-from ")
            path = os.path.expanduser(name.strip())
            self._model = load_model(path, text.strip() or None)
            self._is_known = False
            if self._picker:
                self._pick(str(self._picker.count))
        say(f"model: {self._model.source!r}{self._model.remark}")
        if value:
            self._tell_unknown(str(self._text))

    # The text

    def _begin(self, prompt: str) -> None:
        self._tell_unknown(prompt)
        self._text.begin(prompt)
        self._is_shown = False
        fixed = self._drawing.seed
        self._last_seed = fresh_seed() if fixed is None else fixed
        self._seeds = completion_seeds(self._last_seed)
        if self._picker is None:
            self._complete()

    def _go_on(self, value: str) -> None:
        self._check_text()
        if value:
            self._text.take(read_value("more", whole_number, value))
        if self._text.has_ended:  # another completion of the same line
            self._text.restart()
            self._is_shown = False
        self._complete()

    def _complete(self) -> None:
        """Print what follows the text as it is made, and add it."""
        text = str(self._text)
        shown_text = "" if self._is_shown else text
        print_them = (
            self._print_one if self._drawing.count == 1 else self._print_several
        )
        with _unknown_symbols_told():
            print_them(text, shown_text, next(self._seeds))

    def _print_one(self, text: str, shown_text: str, seed: int) -> None:
        made: list[str] = []
        characters = stream_completion(self._model, text, self._config, seed)
        try:
            self._write(shown_text)
            for character in characters:
                made.append(character)
                self._write(character)
        finally:
            self._keep("".join(made))
        self._write("\n\n")

    def _print_several(self, text: str, shown_text: str, seed: int) -> None:
        made: list[str] = []
        count = self._drawing.count
        between = "" if self._model.makes_lines else "\n"
        try:
            for completion in several(self._model, text, count, seed, self._config):
                parting = between if made else ""
                self._write(f"{parting}{shown_text}{completion.text}\n")
                made.append(completion.text)
        finally:
            if made:
                self._keep(*made)
        self._write("\n")
        if len(made) < count:
            note = f"note: {too_few(len(made), count, self._model)}"
            tell(as_command_line(note, prefix="/"))

    def _keep(self, *pieces: str) -> None:
        self._text.add(*pieces, ends=self._model.kind == "lines")
        self._is_shown = True

    def _undo(self, _: str) -> None:
        self._check_text()
        self._text.undo()
        if self._picker is None:
            from textgen.cli.picking import tell_end

            tell_end(str(self._text))
        else:
            self._is_shown = False

    def _save(self, name: str) -> None:
        if not name:
            raise OptionError("`save` needs the name of a file")
        self._check_text()
        between = "" if self._model.makes_lines else "\n"
        say(f"saved in {str(self._saved.save(name, self._text, between))!r}")

    def _check_text(self) -> None:
        if not self._text:
            raise OptionError("there is no text yet; write a beginning")

    def _tell_unknown(self, text: str) -> None:
        """Warn of what the model has never seen, or raise if that was asked for."""
        known_ids(self._model, text, self._config.strict)

    # Picking

    def _pick(self, value: str) -> None:
        if value == "none":
            return self._stop_picking()
        from textgen.cli.picking import USUAL_COUNT, Picker  # imports more than others

        self._picker = Picker(
            read_value("pick", whole_number, value) if value else USUAL_COUNT
        )
        if not self._open_picker():
            say("(what you write is the beginning)")
        return None

    def _open_picker(self) -> Picker | None:
        """Return what offers ways to go on, if there is a text that can go on."""
        return self._picker if self._text and not self._text.has_ended else None

    def _offer(self, picker: Picker) -> str:
        """Show what may come next, and return the question; if it fails, stop."""
        try:
            with _unknown_symbols_told():
                picker.offer(self._model, str(self._text), self._config, self._seeds)
        except TextgenError:
            self._stop_picking()
            raise
        return picker.question()

    def _take(self, picker: Picker, line: str) -> None:
        """Add what is chosen by its number, or drawn, or the user's own words."""
        chosen = picker.chosen(line) if line else self._draw()
        if chosen is None:
            self._tell_unknown(line)
            self._text.add(line)
        else:
            self._text.add(chosen.text, ends=chosen.ends)
        self._is_shown = False
        if self._text.has_ended:
            self._show()

    def _draw(self) -> Continuation:
        from textgen.generation.continuations import continuations

        text, seed = str(self._text), next(self._seeds)
        with _unknown_symbols_told():
            return continuations(self._model, text, 1, seed, self._config)[0]

    def _stop_picking(self) -> None:
        if self._picker:
            self._picker = None
            self._show()

    def _show(self) -> None:
        """Write the text on standard output, if it isn't there already."""
        if not self._is_shown:
            self._write(f"{self._text}\n\n")
        self._is_shown = True


@contextlib.contextmanager
def _unknown_symbols_told() -> Iterator[None]:
    """Leave out warnings that were given when the text was new."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownSymbolsWarning)
        yield


def _command_in(line: str) -> tuple[str | None, str]:
    """Return a command's name and value, or None and what is no command.

    What was pasted with line breaks is none, whatever it begins with.
    """
    command = line.rstrip()
    if "\n" in command or not line.startswith("/"):
        return None, line
    if line.startswith("//"):
        return None, line[1:]
    name, _, value = command[1:].partition(" ")
    return name, value.strip()
