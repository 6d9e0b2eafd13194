"""Which configuration a training runs with, and how that is said."""

import re
from argparse import ArgumentParser
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from training.helpers import prepared

from textgen.cli.options import add_config_options
from textgen.config import PRESETS, Config, ModelConfig
from textgen.data.corpus import Corpus, load_corpus
from textgen.data.sources import named_corpora
from textgen.data.vocabulary import Vocabulary
from textgen.errors import ModelFileError, OptionError
from textgen.modeling.model import build_model
from textgen.saving.model_file import load_model
from textgen.saving.trained_model import TrainedText
from textgen.training import recipe, setup
from textgen.training.base_model import OF_ANOTHER_NETWORK
from textgen.training.budget import peak_rate, size_for
from textgen.training.recipe import choose_config, describe_length
from textgen.training.schedule import BUDGET_EPOCHS

ROOT = Path(__file__).resolve().parents[2]


def options_of(words):
    parser = ArgumentParser()
    for option in ("--corpus", "--init-from", "--kind", "--output"):
        parser.add_argument(option)
    add_config_options(parser)
    return parser.parse_args(words)


def corpus(name="letters", kind="text", characters=100_000, **fields):
    vocabulary = Vocabulary(("\n", "a", "b"))
    ids = (np.arange(characters) % 3).astype(np.uint8)
    return Corpus(name, kind, "1" * 64, vocabulary, ids, **fields)


@pytest.fixture(scope="module")
def saved(prose_model):
    return load_model(prose_model)


def with_config(saved, **overrides):
    return replace(saved, config=saved.config.override(**overrides))


@pytest.mark.parametrize(
    ("name", "kind", "named", "expected"),
    [
        ("sonnets", "text", True, "sonnets"),
        ("dinos", "lines", True, "dinos"),
        ("dinos", "text", True, "dinos"),  # by its name, however it is read
        ("dinos", "text", False, "sonnets"),  # a file that is called so
        ("sonnets", "lines", False, "lines"),
        ("course", "text", True, "course"),
        ("letters", "lines", False, "lines"),
        ("letters", "text", True, "sonnets"),  # named, but no preset is
    ],
)
def test_a_preset_by_name_or_else_by_kind(name, kind, named, expected):
    text = corpus(name, kind, named=named)
    assert choose_config(text, None, None, {}) == as_for(kind, expected)
    for preset in PRESETS:
        assert choose_config(text, preset, None, {}) == as_for(kind, preset)


def as_for(kind, preset):
    """Return a preset with what depends on the text: whether a state is carried on."""
    return PRESETS[preset].override(stateful=kind == "text" and preset != "course")


@pytest.mark.parametrize(("given", "whole"), [("dinos", True), ("dinos.txt", False)])
def test_only_a_named_corpus_is_measured_whole(given, whole, tmp_path, monkeypatch):
    said = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(setup, "HeldOut", lambda *_, **kw: said.append(kw["whole"]))
    Path("dinos.txt").write_text("some prose, not names; " * 99)
    prepared(given, None)
    assert said == [whole]


@pytest.fixture
def short(tmp_path):
    """A text of 2,000 characters."""
    path = tmp_path / "short.txt"
    path.write_text("Shall I compare thee to a summer's day,\n" * 50)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"preset": "sonnets", "batch_size": 8},
        {"held_out": 0.5},
    ],
)
def test_without_a_length_a_short_text_is_seen_no_more_often_than_it_is_worth(
    short, options, output
):
    ready = prepared(short, output, **options)
    per_epoch = ready.windows.steps_per_epoch
    assert ready.total_steps == BUDGET_EPOCHS * per_epoch
    assert "60 epochs are all" in ready.notes[0]
    assert prepared(short, output, **options, steps=9_999).total_steps == 9_999
    assert prepared(short, output, **options, epochs=61).total_steps == 61 * per_epoch


@pytest.mark.parametrize("name", ["sonnets", "shakespeare"])
def test_a_long_text_is_trained_on_for_the_presets_steps(output, name):
    assert prepared(name, output, stateful=None).total_steps == 1200


def test_going_on_reads_a_text_as_the_saved_model_did_or_as_asked(
    names, prose_model, output
):
    for asked, kind, reason in (
        (None, "text", "as the saved model's"),
        ("lines", "lines", "given"),
    ):
        ready = prepared(names, output, init_from=prose_model, kind=asked)
        assert (ready.corpus.kind, ready.corpus.kind_reason) == (kind, reason)
    with pytest.raises(OptionError, match="give `preset` or `init_from`, not both"):
        prepared(names, output, init_from=prose_model, preset="sonnets")
    with pytest.raises(ModelFileError, match="name a file as `init_from`"):
        prepared(names, output, init_from="nonsense")


