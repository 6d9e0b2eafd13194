"""Configuration: what is refused, what an override unsets, what JSON brings back."""

import itertools
import json
import math
from dataclasses import fields

import numpy as np
import pytest

from textgen.cli.options import add_config_options
from textgen.config import (
    MAX_SEED,
    PRESETS,
    CompletionConfig,
    Config,
    ModelConfig,
    TrainingConfig,
    WindowConfig,
)
from textgen.errors import OptionError
from textgen.system.checks import check_number
from textgen.system.terminal import Parser

NONSENSE = (-1, math.nan, math.inf, -math.inf, "1", None, True, 10**400, [1],
            np.int64(-1), np.float32("nan"), np.bool_(True))  # fmt: skip
PARTS = (ModelConfig, WindowConfig, TrainingConfig, CompletionConfig)
FIELDS = [(part, field) for part in PARTS for field in fields(part)]
WHOLE = [(part, f.name) for part, f in FIELDS if f.type.startswith("int")]
REAL = [(part, f.name) for part, f in FIELDS if f.type.startswith("float")]
OPTIONAL = {"stride", "epochs", "steps", "minutes", "patience", "validation", "top_k",
            "top_p", "min_p", "typical_p", "repetition_penalty", "no_repeat_ngram",
            "beam", "vocabulary_size"}  # fmt: skip


@pytest.mark.parametrize(("part", "name"), WHOLE + REAL)
def test_nonsense_is_refused_in_one_line(part, name):
    nonsense = {repr(value)[:9]: value for value in NONSENSE}
    if name in OPTIONAL:
        del nonsense["None"]
    if name == "temperature":  # which may be several
        nonsense |= {"[1]": [], "bad": [1, "hot"], "nested": [[1]]}
    if (part, name) in WHOLE:
        nonsense |= {"fraction": 1.5, "numpy": np.float64(3), "array": np.array([3])}
    for value in nonsense.values():
        with pytest.raises(OptionError, match=f"^`{name}` must be a ") as caught:
            part(**{name: value})
        assert len(str(caught.value)) < 200
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "names", "kind"),
    [((np.int64(3), np.uint8(3)), WHOLE, int),
     ((np.float64(0.5), np.float32(0.5), np.float16(0.5)), REAL, float)],
)  # fmt: skip
def test_numpys_numbers_are_taken_and_kept_plain(values, names, kind):
    for (part, name), value in itertools.product(names, values):
        if (name, value) == ("repetition_penalty", 0.5):
            continue  # below its bound
        received = getattr(part(**{name: value}), name)
        assert (type(received), received) == (kind, value)


def test_a_number_too_long_to_be_written_is_refused_too():
    with pytest.raises(OptionError, match="but was a number of thousands of digits"):
        CompletionConfig(length=10**5000)


BOUNDS = {  # name: (part, allowed, refused)
    "layers": (ModelConfig, (1, 16), (0, 17)),
    "units": (ModelConfig, (1, 8192), (0, 8193)),
    "embedding": (ModelConfig, (0, 8192), (8193,)),
    "cell": (ModelConfig, ("lstm", "gru", "rnn"), ("GRU", "", 3, None)),
    "dropout": (ModelConfig, (0, 0.99), (1, 1.0)),
    "input_dropout": (ModelConfig, (0, 0.99), (1, 1.0)),
    "vocabulary_size": (ModelConfig, (None, 2, 32_768), (1, 32_769)),
    "seq_length": (WindowConfig, (1, 100_000), (0, 100_001)),
    "stride": (WindowConfig, (None, 1), (0,)),
    "learning_rate": (TrainingConfig, (1e-12, 100), (0, 0.0, 101)),
    "epochs": (TrainingConfig, (1,), (0,)),
    "minutes": (TrainingConfig, (1e-3,), (0,)),
    "held_out": (TrainingConfig, (0, 0.5), (1, 1.0)),
    "patience": (TrainingConfig, (None, 1), (0,)),
    "keep_best": (TrainingConfig, (True, np.bool_(False)), (1, "yes", None)),
    "validation": (TrainingConfig, (None, 1e-9, 0.5), (0, 0.0, 1)),
    "seed": (TrainingConfig, (0, MAX_SEED), (MAX_SEED + 1,)),
    "length": (CompletionConfig, (1, 100_000_000), (0, 10**15)),
    "temperature": (CompletionConfig, (0, 100), (101,)),
    "top_p": (CompletionConfig, (None, 1e-9, 1), (0, 1.5)),
    "min_p": (CompletionConfig, (None, 1e-9, 1), (0, 1.5)),
    "typical_p": (CompletionConfig, (None, 1e-9, 1), (0, 1.5)),
    "repetition_penalty": (CompletionConfig, (None, 1, 1.2), (0.9,)),
    "no_repeat_ngram": (CompletionConfig, (None, 2), (1, 0)),
    "beam": (CompletionConfig, (None, 1, 1024), (0, 1025)),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds(name):
    part, allowed, refused = BOUNDS[name]
    for value in allowed:
        assert getattr(part(**{name: value}), name) == value
    for value in refused:
        with pytest.raises(OptionError):
            part(**{name: value})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ModelConfig(level="x"), "character, word, bpe"),
        (lambda: WindowConfig(targets="\n"), r"all, last, but was '\\n'"),
        (lambda: TrainingConfig(schedule="x"), "cosine, constant, averaged"),
        (lambda: TrainingConfig(optimizer="x"), "adamw, adam"),
        (lambda: TrainingConfig(precision="x"), "auto, float32, bfloat16"),
        (lambda: TrainingConfig(epochs=None), "one of `epochs`, `steps`, `minutes`"),
        (lambda: Config().override(steps=1, epochs=2), "but `steps` and `epochs` were"),
        (lambda: Config().override(units=0), "units"),
        (lambda: Config().override(unitz=3), "unitz"),
    ],
)
def test_what_makes_no_sense_is_told(call, said):
    with pytest.raises(OptionError, match=said):
        call()


