"""Configuration as data: frozen dataclasses, their checks, and the presets.

A field carries its `Setting`, from which the check of a value, the option of the
command line and its help are made. A training stores the whole `Config` inside the
model file.

    >>> config = PRESETS["course"]
    >>> config.windows.seq_length, config.windows.targets
    (40, 'last')
    >>> config.override(units=64).model.units
    64
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from textgen.errors import OptionError, UnknownOptionError, shown
from textgen.system.checks import LARGEST, check_choice, check_number

DEFAULT_CORPUS = "sonnets"
GATES = {"lstm": 4, "gru": 3, "rnn": 1}  # of each cell, with what they let in
LEVELS = ("character", "word", "bpe")  # of what a symbol is
LENGTHS = ("minutes", "steps", "epochs")  # of which a training has one
CHOOSING = ("patience", "keep_best", "validation")  # all of one validation part
MOST_SYMBOLS = 32_768  # words or byte pairs, whose merges are half a MiB of JSON
FEW_SYMBOLS = 256  # with more, also two layers and more begin at their frequencies
SAMPLE_SIZE = 1024  # symbols of which the softmax is computed while training…
WIDE_SYMBOLS = 2 * SAMPLE_SIZE  # …where there are so many, and on a processor
RETIRED: frozenset[str] = frozenset()  # options that only older model files have
MAX_SEED = 2**32 - 1
# What shapes a text, in the order of its application. A search, `beam`, takes the place
# of what follows it.
SEARCHING = ("repetition_penalty", "no_repeat_ngram", "beam")
DRAWING = ("temperature", "top_k", "typical_p", "top_p", "min_p")
SHAPING = SEARCHING + DRAWING
PLAIN = ("temperature", "top_k", "top_p")  # what needs no sampler
MAX_CONSTRAINED = 10_000  # characters of a text that must fit something
MOST_MINUTES = 10_000_000
USUAL_VALIDATION = 0.1  # of the training part, where something is chosen by it


@dataclass(frozen=True)
class Setting:
    """What a field may hold, for a number as in `check_number`, and the help on it.

    With ``many`` it may also be a tuple of such values.
    """

    help: str
    many: bool = False
    lowest: float = 0
    highest: float = math.inf
    above: bool = False
    below: float = LARGEST
    choices: tuple[str, ...] = ()

    def check(self, name: str, value: Any, kind: str) -> None:
        """Raise `OptionError` unless a field of type ``kind`` may have this value."""
        if self.choices:
            check_choice(name, value, self.choices)
        elif kind in ("int", "float"):
            check_number(
                name, value, self.lowest, self.highest, whole=kind == "int",
                above=self.above, below=self.below,
            )  # fmt: skip
        elif kind == "bool" and not isinstance(value, bool):
            raise OptionError(f"`{name}` must be True or False, but was {shown(value)}")
        elif kind == "str" and not (isinstance(value, str) and value):
            raise OptionError(
                f"`{name}` must be text, at least one character, but was {shown(value)}"
            )


def _setting(default: Any, help: str, **bounds: Any) -> Any:
    """Return a dataclass' field that carries a `Setting`."""
    return field(default=default, metadata={"setting": Setting(help, **bounds)})


@dataclass(frozen=True)
class Settings:
    """Base of the dataclasses below: their fields are checked when one is made."""

    def __post_init__(self) -> None:
        for each in options_of(type(self)):
            setting, value = each.metadata["setting"], getattr(self, each.name)
            is_many = setting.many and isinstance(value, list | tuple) and len(value)
            if is_many or isinstance(value, np.generic):
                # JSON needs Python's own numbers.
                value = tuple(value) if is_many else value.item()
                object.__setattr__(self, each.name, value)
            kind, _, others = str(each.type).partition(" | ")
            if value is not None or not others.endswith("None"):
                for one in value if is_many else [value]:
                    setting.check(each.name, one, kind)


def options_of(settings: type[Settings]) -> list[dataclasses.Field[Any]]:
    """Return the fields that are options of a command: those with a `Setting`."""
    return [each for each in fields(settings) if "setting" in each.metadata]


