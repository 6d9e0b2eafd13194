"""What may differ when a training is resumed, and how a difference is told."""

import dataclasses

import pytest
from training.helpers import make_checkpoint

from textgen.config import PRESETS, Config
from textgen.data.corpus import load_corpus
from textgen.errors import CheckpointError, OptionError
from textgen.training.resume import (
    check_corpus,
    planned_steps,
    resumed_config,
    version_notes,
)

BEGAN = Config().override(units=64, seq_length=50, steps=900, precision="float32")


def checkpoint_of(**overrides):
    return make_checkpoint(config=BEGAN.override(**overrides), total_steps=900)


@pytest.mark.parametrize(
    "given",
    [
        {"units": None},
        {"units": 64, "seq_length": 50, "steps": 900, "precision": "auto"},
    ],
)
def test_options_are_what_they_were(given):
    assert resumed_config(checkpoint_of(), None, given) == BEGAN


@pytest.mark.parametrize(
    ("given", "began", "asked"),
    [
        ({"units": 65}, "64", "65"),
        ({"stride": 3}, "None", "3"),
        ({"learning_rate": 0.1}, "0.003", "0.1"),
        ({"precision": "bfloat16"}, "float32", "bfloat16"),
        ({"seed": 1}, "0", "1: leave it out to go on"),
        ({"held_out": 0.2, "steps": 1000}, "0.1", "0.2"),
    ],
)
def test_a_difference_is_named(given, began, asked):
    expected = f"`{next(iter(given))}` must be .* {began}, but was {asked}"
    with pytest.raises(CheckpointError, match=expected):
        resumed_config(checkpoint_of(), None, given)


def test_a_preset_stands_for_what_it_sets_but_for_the_length():
    course = make_checkpoint(config=PRESETS["course"].override(epochs=3, dropout=0.1))
    again = resumed_config(course, "course", {"dropout": 0.1})
    assert again == course.config
    with pytest.raises(
        CheckpointError, match=r"`dropout` .* course sets 0.5: leave `p"
    ):
        resumed_config(course, "course", {})
    with pytest.raises(CheckpointError, match=r"`dropout` must be .* 0.1, but was 0.5"):
        resumed_config(course, "course", {"dropout": 0.5})
    with pytest.raises(OptionError, match="`preset` must be one of"):
        resumed_config(course, "curse", {})


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_does_not_stand_for_what_it_leaves_open(preset):
    own = {"seed": 5, "held_out": 0.2, "precision": "float32"}
    began = make_checkpoint(config=PRESETS[preset].override(**own))
    assert resumed_config(began, preset, {"steps": None}) == began.config
    with pytest.raises(CheckpointError, match=r"`seed` must be .* 5, but was 0"):
        resumed_config(began, preset, {"seed": 0})


def test_values_out_of_bounds_are_refused_as_ever():
    with pytest.raises(OptionError, match="`units` must be a whole number"):
        resumed_config(checkpoint_of(), None, {"units": 0})
    with pytest.raises(OptionError, match="`steps` and `epochs` were given"):
        resumed_config(checkpoint_of(), None, {"steps": 1000, "epochs": 9})


@pytest.mark.parametrize(
    ("began", "asked", "steps"),
    [
        ({"steps": 900}, {}, 900),
        ({"steps": 900}, {"steps": 900}, 900),
        ({"steps": 900}, {"steps": 901}, 901),
        ({"steps": 900}, {"epochs": 9}, 900),
        ({"steps": 900}, {"epochs": 10}, 1000),
        ({"epochs": 9}, {"epochs": 12}, 1200),
        ({"epochs": 9}, {"steps": 1000}, 1000),
        ({"minutes": 2}, {}, 900),
        ({"minutes": 2}, {"minutes": 2.0}, 900),
        ({"minutes": 2}, {"minutes": 2.5}, None),
        ({"minutes": 2}, {"steps": 900}, 900),
        ({"minutes": 2}, {"epochs": 10}, 1000),
    ],
)
def test_the_length_may_grow(began, asked, steps):
    checkpoint = checkpoint_of(**began)
    config = resumed_config(checkpoint, None, asked)
    assert planned_steps(checkpoint, config, 100) == (steps, [])
    for name, value in asked.items():
        assert getattr(config.training, name) == value


@pytest.mark.parametrize(
    ("began", "asked", "expected"),
    [
        ({"steps": 900}, {"steps": 899}, "at least the 900 steps planned, but 899"),
        ({"steps": 900}, {"epochs": 8}, "900 steps planned, but 800 were asked for"),
        ({"steps": 900}, {"minutes": 9}, "planned as 900 steps, but `minutes` 9 was"),
        ({"minutes": 2}, {"minutes": 1.5}, "2 minutes planned, but `minutes` 1.5 was"),
        ({"minutes": 2}, {"steps": 800}, "900 steps planned, but 800 were asked for"),
    ],
)
def test_the_length_may_not_shrink(began, asked, expected):
    checkpoint = checkpoint_of(**began)
    config = resumed_config(checkpoint, None, asked)
    with pytest.raises(CheckpointError, match=expected):
        planned_steps(checkpoint, config, 100)


def test_the_text_must_be_the_same_but_may_lie_elsewhere(tmp_path):
    for name, text in (("one", "same"), ("two", "same"), ("three", "other")):
        (tmp_path / f"{name}.txt").write_text(text * 20)
    one, two, three = (
        load_corpus(tmp_path / f"{name}.txt") for name in ("one", "two", "three")
    )
    corpus = {"name": "one", "kind": one.kind, "sha256": one.sha256}
    checkpoint = make_checkpoint(corpus=corpus)
    check_corpus(checkpoint, one, None)
    check_corpus(checkpoint, two, "text")
    with pytest.raises(CheckpointError, match=r"`kind` must be .* text, but was l"):
        check_corpus(checkpoint, one, "lines")
    with pytest.raises(CheckpointError, match=r"'one' of SHA-256 .* but 'three' has "):
        check_corpus(checkpoint, three, None)


def test_other_libraries_are_told():
    checkpoint = make_checkpoint()
    assert version_notes(checkpoint) == []
    older = dict(checkpoint.versions) | {"keras": "3.0", "torch": "1"}
    (note,) = version_notes(dataclasses.replace(checkpoint, versions=older))
    assert f"keras 3.0, now {checkpoint.versions['keras']}; torch 1, now none" in note
