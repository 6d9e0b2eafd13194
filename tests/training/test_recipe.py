"""Which configuration a training runs with, and how that is said."""

import re
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from training.helpers import prepared, run

from textgen.cli.options import add_config_options
from textgen.config import PRESETS, Config, ModelConfig
from textgen.data.corpus import Corpus, load_corpus, named_corpora
from textgen.data.vocabulary import Vocabulary
from textgen.errors import OptionError
from textgen.modeling.model import build_model
from textgen.saving.model_file import load_model
from textgen.training import recipe, setup
from textgen.training.budget import size_for
from textgen.training.recipe import choose_config, describe_length
from textgen.training.schedule import BUDGET_EPOCHS

ROOT = Path(__file__).resolve().parents[2]


def options_of(words):
    parser = ArgumentParser()
    parser.add_argument("--corpus")
    parser.add_argument("--init-from")
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
    ("name", "kind", "expected"),
    [
        ("sonnets", "text", "sonnets"),
        ("dinos", "lines", "dinos"),
        ("dinos", "text", "dinos"),  # by its name, however it is read
        ("letters", "text", "sonnets"),
        ("letters", "lines", "lines"),
        ("course", "text", "sonnets"),  # a preset's name, but no named corpus
    ],
)
def test_a_preset_by_name_or_else_by_kind(name, kind, expected):
    text = corpus(name, kind, named=name in ("sonnets", "dinos"))
    assert choose_config(text, None, None, {}) == PRESETS[expected]


@pytest.mark.parametrize(("name", "kind"), [("dinos", "text"), ("sonnets", "lines")])
def test_a_file_called_like_a_named_corpus_is_like_any_file(name, kind):
    usual = choose_config(corpus("letters", kind), None, None, {})
    assert choose_config(corpus(name, kind), None, None, {}) == usual
    assert choose_config(corpus(name, kind, named=True), None, None, {}) != usual


@pytest.mark.parametrize(("given", "whole"), [("dinos", True), ("dinos.txt", False)])
def test_only_a_named_corpus_is_measured_whole(given, whole, tmp_path, monkeypatch):
    said = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(setup, "HeldOut", lambda *_, **kw: said.append(kw))
    Path("dinos.txt").write_text("some prose, not names; " * 99)
    prepared(given, None)
    assert said == [{"whole": whole}]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_that_is_asked_for_goes_before_the_corpus_own(preset):
    for name in ("sonnets", "dinos", "letters"):
        assert (
            choose_config(corpus(name, named=True), preset, None, {}) == PRESETS[preset]
        )


@pytest.fixture
def short(tmp_path):
    """A text of 2,000 characters."""
    path = tmp_path / "short.txt"
    path.write_text("Shall I compare thee to a summer's day?\n" * 50)
    return path


def steps_of(corpus, output, **options):
    ready = prepared(corpus, output, **options)
    return ready.total_steps, ready.windows.steps_per_epoch


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"preset": "sonnets", "batch_size": 8},
        {"seq_length": 20},
        {"held_out": 0.5},
        {"init_from": ROOT / "models" / "sonnets-pretrained.h5"},
    ],
)
def test_without_a_length_a_short_text_is_seen_no_more_often_than_it_is_worth(
    short, options, output
):
    steps, per_epoch = steps_of(short, output, **options)
    assert steps == BUDGET_EPOCHS * per_epoch
    for given, expected in (({"steps": 9_999}, 9_999), ({"epochs": 61}, 61)):
        steps, per_epoch = steps_of(short, output, **options, **given)
        assert steps == expected * (per_epoch if "epochs" in given else 1)