MOST_ONE_HOT = Vocabulary(tuple(map(chr, range(0x4E00, 0x4E00 + 7000))))
MORE = Vocabulary(("a", *MOST_ONE_HOT.symbols))
WIDE = {"layers": 2, "units": 512, "targets": "last"}


@pytest.mark.parametrize(
    ("preset", "own", "overrides", "vocabulary", "match"),
    [
        (None, None, {"units": -1}, None, "units"),
        (None, None, {"cell": "GRU"}, None, "`cell` must be one of lstm, gru, rnn"),
        (None, None, {"cell": "GRU", "minutes": 1}, None, "`cell` must be one of"),
        ("sonets\x1b", None, {}, None, "one of sonnets, dinos, lines, course"),
        ("sonets\x1b", {}, {}, None, "one of sonnets, dinos, lines, course"),
        (None, {}, {"layers": 2, "units": 16, "embedding": 8}, None, None),
        (None, {}, {"layers": 3}, None, "`layers` must be the saved model's 2"),
        (None, {}, {"units": 17}, None, "`units` must be the saved model's 16"),
        (None, {}, {"embedding": 0}, None, "`embedding` must be the saved model's 8"),
        ("course", None, {}, MOST_ONE_HOT, None),
        ("course", None, {"embedding": 9}, MORE, None),
        ("course", None, {}, MORE, "`embedding` must be at least 1 .* 7,001"),
        (None, {"embedding": 0}, {}, MORE, "`embedding` must be at least 1"),
        (None, None, WIDE | {"seq_length": 2048}, None, None),
        (None, None, WIDE | {"seq_length": 9000, "targets": "all"}, None, None),
        (None, None, WIDE | {"seq_length": 2049}, None, "must be at most 2,048 for"),
    ],
)
def test_what_can_not_be_is_refused_before_the_work(
    saved, preset, own, overrides, vocabulary, match
):
    text = corpus() if vocabulary is None else replace(corpus(), vocabulary=vocabulary)
    start = None if own is None else with_config(saved, **own)
    with pytest.raises(OptionError, match=match) if match else nullcontext():
        chosen = choose_config(text, preset, start, overrides).flat()
        assert all(chosen[name] == value for name, value in overrides.items())


@pytest.mark.parametrize(("cell", "rate"), [("lstm", 0.02), ("gru", 0.007)])
def test_other_cells_take_a_lower_rate_unless_one_is_given(cell, rate):
    chosen = choose_config(corpus(), "sonnets", None, {"cell": cell})
    assert chosen.training.learning_rate == rate
    both = {"cell": cell, "learning_rate": 0.01}
    chosen = choose_config(corpus(), "sonnets", None, both)
    assert chosen.training.learning_rate == 0.01
    chosen = choose_config(corpus(), None, None, {"cell": cell, "minutes": 1})
    model, training = chosen.model, chosen.training
    usual = peak_rate(model.layers, model.units, training.schedule)
    assert abs(training.learning_rate / usual - rate / 0.02) < 0.01


@pytest.mark.parametrize(
    ("embedding", "cell"), [(0, "lstm"), (8, "lstm"), (8, "gru"), (8, "rnn")]
)
def test_a_model_too_large_for_its_file_is_refused_before_the_work(
    embedding, cell, monkeypatch
):
    shape = {"layers": 3, "units": 24, "embedding": embedding, "cell": cell}
    weights = build_model(ModelConfig(**shape), 3).count_params()
    monkeypatch.setattr(recipe, "MAX_FLOATS", weights)
    assert choose_config(corpus(), None, None, shape).model.units == 24
    monkeypatch.setattr(recipe, "MAX_FLOATS", weights - 1)
    with pytest.raises(OptionError, match=f"would have {weights:,} weights"):
        choose_config(corpus(), None, None, shape)


def test_the_commands_of_the_model_card_are_what_the_files_record():
    """But for the precision, which is the machine's."""
    card = (ROOT / "models" / "README.md").read_text("utf-8")
    commands = re.findall(r"^(?:.*`)?python train\.py (--[^`\n]*)", card, flags=re.M)
    made = {}
    for words in commands:
        options = vars(options_of(words.split()))
        name, start = options.pop("corpus"), options.pop("init_from")
        kind, output = options.pop("kind"), options.pop("output") or f"{name}.h5"
        if start is not None:
            start = made[Path(start).stem]
        # The text of English is not in the repository; nothing is chosen by it.
        text = corpus("english", kind) if kind else load_corpus(name)
        config = choose_config(text, None, start, options)
        texts = (TrainedText.of_training(text.identity, config),)
        made[Path(output).stem] = SimpleNamespace(config=config, texts=texts)
    last = {"english": "english-4", "sonnets": "sonnets", "dinos": "dinos"}
    for name, its_last in last.items():
        recorded = load_model(ROOT / "models" / f"{name}-pretrained.h5").config
        recorded = recorded.override(stateful=False)  # as all were when it was made
        precision = recorded.training.precision
        assert made[its_last].config.override(precision=precision) == recorded


