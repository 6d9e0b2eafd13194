"""Configuration as data: frozen dataclasses, their checks, and the presets.

The only place for defaults. The command lines read theirs from here, a training
stores the whole `Config` inside the model file, and `Config.from_dict` reads it back.

    >>> config = PRESETS["course"]
    >>> config.windows.seq_length, config.windows.targets
    (40, 'last')
    >>> config.override(units=64).model.units
    64
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from textgen.errors import OptionError, UnknownOptionError, shown
from textgen.system.checks import check_choice, check_number

DEFAULT_CORPUS = "sonnets"
MAX_SEED = 2**32 - 1


def _make_plain(part: Any) -> None:
    """Turn NumPy's numbers among a dataclass' fields into Python's, as JSON needs."""
    for name, value in vars(part).items():
        if isinstance(value, np.generic):
            object.__setattr__(part, name, value.item())


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the network: input, stacked LSTM layers, dense softmax.

    Attributes:
        layers: number of stacked LSTM layers.
        units: size U of each LSTM layer.
        embedding: size D of the trained embedding; 0 means one-hot input.
        dropout: share of each LSTM layer's outputs dropped while training.
        input_dropout: share of the input symbols hidden while training.
    """

    layers: int = 2
    units: int = 256
    embedding: int = 64
    dropout: float = 0.0
    input_dropout: float = 0.0

    def __post_init__(self) -> None:
        _make_plain(self)
        check_number("layers", self.layers, 1, 16, whole=True)
        check_number("units", self.units, 1, 8192, whole=True)
        check_number("embedding", self.embedding, 0, 8192, whole=True)
        check_number("dropout", self.dropout, 0, below=1)
        check_number("input_dropout", self.input_dropout, 0, below=1)


@dataclass(frozen=True)
class WindowConfig:
    """How a corpus is cut into training windows.

    Attributes:
        seq_length: symbols T in a window (``lines``: the most in one window).
        stride: symbols between the starts of two windows; None means T for
            targets ``all`` and 1 for ``last``.
        targets: ``all``, each position predicts the next symbol; ``last``, only the
            symbol after the window is predicted (the course's form).
    """

    seq_length: int = 100
    stride: int | None = None
    targets: str = "all"

    def __post_init__(self) -> None:
        _make_plain(self)
        check_number("seq_length", self.seq_length, 1, 100_000, whole=True)
        if self.stride is not None:
            check_number("stride", self.stride, 1, 2**40, whole=True)
        check_choice("targets", self.targets, ("all", "last"))


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how hard to train.

    The length is the first of ``minutes``, ``steps``, ``epochs`` that is set (for
    ``minutes`` and presets there is `textgen.training.schedule.most_steps`, too).

    Attributes:
        batch_size: windows B in a batch.
        learning_rate: peak rate of the optimizer.
        schedule: after a linear warm-up, ``cosine`` to a hundredth of the peak;
            ``constant``, the peak throughout; ``averaged``, the same, but what is
            measured and saved is a running average of the weights.
        warmup_steps: steps of the warm-up (never more than a tenth of the run).
        optimizer: ``adamw`` or ``adam``.
        weight_decay: decoupled decay of AdamW.
        clip_norm: largest global norm of a gradient; 0 means no clipping.
        epochs, steps, minutes: length of the run.
        precision: ``auto``, ``float32`` or ``bfloat16`` matrix products (weights are
            always float32).
        held_out: share of the corpus kept for measuring only.
        seed: determines weights, order and dropout, not what is held out.
    """

    batch_size: int = 32
    learning_rate: float = 3e-3
    schedule: str = "cosine"
    warmup_steps: int = 100
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    epochs: int | None = 10
    steps: int | None = None
    minutes: float | None = None
    precision: str = "auto"
    held_out: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        _make_plain(self)
        check_number("batch_size", self.batch_size, 1, 65_536, whole=True)
        check_number("learning_rate", self.learning_rate, 0, 100, above=True)
        check_choice("schedule", self.schedule, ("cosine", "constant", "averaged"))
        check_number("warmup_steps", self.warmup_steps, 0, whole=True)
        check_choice("optimizer", self.optimizer, ("adamw", "adam"))
        check_number("weight_decay", self.weight_decay, 0, 100)
        check_number("clip_norm", self.clip_norm, 0)
        for name in ("epochs", "steps"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 1, 2**40, whole=True)
        if self.minutes is not None:
            check_number("minutes", self.minutes, 0, 10_000_000, above=True)
        if self.epochs is None and self.steps is None and self.minutes is None:
            raise OptionError("a training needs one of `epochs`, `steps`, `minutes`")
        check_choice("precision", self.precision, ("auto", "float32", "bfloat16"))
        check_number("held_out", self.held_out, 0, below=1)
        check_number("seed", self.seed, 0, MAX_SEED, whole=True)


@dataclass(frozen=True)
class CompletionConfig:
    """How a prompt is completed.

    Attributes:
        length: new symbols after the prompt, at most.
        temperature: logits are divided by it; 0 means argmax.
        top_k: only the k likeliest symbols may be drawn; None means all.
        top_p: only the likeliest symbols that together reach this probability may
            be drawn (nucleus sampling); None means all.
        stop: the completion ends before the first occurrence of this text in it.
        strict: refuse a prompt with symbols that the model has never seen.
    """

    length: int = 400
    temperature: float = 0.7
    top_k: int | None = None
    top_p: float | None = None
    stop: str | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        _make_plain(self)
        check_number("length", self.length, 1, 100_000_000, whole=True)
        check_number("temperature", self.temperature, 0, 100)
        if self.top_k is not None:
            check_number("top_k", self.top_k, 1, 2**31, whole=True)
        if self.top_p is not None:
            check_number("top_p", self.top_p, 0, 1, above=True)
        if self.stop is not None and (not isinstance(self.stop, str) or not self.stop):
            raise OptionError(
                f"`stop` must be at least one character, but was {shown(self.stop)}"
            )


@dataclass(frozen=True)
class Config:
    """Everything that determines a training, as one value."""

    model: ModelConfig = field(default_factory=ModelConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def override(self, **values: Any) -> Config:
        """Return a copy with some fields replaced, each named once, flat.

        Naming one of ``minutes``, ``steps`` and ``epochs`` unsets the other two.

        Args:
            **values: fields of `ModelConfig`, `WindowConfig` or `TrainingConfig`;
                None leaves a field as it is.

        Raises:
            OptionError: for a value out of bounds, or two lengths at once.
            UnknownOptionError: for a name that is no field.
        """
        given = {name: value for name, value in values.items() if value is not None}
        lengths = [name for name in ("minutes", "steps", "epochs") if name in given]
        if len(lengths) > 1:
            named = " and ".join(f"`{name}`" for name in lengths)
            raise OptionError(f"give one length of training, but {named} were given")
        if lengths:
            given = {"minutes": None, "steps": None, "epochs": None} | given
        parts = {}
        for part in fields(self):
            known = {f.name for f in fields(getattr(self, part.name))}
            mine = {name: given.pop(name) for name in list(given) if name in known}
            parts[part.name] = replace(getattr(self, part.name), **mine)
        if given:
            known = [name for part in self.to_dict().values() for name in part]
            raise UnknownOptionError(next(iter(given)), "a training", known)
        return Config(**parts)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return the configuration as nested dicts of plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, Any]]) -> Config:
        """Rebuild what `to_dict` gave; unknown fields are an error, not ignored.

        Raises:
            TypeError: for unknown fields.
            OptionError: for values out of bounds.
        """
        return cls(
            model=ModelConfig(**data["model"]),
            windows=WindowConfig(**data["windows"]),
            training=TrainingConfig(**data["training"]),
        )