# fmt: off
@dataclass(frozen=True)
class ModelConfig(Settings):
    """Shape of the network: input, stacked recurrent layers, dense softmax."""

    layers: int = _setting(2, "number of recurrent layers", lowest=1, highest=16)
    units: int = _setting(256, "of each layer", lowest=1, highest=8192)
    embedding: int = _setting(64, "its size, 0: one-hot", highest=8192)
    cell: str = _setting("lstm", "lstm, gru, or rnn, without gates",
        choices=tuple(GATES))
    dropout: float = _setting(0.0, "share dropped", below=1)
    input_dropout: float = _setting(0.0, "share of symbols hidden", below=1)
    level: str = _setting("character", "a symbol: character, word or bpe",
        choices=LEVELS)
    vocabulary_size: int | None = _setting(None, "of words or byte pairs, else by the "
        "text's length", lowest=2, highest=MOST_SYMBOLS)

    @property
    def gates(self) -> int:
        """How many times U columns the kernels of a layer have."""
        return GATES[self.cell]

    @property
    def title(self) -> str:
        """Layers, units and cell in short, as ``2×224 GRU``."""
        return f"{self.layers}×{self.units} {self.cell.upper()}"


@dataclass(frozen=True)
class WindowConfig(Settings):
    """How a corpus is cut into training windows."""

    seq_length: int = _setting(100, "symbols of a window", lowest=1, highest=100_000)
    stride: int | None = _setting(None, "symbols from window to window; else "
        "their length, or 1 for `targets` last",
        lowest=1, highest=2**40)
    targets: str = _setting("all", "predict all, or the last",
        choices=("all", "last"))
    label_dropout: float = _setting(0.1, "share of rows read without label",
        below=1)
    stateful: bool | None = _setting(None, "keep the state between windows "
        "(long texts: yes)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.stateful:
            return
        if self.targets == "last":
            raise OptionError(
                "`stateful` is for `targets` all: a window that predicts only the "
                "character after it begins from zero state"
            )
        if self.stride not in (None, self.seq_length):
            raise OptionError(
                f"`stride` must be `seq_length` {self.seq_length} with `stateful`, "
                f"but was {self.stride}", "leave it out"
            )


@dataclass(frozen=True)
class TrainingConfig(Settings):
    """How long and how hard to train.

    The length is the first of ``minutes``, ``steps``, ``epochs`` that is set. (For
    ``minutes`` and presets `textgen.training.continuation.epochs_worth` is a limit.)
    """

    batch_size: int = _setting(32, "windows of a step",
        lowest=1, highest=65_536)
    learning_rate: float = _setting(3e-3, "peak rate", highest=100, above=True)
    schedule: str = _setting("cosine", "cosine, constant, or averaged, constant with "
        "averaged weights",
        choices=("cosine", "constant", "averaged"))
    warmup_steps: int = _setting(100, "steps in which the rate rises")
    optimizer: str = _setting("adamw", "adamw or adam", choices=("adamw", "adam"))
    weight_decay: float = _setting(0.01, "decoupled weight decay of adamw", highest=100)
    clip_norm: float = _setting(1.0, "largest gradient norm, 0: any")
    epochs: int | None = _setting(10, "epochs to take", lowest=1,
        highest=2**40)
    steps: int | None = _setting(None, "optimizer steps to take", lowest=1,
        highest=2**40)
    minutes: float | None = _setting(None, "time for everything at the most, from "
        "start to saved model; without a `preset` the network is sized for it",
        highest=MOST_MINUTES, above=True)
    precision: str = _setting("auto", "of products: float32, bfloat16 or auto",
        choices=("auto", "float32", "bfloat16"))
    held_out: float = _setting(0.1, "share of the text that is only measured", below=1)
    patience: int | None = _setting(None, "end after so many epochs without better "
        "validation", lowest=1, highest=2**40)
    keep_best: bool = _setting(False, "save the weights of the best validation")
    validation: float | None = _setting(None, "share of the training part for it "
        f"({USUAL_VALIDATION} if needed)", above=True, below=1)
    seed: int = _setting(0, "repeats a training on the same machine",
        highest=MAX_SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        if all(getattr(self, name) is None for name in LENGTHS):
            raise OptionError("a training needs one of `epochs`, `steps`, `minutes`")
        if self.validation is None and (self.patience or self.keep_best):
            object.__setattr__(self, "validation", USUAL_VALIDATION)

    @property
    def trained_share(self) -> float:
        """The share of the text that is trained on, neither held out nor validation."""
        return (1 - self.held_out) * (1 - (self.validation or 0))


@dataclass(frozen=True)
class MixConfig(Settings):
    """How several models predict as one."""

    mix: float | Sequence[float] | None = _setting(None, "of several models: their "
        "weights, as 0.7,0.3", highest=1e6, many=True)


@dataclass(frozen=True)
class CompletionConfig(Settings):
    """How a prompt is completed."""

    length: int = _setting(400, "new characters, exactly; fewer only at `stop`, or "
        "where a line ends, or one of several documents", lowest=1, highest=100_000_000)
    temperature: float | Sequence[float] = _setting(0.7, "logits are divided by it: "
        "lower is safer, 0 takes the likeliest; several, 0.4,0.8, take turns",
        highest=100, many=True)
    top_k: int | None = _setting(None, "draw among so many likeliest characters only",
        lowest=1, highest=2**31)
    top_p: float | None = _setting(None, "draw among the likeliest characters only "
        "that together reach this probability", highest=1, above=True)
    min_p: float | None = _setting(None, "leave out characters less probable than this "
        "share of the likeliest one", highest=1, above=True)
    typical_p: float | None = _setting(None, "draw among the characters only that are "
        "nearest to the expected surprisal and reach this probability",
        highest=1, above=True)
    repetition_penalty: float | None = _setting(None, "divide a character's odds by it "
        "for each character beyond 6 of the repetition that it would lengthen",
        lowest=1, highest=1e6)
    no_repeat_ngram: int | None = _setting(None, "no run of so many characters comes "
        "twice", lowest=2, highest=2**31)
    beam: int | None = _setting(None, "search for the likeliest text, keeping so many "
        "at each character, instead of drawing one", lowest=1, highest=1024)
    stop: str | None = _setting(None, "end before this text, if it comes")
    label: str | None = _setting(None, "write as in the rows that had this label")
    strict: bool = _setting(False, "refuse characters that are new to the model")
    # In Python only, and in place of the options of drawing: what turns logits into
    # logits, one after the other; see `textgen.generation.samplers`.
    sampler: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sampler is not None:
            is_one = not isinstance(self.sampler, list | tuple)
            chain = (self.sampler,) if is_one else tuple(self.sampler)
            object.__setattr__(self, "sampler", chain)
            self._refuse_beside("sampler", *SHAPING)
        if self.beam is not None:
            self._refuse_beside("beam", *DRAWING)

    @property
    def is_plain(self) -> bool:
        """Whether one temperature, `top_k` and `top_p` are all that shapes a draw."""
        others = ("sampler", *(name for name in SHAPING if name not in PLAIN))
        return all(getattr(self, name) is None for name in others) and not isinstance(
            self.temperature, tuple)

    def _refuse_beside(self, name: str, *others: str) -> None:
        """Raise `OptionError` if any of the others isn't at its default."""
        for other in others:
            if getattr(self, other) != getattr(CompletionConfig, other):
                problem = f"`{name}` takes the place of `{other}`"
                raise OptionError(problem, "give one of the two")


@dataclass(frozen=True)
class ConstraintConfig(Settings):
    """What a text must be like, with its prompt if it is a line."""

    starts_with: str | None = _setting(None, "what it begins with; a `prompt` is read "
        "before that, and of a line both must agree")
    ends_with: str | None = _setting(None, "what it ends with")
    contains: str | None = _setting(None, "what stands in it")
    matching: str | None = _setting(None, "a regular expression for the whole of it")
    min_length: int | None = _setting(None, "characters of a line at the least",
        lowest=1, highest=MAX_CONSTRAINED)
    max_length: int | None = _setting(None, "and at the most",
        lowest=1, highest=MAX_CONSTRAINED)
    novel: bool = _setting(False, "leave out lines that the model's own text has, and "
        "texts with 40 characters running from it")
    distinct: bool = _setting(False, "leave out repetitions, as of lines always")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.min_length or 0) > (self.max_length or MAX_CONSTRAINED):
            raise OptionError(
                f"`min_length` must be at most `max_length`, {self.max_length}, but "
                f"was {self.min_length}"
            )

    @property
    def chooses(self) -> bool:
        """Whether some texts are left out once they are drawn."""
        return self.novel or self.distinct

    @property
    def chosen(self) -> str:
        """By what texts are left out, as an error names it; "" if by nothing."""
        asked = {"`novel`": self.novel, "`distinct`": self.distinct}
        return " and ".join(name for name, is_asked in asked.items() if is_asked)

    @property
    def told(self) -> str:
        """What must fit, as an error names it; "" if nothing must."""
        return " and ".join(
            f"`{name}` {shown(value)}" for name, value in vars(self).items()
            if value is not None and not isinstance(value, bool))


@dataclass(frozen=True)
class ServerConfig(Settings):
    """How `textgen serve` answers, and whom."""

    host: str = _setting("127.0.0.1", "address to listen at; 0.0.0.0 for all of this "
        "machine's")
    port: int = _setting(8000, "0 for any free one", highest=65_535)
    token: str | None = _setting(None, "answer only those who send it; better in the "
        "variable TEXTGEN_TOKEN, which other users of the machine can't see")
    allow_host: str | None = _setting(None, "a name under which clients reach it, "
        "besides localhost and addresses; several with commas between")
    max_prompt: int = _setting(10_000, "characters of a prompt, at most", lowest=1,
        highest=1_000_000)
    max_length: int = _setting(5_000, "characters of a completion, at most", lowest=1,
        highest=1_000_000)
    request_seconds: float = _setting(300, "a request may take, waiting included",
        above=True, highest=1e6)


@dataclass(frozen=True)
class PageConfig(Settings):
    """How a model is written into a page."""

    title: str | None = _setting(None, "of a page (default: the name of what the model "
        "was trained on)")
# fmt: on


@dataclass(frozen=True)
class Config:
    """Everything that determines a training, as one value."""

    model: ModelConfig = field(default_factory=ModelConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def flat(self) -> dict[str, Any]:
        """Return the settings of all three parts by their names."""
        parts = (self.model, self.windows, self.training)
        return {name: value for part in parts for name, value in vars(part).items()}

    def override(self, **values: Any) -> Config:
        """Return a copy with fields of any of the parts replaced; None leaves one.

        Naming one of ``minutes``, ``steps`` and ``epochs`` unsets the other two.

        Raises:
            OptionError: for a value out of bounds, two lengths at once, or a name that
                is no field.
        """
        given = {name: value for name, value in values.items() if value is not None}
        lengths = [name for name in LENGTHS if name in given]
        if len(lengths) > 1:
            named = " and ".join(f"`{name}`" for name in lengths)
            raise OptionError(f"give one length of training, but {named} were given")
        if lengths:
            given = dict.fromkeys(LENGTHS) | given
        parts = {}
        for name, part in vars(self).items():
            mine = {key: given.pop(key) for key in vars(part) if key in given}
            parts[name] = replace(part, **mine)
        if given:
            raise UnknownOptionError(next(iter(given)), "a training", self.flat())
        return Config(**parts)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return the configuration as nested dicts of plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, Any]]) -> Config:
        """Rebuild what `to_dict` gave, here or in an older version of the program.

        Options that the program no longer has (`RETIRED`) are left out.

        Raises:
            TypeError: for unknown fields.
            OptionError: for values out of bounds.
        """

        def known(part: str) -> dict[str, Any]:
            return {key: data[part][key] for key in data[part].keys() - RETIRED}

        return cls(
            ModelConfig(**known("model")),
            WindowConfig(**known("windows")),
            TrainingConfig(**known("training")),
        )


