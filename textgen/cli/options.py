"""Options of the commands, one for each field of a configuration."""

from __future__ import annotations

import argparse
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from textgen.config import PRESETS, ModelConfig, Settings, TrainingConfig, WindowConfig
from textgen.errors import TextgenError, as_command_line, option_name
from textgen.system.terminal import Parser, number, whole_number

TYPES = {"int": (whole_number, "N"), "float": (number, "X"), "str": (str, "TEXT")}


def add_model(parser: Parser) -> None:
    """Add the positional MODEL, and what a model of another program needs."""
    # fmt: off
    parser.add_argument("model", metavar="MODEL", help="a model file, or a name such "
        "as sonnets: models/NAME.h5, else models/NAME-pretrained.h5")
    parser.add_argument("--vocabulary-from", metavar="TEXT", help="for a model without "
        "vocabulary, of another program: the text that it was trained on, or the "
        "symbols that the program saved as .json")
    # fmt: on


@contextlib.contextmanager
def positional(*keywords: str) -> Iterator[None]:
    """Let errors write these keywords as MODEL, and not as the option --model."""
    try:
        yield
    except TextgenError as error:
        for keyword in keywords:
            named = f"`{keyword}`", keyword.upper()
            error.problem = error.problem.replace(*named)
            error.advice = error.advice.replace(*named)
        raise


def add_config_options(parser: Parser) -> None:
    """Add the options of `textgen.config.Config`, whose defaults are a preset's.

    What is read for an option that isn't given is None.
    """
    titles = ("network", "windows", "training")
    parts = (ModelConfig, WindowConfig, TrainingConfig)
    for title, part in zip(titles, parts, strict=True):
        add_options(parser.add_argument_group(title), part, presets=True)


def add_options(
    group: argparse._ActionsContainer,
    settings: type[Settings],
    *,
    presets: bool = False,
) -> None:
    """Add an option for every field of a configuration's dataclass.

    With ``presets`` the help shows what each of them sets, and None is read for an
    option that isn't given, since its default is that of the preset that is chosen.
    """
    for field in fields(settings):
        setting = field.metadata["setting"]
        default = _of_presets(field.name) if presets else _shown(field.default)
        help_text = as_command_line(setting.help)
        options: dict[str, Any] = {
            "dest": field.name,
            "default": None if presets else field.default,
            "help": f"{help_text} (default: {default})" if default else help_text,
        }
        kind = str(field.type).partition(" | ")[0]
        if kind == "bool":
            options["action"] = "store_true"
        elif setting.choices:
            options["metavar"] = "KIND"
        else:
            options["type"], options["metavar"] = TYPES[kind]
        group.add_argument(f"--{option_name(field.name)}", **options)


def _of_presets(name: str) -> str:
    """Say what most presets set, if there is such a value, and which ones differ."""
    values = {preset: _shown(each.flat()[name]) for preset, each in PRESETS.items()}
    usual, times = Counter(values.values()).most_common(1)[0]
    if times == 1:
        usual = ""
    others = [f"{preset} {text}" for preset, text in values.items() if text != usual]
    return ", ".join([usual] * bool(usual) + others)


def _shown(value: Any) -> str:
    """Write a default as a user would; nothing if none is set."""
    if value is None or value is False:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