PRESETS: Mapping[str, Config] = {
    "sonnets": Config(
        ModelConfig(layers=2, units=224, embedding=64, dropout=0.35, input_dropout=0.1),
        WindowConfig(seq_length=64),
        TrainingConfig(
            batch_size=64,
            learning_rate=0.02,
            schedule="averaged",
            weight_decay=0.2,
            epochs=None,
            steps=1240,
        ),
    ),
    "dinos": Config(
        ModelConfig(layers=1, units=256, embedding=64, dropout=0.5, input_dropout=0.1),
        WindowConfig(seq_length=64),
        TrainingConfig(
            batch_size=16,
            learning_rate=0.02,
            schedule="averaged",
            weight_decay=0.1,
            epochs=30,
        ),
    ),
    "lines": Config(
        ModelConfig(layers=2, units=128, embedding=32, dropout=0.4, input_dropout=0.1),
        WindowConfig(seq_length=64),
        TrainingConfig(
            batch_size=64, learning_rate=6e-3, schedule="averaged", epochs=40
        ),
    ),
    "course": Config(
        ModelConfig(layers=2, units=128, embedding=0, dropout=0.5),
        WindowConfig(seq_length=40, stride=3, targets="last"),
        TrainingConfig(
            batch_size=128,
            learning_rate=1e-3,
            schedule="constant",
            warmup_steps=0,
            optimizer="adam",
            weight_decay=0.0,
            clip_norm=0.0,
            epochs=1,
        ),
    ),
}
