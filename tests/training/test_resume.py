"""What may differ when a training is resumed, and how a difference is told."""

import dataclasses

import pytest
from training.helpers import make_checkpoint

from textgen.config import PRESETS, Config
from textgen.data.corpus import load_corpus
from textgen.errors import CheckpointError, TextgenError
from textgen.training.resume import (
    check_corpus,
    planned_steps,
    resumed_config,
    version_notes,
)

BEGAN = Config().override(units=64, seq_length=50, steps=900, precision="float32")
COURSE = PRESETS["course"].override(epochs=3, dropout=0.1)
SOWN = COURSE.override(seed=5)
SEEDED = {"seed": 5, "held_out": 0.2, "precision": "float32"}  # presets leave them open


@pytest.mark.parametrize(
    ("began", "preset", "given"),
    [
        (BEGAN, None, {"units": None}),
        (BEGAN, None, {"units": 64, "seq_length": 50, "steps": 900}),
        (BEGAN, None, {"precision": "auto"}),
        (COURSE, "course", {"dropout": 0.1}),  # a preset sets no length
        *((config.override(**SEEDED), name, {}) for name, config in PRESETS.items()),
    ],
)
def test_options_are_what_they_were(began, preset, given):
    assert resumed_config(make_checkpoint(config=began), preset, given) == began


@pytest.mark.parametrize(
    ("began", "preset", "given", "match"),
    [
        (BEGAN, None, {"units": 65}, "`units` must be .* 64, but was 65"),
        (BEGAN, None, {"stride": 3}, "`stride` must be .* None, but was 3"),
        (BEGAN, None, {"learning_rate": 0.1}, "rate` must be .* 0.003, but was 0.1"),
        (BEGAN, None, {"precision": "bfloat16"}, "must be .* float32, but was bfloat"),
        (
            BEGAN,
            None,
            {"seed": 1},
            "`seed` must be .* 0, but was 1: leave it out to go",
        ),
        (
            BEGAN,
            None,
            {"held_out": 0.2, "steps": 1000},
            "held_out` must be .* 0.1, but",
        ),
        (COURSE, "course", {}, "`dropout` .* course sets 0.5: leave `preset` out"),
        (COURSE, "course", {"dropout": 0.5}, "`dropout` must be .* 0.1, but was 0.5"),
        (SOWN, "course", {"dropout": 0.1, "seed": 0}, "`seed` must be .* 5, but was 0"),
        (COURSE, "curse", {}, "`preset` must be one of"),
        (BEGAN, None, {"units": 0}, "`units` must be a whole number"),
        (BEGAN, None, {"steps": 1000, "epochs": 9}, "`steps` and `epochs` were given"),
    ],
)
def test_a_difference_is_named(began, preset, given, match):
    with pytest.raises(TextgenError, match=match):
        resumed_config(make_checkpoint(config=began), preset, given)


@pytest.mark.parametrize(
    ("began", "asked", "expected"),
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
        ({"steps": 900}, {"steps": 899}, "at least the 900 steps planned, but 899"),
        ({"steps": 900}, {"epochs": 8}, "900 steps planned, but 800 were asked for"),
        ({"steps": 900}, {"minutes": 9}, "planned as 900 steps, but `minutes` 9 was"),
        ({"minutes": 2}, {"minutes": 1.5}, "2 minutes planned, but `minutes` 1.5 was"),
        ({"minutes": 2}, {"steps": 800}, "900 steps planned, but 800 were asked for"),
    ],
)
def test_the_length_may_grow_but_not_shrink(began, asked, expected):
    checkpoint = make_checkpoint(config=BEGAN.override(**began), total_steps=900)
    config = resumed_config(checkpoint, None, asked)
    if isinstance(expected, str):
        with pytest.raises(CheckpointError, match=expected):
            planned_steps(checkpoint, config, 100, 60)
        return
    assert planned_steps(checkpoint, config, 100, 60) == (expected, [])
    assert all(getattr(config.training, name) == asked[name] for name in asked)


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
