"""The settings of a conversation: /NAME shows one and /NAME VALUE changes it.

There is one for each option of `CompletionConfig`, read as on the command line, and
those of `Drawing`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import Any

from textgen.cli.options import add_options
from textgen.config import MAX_SEED, CompletionConfig, Setting, Settings
from textgen.errors import OptionError, shown
from textgen.generation.batch import MAX_COUNT

SWITCHES = {"on": True, "off": False}
HELP_COLUMN, HELP_WIDTH = 23, 80


# fmt: off
@dataclass(frozen=True)
class Drawing(Settings):
    """What a conversation draws anew for each beginning."""

    count: int = field(default=1, metadata={"setting": Setting("so many completions of "
        "each beginning", lowest=1, highest=MAX_COUNT)})
    seed: int | None = field(default=None, metadata={"setting": Setting("repeat: the "
        "same seed and beginning give the same completion", highest=MAX_SEED)})
# fmt: on


def _options() -> dict[str, argparse.Action]:
    parser = argparse.ArgumentParser(add_help=False)
    for part in (CompletionConfig, Drawing):
        add_options(parser, part)
    return {option.option_strings[0][2:]: option for option in parser._actions}


SETTINGS = _options()  # by their names


def read_setting(name: str, text: str) -> Any:
    """Return the value of a setting that is written as ``text``."""
    option = SETTINGS[name]
    if text == "none" and option.default is None:
        return None
    if option.type is None:
        if text not in SWITCHES:
            problem = f"must be on or off, but was {shown(text)}"
            raise OptionError(f"`{option.dest}` {problem}")
        return SWITCHES[text]
    if option.type is str:
        return text.replace("\\n", "\n")
    return read_value(option.dest, option.type, text)


def read_value(keyword: str, read: Any, text: str) -> Any:
    """Return what one of the command line's types makes of a text."""
    try:
        return read(text)
    except argparse.ArgumentTypeError as error:
        raise OptionError(f"`{keyword}` {error}") from None


def written(value: Any) -> str:
    """Write a setting's value as a user would."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "on", False: "off"}[value]
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return shown(value) if isinstance(value, str) else str(value)


def help_on_settings() -> str:
    """Return the lines of help on all settings, `HELP_WIDTH` wide."""
    from textwrap import fill  # only now: a command's start shouldn't wait for it

    lines = []
    for name, option in SETTINGS.items():
        first = f"/{name} {option.metavar or 'on'}".ljust(HELP_COLUMN)
        text = first + str(option.help).replace("--", "/")
        lines.append(fill(text, HELP_WIDTH, subsequent_indent=" " * HELP_COLUMN))
    return "\n".join(lines)
