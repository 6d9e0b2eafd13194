"""Which configuration a training runs with, and how that is told to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textgen.config import CHOOSING, PRESETS, Config, ModelConfig
from textgen.data.corpus import Corpus
from textgen.data.levels import USUAL_SYMBOL_CHARS, most_symbols
from textgen.errors import OptionError
from textgen.saving.container import MAX_FLOATS
from textgen.saving.trained_model import (
    MAX_WINDOW_UNITS,
    TrainedModel,
    staggered_units,
)
from textgen.system.checks import check_choice
from textgen.system.hardware import relative_speed
from textgen.training.budget import RATE_OF_CELL, peak_rate, size_for
from textgen.training.continuation import continued_config
from textgen.training.schedule import shown_steps

FEWEST_STREAM_WINDOWS = 10  # with fewer the state costs more than it gains
MAX_ONE_HOT_SYMBOLS = 7000  # their identity is 49 of the 60 million weights
# What a budget of minutes settles, and the seed.
CHOSEN_FOR_MINUTES = (
    "steps", "precision", "seed", "layers", "units", "embedding", "dropout",
    "input_dropout", "seq_length", "batch_size", "learning_rate", "schedule",
    "weight_decay",
)  # fmt: skip
OF_THE_NETWORK = ("layers", "units", "embedding", "seq_length")


def choose_config(
    corpus: Corpus,
    preset: str | None,
    start: TrainedModel | None,
    overrides: Mapping[str, Any],
) -> Config:
    """Choose a preset, or the configuration of the model to go on from.

    With a budget of minutes the network is sized for it, see
    `textgen.training.budget`; the rate is that of the network and schedule that are
    asked for. Otherwise a named corpus without a preset of its name, and any file,
    takes ``lines``' if it is made of lines and ``sonnets``' if not. Presets are for the
    LSTM: another cell takes a part of their rate. The state is carried on from window
    to window of a text, unless that can't be, the text is short, or it is declined.

    Going on from a saved model keeps its network and windows; for everything else
    there are rules, see `textgen.training.continuation`.

    Raises:
        OptionError: unknown preset; a value out of bounds; a network that differs
            from the saved model's; a part held out that the saved model was trained
            on; a model too large for its file.
    """
    if preset is not None:
        check_choice("preset", preset, tuple(PRESETS))
    if start is None:
        config = _from_preset(corpus, preset, overrides).override(**overrides)
        if config.windows.stateful is None:
            config = config.override(stateful=gains_by_state(corpus, config))
    else:
        config = continued_config(start, corpus, overrides)
    if start is not None and config.model.level != "character":
        own = corpus.vocabulary
        symbols = len(start.vocabulary.extended(own.symbols, own.labels))
    else:
        characters = round(len(corpus.ids) * config.training.trained_share)
        symbols = most_symbols(config.model, len(corpus.vocabulary), characters)
    _check_size(config, symbols)
    return config


def gains_by_state(corpus: Corpus, config: Config) -> bool:
    """Whether a text can be cut into streams of windows, and these are long enough."""
    windows = config.windows
    apart = windows.stride not in (None, windows.seq_length)
    symbols = len(corpus.ids) * config.training.trained_share
    if config.model.level != "character":
        symbols /= USUAL_SYMBOL_CHARS
    a_batch = config.training.batch_size * windows.seq_length
    is_long = symbols >= FEWEST_STREAM_WINDOWS * a_batch
    return corpus.kind == "text" and windows.targets == "all" and not apart and is_long


def _from_preset(
    corpus: Corpus, preset: str | None, overrides: Mapping[str, Any]
) -> Config:
    minutes = overrides.get("minutes")
    cell = Config().override(cell=overrides.get("cell")).model.cell
    if preset is None and minutes is not None:
        choosing = {name: overrides.get(name) for name in ("held_out", *CHOOSING)}
        asked = Config().override(minutes=minutes, **choosing)
        trained_on = round(len(corpus.ids) * asked.training.trained_share)
        of_level = {name: overrides.get(name) for name in ("level", "vocabulary_size")}
        network, softmax = asked.override(**of_level).model, 0
        if network.level != "character":
            softmax = most_symbols(network, len(corpus.vocabulary), trained_on)
            trained_on = round(trained_on / USUAL_SYMBOL_CHARS)
        speed = relative_speed()
        sized = size_for(trained_on, minutes, speed, corpus.kind, cell, softmax)
        own = sized.override(**overrides)
        rate = peak_rate(own.model.layers, own.model.units, own.training.schedule, cell)
        return sized.override(learning_rate=rate)
    usual = "lines" if corpus.kind == "lines" else "sonnets"
    own_name = corpus.name if corpus.named and corpus.name in PRESETS else usual
    chosen = PRESETS[preset or own_name]
    rate = RATE_OF_CELL[cell] * chosen.training.learning_rate
    return chosen.override(learning_rate=float(f"{rate:.3g}"))


def _check_size(config: Config, symbols: int) -> None:
    """Raise `OptionError`, before the work, for what could not be saved or opened."""
    model, windows = config.model, config.windows
    if not model.embedding and symbols > MAX_ONE_HOT_SYMBOLS:
        raise OptionError(
            f"`embedding` must be at least 1 for a text of {symbols:,} symbols, but "
            f"was 0: one-hot input is for at most {MAX_ONE_HOT_SYMBOLS:,}"
        )
    if (weights := _weights(model, symbols)) > MAX_FLOATS:
        raise OptionError(
            f"`units` or `embedding` must be less, with `layers` {model.layers} and "
            f"{symbols:,} symbols, but were {model.units} and {model.embedding}: the "
            f"model would have {weights:,} weights, and at most {MAX_FLOATS:,} are "
            "opened"
        )
    units = model.layers * model.units
    if staggered_units(units, windows) > MAX_WINDOW_UNITS:
        most = MAX_WINDOW_UNITS // units
        raise OptionError(
            f"`seq_length` must be at most {most:,} for `targets` last and "
            f"{model.layers}×{model.units} units, but was {windows.seq_length}"
        )


def _weights(model: ModelConfig, symbols: int) -> int:
    """Count the weights of a network; a one-hot table counts, as it is saved."""
    units, embedding = model.units, model.embedding or symbols
    gates, biases = model.gates * units, 2 if model.cell == "gru" else 1
    first = gates * (embedding + units + biases)
    others = gates * (2 * units + biases) * (model.layers - 1)
    return symbols * embedding + first + others + symbols * (units + 1)


def describe_length(
    config: Config,
    done: int,
    steps: int,
    step_s: float,
    enough_epochs: int | None,
    *,
    goes_on: bool = False,
) -> str:
    """Say in one line how long the training is and, for a budget, how to repeat it.

    Of its steps, which take ``step_s`` seconds each, some may be done already. If they
    are ``enough_epochs``, a budget may have allowed more. If it ``goes_on`` from a
    saved model, the network is that model's.
    """
    left_s = (steps - done) * step_s
    if done:
        return f"going on at step {done:,} of {steps:,}, about {left_s:,.0f} s left"
    line = f"{shown_steps(steps)}, about {left_s:,.0f} s"
    if config.training.minutes is None:
        return line
    if enough_epochs is not None:
        worth = f"{enough_epochs} epochs are all that it is worth"
        line = f"the text is short, {worth}: {line}"
    values = config.override(steps=steps).flat()
    # Whoever asks for a network doesn't begin with the model of English.
    names = [x for x in CHOSEN_FOR_MINUTES if not (goes_on and x in OF_THE_NETWORK)]
    command = " ".join(f"`{name}` {values[name]}" for name in names)
    return f"{line}; to repeat it exactly, in place of `minutes`: {command}"
