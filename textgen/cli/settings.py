"""The settings of a conversation: /NAME shows one and /NAME VALUE changes it.

There is one for each option of `CompletionConfig`, and those of `Drawing`.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from dataclasses import Field, dataclass, field, fields
from typing import Any

from textgen.cli.options import TYPES
from textgen.config import MAX_SEED, CompletionConfig, Setting, Settings
from textgen.errors import OptionError, as_command_line, option_name, shown
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


SETTINGS: dict[str, Field[Any]] = {
    option_name(each.name): each
    for each in (*fields(CompletionConfig), *fields(Drawing))
    if "setting" in each.metadata
}


def read_setting(name: str, text: str) -> Any:
    """Return the value of a setting that is written as ``text``."""
    setting = SETTINGS[name]
    kind, _, is_optional = str(setting.type).partition(" | ")
    if is_optional and text == "none":
        return None
    if kind == "bool":
        if text not in SWITCHES:
            received = f"must be on or off, but was {shown(text)}"
            raise OptionError(f"`{setting.name}` {received}")
        return SWITCHES[text]
    if kind == "str":
        return text.replace("\\n", "\n")
    try:
        return TYPES[kind][0](text)
    except ArgumentTypeError as error:
        raise OptionError(f"`{setting.name}` {error}") from None


def written(value: Any) -> str:
    """Write a setting's value as a user would."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "on", False: "off"}[value]
    return shown(value) if isinstance(value, str) else str(value)


def help_on_settings() -> str:
    """Return the lines of help on all settings, `HELP_WIDTH` wide."""
    from textwrap import fill  # only now: a command's start shouldn't wait for it

    lines = []
    for name, each in SETTINGS.items():
        kind, _, is_optional = str(each.type).partition(" | ")
        value = "on" if kind == "bool" else TYPES[kind][1]
        first = f"/{name} {value}".ljust(HELP_COLUMN)
        text = each.metadata["setting"].help + ("; or none" if is_optional else "")
        text = first + as_command_line(text, prefix="/")
        lines.append(fill(text, HELP_WIDTH, subsequent_indent=" " * HELP_COLUMN))
    return "\n".join(lines)
