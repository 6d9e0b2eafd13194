"""Options of the commands, one for each field of a configuration."""

from __future__ import annotations

import argparse
import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from textgen.config import (
    PRESETS,
    ModelConfig,
    Settings,
    TrainingConfig,
    WindowConfig,
    options_of,
)
from textgen.errors import OptionError, TextgenError, as_command_line, option_name
from textgen.saving.model_file import load_model
from textgen.saving.sandbox import Reader
from textgen.saving.trained_model import TrainedModel
from textgen.system.terminal import Parser, number, numbers, whole_number

TYPES = {"int": (whole_number, "N"), "float": (number, "X"), "str": (str, "TEXT")}


def add_model(parser: Parser) -> None:
    """Add the positional MODEL, and what a model of another program needs."""
    parser.add_argument("model", metavar="MODEL", help="a model file, or a name such "
        "as sonnets: models/NAME.h5, else models/NAME-pretrained.h5")  # fmt: skip
    add_vocabulary_from(parser)


def add_vocabulary_from(group: argparse._ActionsContainer) -> None:
    """Add what a model of another program needs."""
    group.add_argument("--vocabulary-from", metavar="TEXT", help="for a model without "
        "vocabulary, of another program: its text, or its symbols as .json"
    )  # fmt: skip


def check_mixed(options: argparse.Namespace, is_mixed: bool, advice: str) -> None:
    """Raise `OptionError` where one model only is told how several are mixed."""
    if not is_mixed and options.mix is not None:
        raise OptionError("`mix` is for several models", advice)


def load_one_or_mixed(
    names: Sequence[str], options: argparse.Namespace, reader: Reader | None
) -> TrainedModel:
    """Load models, the first by ``reader``; of several return the mixture."""
    readers = [reader, *[None] * len(names)]
    models = [
        load_model(name, options.vocabulary_from, reader=own)
        for name, own in zip(names, readers, strict=False)
    ]
    if len(models) == 1:
        return models[0]
    from textgen.saving.mixed_model import mix_models  # only where it is needed

    return mix_models(models, options.mix)


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
    for field in options_of(settings):
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
            switched = str(field.type) == "bool | None"  # by default on or off
            both = argparse.BooleanOptionalAction
            options["action"] = both if switched else "store_true"
        elif setting.choices:
            options["type"], options["metavar"] = str.lower, "KIND"
        else:
            options["type"], options["metavar"] = TYPES[kind]
            if setting.many:
                options["type"] = numbers
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