def test_a_length_that_was_limited_may_grow_when_it_is_resumed(tmp_path, output):
    text = tmp_path / "short.txt"
    text.write_text("Shall I compare thee to a summer's day?\n" * 5)
    tiny = {"layers": 1, "units": 4, "seq_length": 20, "preset": "sonnets"}
    first = prepared(text, output, **tiny)
    assert first.total_steps == BUDGET_EPOCHS * first.windows.steps_per_epoch
    assert any("60 epochs are all" in note for note in first.notes)
    run(text, output, **tiny)
    assert prepared(text, output, resume=True).finished
    longer = prepared(text, output, resume=True, steps=1240)
    assert (longer.total_steps, longer.finished) == (1240, False)


def test_going_on_from_a_model_of_minutes_takes_as_many(
    short, saved, monkeypatch, output
):
    start = with_config(saved, minutes=0.5)
    monkeypatch.setattr(setup, "load_trainable", lambda path: start)
    ready = prepared(short, output, init_from="any.h5")
    assert ready.total_steps is None
    assert ready.config.training.minutes == 0.5


def test_going_on_reads_a_text_as_the_saved_model_did_or_as_asked(
    names, prose_model, output
):
    for asked, kind, reason in (
        (None, "text", "as the saved model's"),
        ("lines", "lines", "given"),
    ):
        ready = prepared(names, output, init_from=prose_model, kind=asked)
        assert (ready.corpus.kind, ready.corpus.kind_reason) == (kind, reason)


def test_a_long_text_is_trained_on_for_the_presets_steps(output):
    assert steps_of("sonnets", output) == (1240, 21)
    steps, per_epoch = steps_of("shakespeare", output)
    assert steps == 1240 < 2 * per_epoch


@pytest.mark.parametrize("embedding", [0, 5])
@pytest.mark.parametrize("schedule", ["cosine", "averaged"])
def test_a_checkpoint_is_about_as_large_as_said(short, output, embedding, schedule):
    run(short, output, units=96, embedding=embedding, schedule=schedule, steps=1)
    model = load_model(output)
    said = recipe.checkpoint_bytes(model.config, len(model.vocabulary))
    written = output.with_suffix(".checkpoint").stat().st_size
    assert 0.95 < said / written <= 1
    assert output.stat().st_size < written  # what `check_room` relies on


def test_overrides_go_before_the_preset():
    overrides = {"units": 7, "steps": 3, "dropout": None, "embedding": 0}
    config = choose_config(corpus("sonnets", named=True), None, None, overrides)
    assert config == PRESETS["sonnets"].override(units=7, steps=3, embedding=0)
    with pytest.raises(OptionError, match="units"):
        choose_config(corpus(), None, None, {"units": -1})


def test_an_unknown_preset_lists_what_there_is(saved):
    for start in (None, saved):
        with pytest.raises(OptionError, match="one of sonnets, dinos, lines, course"):
            choose_config(corpus(), "sonets\x1b", start, {})


@pytest.mark.parametrize("schedule", ["cosine", "averaged"])
def test_going_on_takes_a_tenth_of_a_high_peak_rate(saved, schedule):
    own = {"learning_rate": 4e-3, "seq_length": 12, "seed": 9}
    start = with_config(saved, schedule=schedule, **own)
    config = choose_config(corpus(), None, start, {})
    assert config.training.learning_rate == pytest.approx(4e-4)
    rate = config.training.learning_rate
    assert config == start.config.override(learning_rate=rate, precision="auto")


def test_going_on_keeps_a_constant_rate(saved):
    start = with_config(saved, learning_rate=4e-3, schedule="constant")
    expected = start.config.override(precision="auto")
    assert choose_config(corpus(), None, start, {}) == expected


def test_going_on_chooses_the_precision_for_this_machine(saved):
    start = with_config(saved, precision="bfloat16")
    assert choose_config(corpus(), None, start, {}).training.precision == "auto"
    asked = choose_config(corpus(), None, start, {"precision": "bfloat16"})
    assert asked.training.precision == "bfloat16"


@pytest.mark.parametrize("schedule", ["constant", "cosine", "averaged"])
def test_going_on_takes_what_is_asked_for(saved, schedule):
    start = with_config(saved, schedule=schedule)
    overrides = {"learning_rate": 0.5, "epochs": 1, "batch_size": 128, "dropout": 0.4}
    config = choose_config(corpus(), None, start, overrides)
    assert config == start.config.override(**overrides, precision="auto")