@pytest.mark.parametrize("nonsense", ["", 1, ["x"]])
def test_a_text_to_stop_at_is_a_text(nonsense):
    with pytest.raises(OptionError, match="`stop` must be text, at least one"):
        CompletionConfig(stop=nonsense)


def test_messages_say_the_bounds():
    for bounds, expected in [
        ({"lowest": 0, "below": 1}, "a number of at least 0 and below 1"),
        ({"lowest": 0, "above": True, "highest": 2}, "a number above 0 and at most 2"),
    ]:
        with pytest.raises(OptionError, match=f"`x` must be {expected}, but was -1"):
            check_number("x", -1, **bounds)


def test_overriding_replaces_flat_names_and_leaves_the_rest():
    config = PRESETS["course"]
    changed = config.override(units=7, seq_length=9, seed=3, dropout=None)
    assert (changed.model.units, config.model.units) == (7, 128)
    assert changed.windows == WindowConfig(9, stride=3, targets="last")
    assert changed.training.seed == 3
    assert changed.model.dropout == config.model.dropout
    assert changed.training.epochs == config.training.epochs
    assert config.override() == config


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["minutes", "steps", "epochs"])
def test_one_length_unsets_the_others(preset, name):
    training = PRESETS[preset].override(**{name: 5}).training
    lengths = {n: getattr(training, n) for n in ("minutes", "steps", "epochs")}
    assert lengths == {"minutes": None, "steps": None, "epochs": None} | {name: 5}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_configuration_survives_json(preset):
    numbers = {"steps": np.int64(1), "dropout": np.float32(0.25)}
    for config in (PRESETS[preset], PRESETS[preset].override(**numbers)):
        assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("model", "error"), [({"colour": 1}, TypeError), ({"layers": 10**9}, OptionError)]
)
def test_reading_back_refuses_what_it_does_not_know(model, error):
    with pytest.raises(error, match=next(iter(model))):
        Config.from_dict(Config().to_dict() | {"model": model})


def test_an_older_file_may_have_options_that_are_retired(monkeypatch):
    monkeypatch.setattr("textgen.config.RETIRED", frozenset({"colour"}))
    data = Config().to_dict()
    data["model"]["colour"] = 1
    assert Config.from_dict(data) == Config()


def test_the_course_preset_is_the_exercise():
    config = PRESETS["course"]
    assert config.model == ModelConfig(layers=2, units=128, embedding=0, dropout=0.5)
    assert config.windows == WindowConfig(40, stride=3, targets="last")
    training = config.training
    assert (training.batch_size, training.optimizer) == (128, "adam")
    assert (training.schedule, training.weight_decay) == ("constant", 0)
    assert training.clip_norm == 0


def test_every_field_has_an_option_and_every_option_a_field():
    parser = Parser("")
    add_config_options(parser)
    text = " ".join(parser.format_help().split())
    assert "of each layer (default: 128, sonnets 224, dinos 256)" in text
    assert "peak rate (default: 0.02, lines 0.006, course 0.001)" in text
    assert "--window N" in text
    options = vars(parser.parse_args([]))
    config = Config()
    fields = [name for part in vars(config).values() for name in vars(part)]
    assert sorted(options) == sorted(fields)
    assert set(options.values()) == {None}
    assert config.override(**options) == config
    given = vars(parser.parse_args(["--clip-norm", "0.5", "--schedule", "constant"]))
    assert config.override(**given).training.clip_norm == 0.5
    assert config.override(**given).training.schedule == "constant"