# fmt: off
PRESETS: Mapping[str, Config] = {
    "sonnets": Config(
        ModelConfig(layers=2, units=224, embedding=64, dropout=0.35, input_dropout=0.1),
        WindowConfig(seq_length=64),
        TrainingConfig(batch_size=64, learning_rate=0.02, schedule="averaged",
            weight_decay=0.2, epochs=None, steps=1200),
    ),
    "dinos": Config(
        ModelConfig(layers=1, units=256, embedding=64, dropout=0.5, input_dropout=0.1),
        WindowConfig(seq_length=64),
        TrainingConfig(batch_size=16, learning_rate=0.02, schedule="averaged",
            weight_decay=0.1, epochs=30),
    ),
    "lines": Config(
        ModelConfig(layers=2, units=128, embedding=32, dropout=0.4, input_dropout=0.1),
        WindowConfig(seq_length=64),
        TrainingConfig(batch_size=64, learning_rate=6e-3, schedule="averaged",
            epochs=40),
    ),
    "course": Config(
        ModelConfig(layers=2, units=128, embedding=0, dropout=0.5),
        WindowConfig(seq_length=40, stride=3, targets="last"),
        TrainingConfig(batch_size=128, learning_rate=1e-3, schedule="constant",
            warmup_steps=0, optimizer="adam", weight_decay=0.0, clip_norm=0.0,
            epochs=1),
    ),
}
# fmt: on