def test_going_on_holds_nothing_out_that_was_trained_on(saved):
    start = with_config(saved, held_out=0.1)
    same = {"sha256": start.metadata["corpus"]["sha256"]}

    def held_out(share, **fields):
        text = replace(corpus(), **fields)
        return choose_config(text, None, start, {"held_out": share}).training.held_out

    for share in (None, 0.1, 0.05, 0):
        assert held_out(share, **same) == (0.1 if share is None else share)
    assert held_out(0.2) == 0.2  # of another text
    with pytest.raises(OptionError, match=r"`held_out` must be at most 0\.1"):
        held_out(0.2, **same)
    with pytest.raises(OptionError, match=r"at most 0, but was 0\.05"):
        held_out(0.05, kind="lines", **same)
    assert held_out(0, kind="lines", **same) == 0


def test_going_on_pays_no_heed_to_the_corpus_preset(saved):
    config = choose_config(corpus("sonnets", named=True), None, saved, {})
    assert config.model == saved.config.model != PRESETS["sonnets"].model


@pytest.mark.parametrize("name", ["layers", "units", "embedding"])
def test_going_on_keeps_the_network(saved, name):
    ours = getattr(saved.config.model, name)
    assert choose_config(corpus(), None, saved, {name: ours}).model == (
        saved.config.model
    )
    with pytest.raises(OptionError, match=f"`{name}` must be the saved model's {ours}"):
        choose_config(corpus(), None, saved, {name: ours + 1})


def test_one_hot_input_is_not_for_any_number_of_symbols(saved):
    vocabulary = Vocabulary(tuple(map(chr, range(0x4E00, 0x4E00 + 8193))))
    many = replace(corpus(), vocabulary=vocabulary)
    with pytest.raises(OptionError, match=r"`embedding` must be at least 1 .* 8,193"):
        choose_config(many, "course", None, {})
    with pytest.raises(OptionError, match="`embedding` must be at least 1"):
        choose_config(many, None, with_config(saved, embedding=0), {})
    assert choose_config(many, "course", None, {"embedding": 9}).model.embedding == 9
    fewer = replace(many, vocabulary=Vocabulary(vocabulary.symbols[1:]))
    assert choose_config(fewer, "course", None, {}).model.embedding == 0


@pytest.mark.parametrize("embedding", [0, 8])
def test_a_model_too_large_for_its_file_is_refused_before_the_work(
    embedding, monkeypatch
):
    shape = {"layers": 3, "units": 24, "embedding": embedding}
    weights = build_model(ModelConfig(**shape), 3).count_params()
    file_bytes = 4 * weights + recipe.RECORD_BYTES + 3 * recipe.SYMBOL_BYTES
    monkeypatch.setattr(recipe, "MAX_FILE_BYTES", file_bytes)
    assert choose_config(corpus(), None, None, shape).model.units == 24
    monkeypatch.setattr(recipe, "MAX_FILE_BYTES", file_bytes - 1)
    with pytest.raises(OptionError, match=f"about {file_bytes:,} bytes"):
        choose_config(corpus(), None, None, shape)


def test_windows_too_long_to_be_completed_are_refused_before_the_work():
    shape = {"layers": 2, "units": 512, "targets": "last", "seq_length": 8192}
    assert choose_config(corpus(), None, None, shape).windows.seq_length == 8192
    with pytest.raises(OptionError, match="`seq_length` must be at most 8,192"):
        choose_config(corpus(), None, None, shape | {"seq_length": 8193})
    choose_config(corpus(), None, None, shape | {"seq_length": 9000, "targets": "all"})