def test_what_is_trained_on_what_is_said_in_one_line(prose, output):
    options = {"layers": 2, "units": 64, "seq_length": 9, "batch_size": 4}
    # 76 windows of 9 symbols and the one after fit into the 691 to train on.
    assert prepared(prose, output, kind="text", **options).summary == (
        "hour: 768 characters, 19 symbols, text (given); 2×64 LSTM, "
        "batches of 4 windows, 19 steps an epoch"
    )
    stateful = prepared(prose, output, kind="text", stateful=True, **options).summary
    assert "batches of 4 windows, stateful, 18 steps an epoch" in stateful
    # The end symbol that lines begin with is none of the file's.
    characters = len(named_corpora()["dinos"].read_text("utf-8"))
    assert prepared("dinos", output).summary.startswith(
        f"dinos: {characters:,} characters, 27 symbols, lines ("
    )
    config = Config().override(steps=1200)
    assert describe_length(config, 0, 1200, 0.05, 9) == "1,200 steps, about 60 s"
    assert describe_length(config, 0, 1, 2.0, 9) == "1 step, about 2 s"


@pytest.mark.parametrize("goes_on", [False, True])
def test_the_command_that_repeats_a_budget_says_all_that_was_chosen(saved, goes_on):
    start = saved if goes_on else None
    asked = {"minutes": 2, "precision": "float32", "seed": 5}
    budget = choose_config(corpus(), None, start, asked)
    line = describe_length(budget, 0, 1200, 0.05, 9, goes_on=goes_on)
    said = dict(re.findall(r"`([a-z_]+)` (\S+)", line.split("in place of")[1]))
    for name in set(said) - {"precision", "schedule"}:
        said[name] = float(said[name]) if "." in said[name] else int(said[name])
    assert choose_config(corpus(), None, start, said) == budget.override(steps=1200)
    # With one of these a text of one's own would not begin with the model of English.
    assert goes_on != bool(set(said) & set(OF_ANOTHER_NETWORK))


@pytest.mark.parametrize(
    ("characters", "own", "stateful"),
    [
        (45_511, {}, False),  # nine tenths of them are less than 10·64·64
        (45_512, {}, True),
        (45_511, {"held_out": 0}, True),
        (45_512, {"batch_size": 65}, False),
        (45_512, {"validation": 0.1}, False),
        (45_512, {"level": "word"}, False),
        (100_000, {"level": "word"}, True),
        (1000, {"stateful": True}, True),
    ],
)
def test_the_state_is_carried_on_where_streams_are_long(characters, own, stateful):
    config = choose_config(corpus(characters=characters), None, None, own)
    assert config.windows.stateful is stateful


def test_a_budget_without_a_preset_sizes_the_network(monkeypatch):
    monkeypatch.setattr(recipe, "relative_speed", lambda: 1e-6)
    text = corpus(characters=1000)
    sized = choose_config(text, None, None, {"minutes": 3, "units": 40})
    assert sized == size_for(900, 3, 1e-6).override(units=40, stateful=False)
    all_of_it = choose_config(text, None, None, {"minutes": 3, "held_out": 0})
    expected = {"held_out": 0, "stateful": False}
    assert all_of_it == size_for(1000, 3, 1e-6).override(**expected)
    assert all_of_it != size_for(1000, 3).override(**expected)
    preset = choose_config(corpus(), "course", None, {"minutes": 3})
    assert preset == PRESETS["course"].override(minutes=3, stateful=False)


@pytest.mark.parametrize(
    ("own", "rate"),
    [
        ({}, 0.0188),  # one layer of 448 units
        ({"units": 400}, 0.021),
        ({"units": 16}, 0.021),
        ({"units": 800}, 0.0105),
        ({"schedule": "cosine"}, 0.0125),
        ({"layers": 2, "units": 128}, 0.012),
        ({"layers": 2, "units": 256, "schedule": "cosine"}, 0.0046),
        ({"layers": 2, "learning_rate": 0.5}, 0.5),
    ],
)
def test_a_budgets_rate_is_that_of_the_network_that_is_asked_for(
    own, rate, monkeypatch
):
    monkeypatch.setattr(recipe, "relative_speed", lambda: 1.0)
    config = choose_config(corpus(), None, None, {"minutes": 3, **own})
    assert config.training.learning_rate == rate