def test_the_commands_of_the_model_card_are_what_the_files_record():
    """But for the precision, which is the machine's."""
    card = (ROOT / "models" / "README.md").read_text("utf-8")
    commands = re.findall(r"^python train\.py (.*)$", card, flags=re.M)
    assert len(commands) == 3
    made = {}
    for words in commands:
        options = vars(options_of(words.split()))
        name, start = options.pop("corpus"), options.pop("init_from")
        if start is not None:
            start = made[Path(start).stem]
        text = load_corpus(name)
        config = choose_config(text, None, start, options)
        made[name] = SimpleNamespace(config=config, metadata={}, kind=text.kind)
    for name in ("sonnets", "dinos"):
        recorded = load_model(ROOT / "models" / f"{name}-pretrained.h5").config
        precision = recorded.training.precision
        assert made[name].config.override(precision=precision) == recorded


def test_a_preset_and_a_saved_model_at_once(output, prose_model):
    with pytest.raises(OptionError, match="give `preset` or `init_from`, not both"):
        prepared("sonnets", output, preset="sonnets", init_from=prose_model)


def test_what_is_trained_on_what_is_said_in_one_line(prose, output):
    options = {"layers": 2, "units": 64, "seq_length": 9, "batch_size": 4}
    # 76 windows of 9 symbols and the one after fit into the 691 to train on.
    assert prepared(prose, output, kind="text", **options).summary == (
        "hour: 768 characters, 19 symbols, text (given); 2×64 LSTM, "
        "batches of 4 windows, 19 steps an epoch"
    )


def test_the_characters_said_are_those_of_the_file(output):
    characters = len(named_corpora()["dinos"].read_text("utf-8"))
    assert prepared("dinos", output).summary.startswith(
        f"dinos: {characters:,} characters, 27 symbols, lines ("
    )


def test_the_length_is_said_and_for_a_budget_how_to_repeat_it():
    config = Config().override(steps=1200)
    assert describe_length(config, 0, 1200, 0.05, 9) == "1,200 steps, about 60 s"
    assert describe_length(config, 0, 1, 2.0, 9) == "1 step, about 2 s"


def test_the_command_that_repeats_a_budget_says_all_that_was_chosen():
    asked = {"minutes": 2, "precision": "float32", "seed": 5}
    budget = choose_config(corpus(), None, None, asked)
    line = describe_length(budget, 0, 1200, 0.05, 9)
    said = dict(re.findall(r"`([a-z_]+)` (\S+)", line.split("in place of")[1]))
    options = {
        name: value
        if name in ("precision", "schedule")
        else float(value)
        if "." in value
        else int(value)
        for name, value in said.items()
    }
    again = choose_config(corpus(), None, None, options)
    assert again == budget.override(steps=1200)


def test_a_budget_without_a_preset_sizes_the_network(monkeypatch):
    monkeypatch.setattr(recipe, "relative_speed", lambda: 1e-6)
    text = corpus(characters=1000)
    sized = choose_config(text, None, None, {"minutes": 3, "units": 40})
    assert sized == size_for(900, 3, 1e-6).override(units=40)
    all_of_it = choose_config(text, None, None, {"minutes": 3, "held_out": 0})
    assert all_of_it == size_for(1000, 3, 1e-6).override(held_out=0)
    assert all_of_it != size_for(1000, 3).override(held_out=0)
    preset = choose_config(corpus(), "course", None, {"minutes": 3})
    assert preset == PRESETS["course"].override(minutes=3)


@pytest.mark.parametrize(
    ("own", "rate"),
    [
        ({}, 0.021),
        ({"schedule": "cosine"}, 0.014),
        ({"layers": 2, "units": 128}, 0.012),
        ({"layers": 2, "units": 256, "schedule": "cosine"}, 0.0046),
        ({"layers": 2, "learning_rate": 0.5}, 0.5),
    ],
)
def test_a_budgets_rate_is_that_of_the_network_that_is_asked_for(own, rate):
    config = choose_config(corpus(), None, None, {"minutes": 3, **own})
    assert config.training.learning_rate == rate
