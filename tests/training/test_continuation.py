"""With what configuration a saved model is trained on, and what it has seen."""

from dataclasses import replace

import numpy as np
import pytest
from training.helpers import prepared, run

from textgen.config import Config
from textgen.data.corpus import Corpus
from textgen.data.documents import Part
from textgen.data.vocabulary import Vocabulary
from textgen.errors import OptionError
from textgen.saving.model_file import load_model
from textgen.saving.trained_model import UNKNOWN_TEXT, TrainedText
from textgen.training.continuation import (
    continued_config,
    epochs_worth,
    seen_remark,
    validation_remark,
)

SEEN, NEW = "5" * 64, "4" * 64
OTHER = TrainedText("tales", "text", "7" * 64, 0.01, 4e-3, "cosine")
FIRST = TrainedText("novels", "text", SEEN, 0.01, 4e-3, "cosine")


def corpus(characters=100_000, sha256=NEW, kind="text", name="letters"):
    ids = np.broadcast_to(np.uint8(1), characters)  # of no size in memory
    return Corpus(name, kind, sha256, Vocabulary(("\n", "a", "b")), ids)


@pytest.fixture(scope="module")
def saved(prose_model):
    """A model that was trained in a way that nobody would go on with."""
    model = load_model(prose_model)
    config = model.config.override(
        learning_rate=1e-5, held_out=0.01, steps=77, seed=9, precision="bfloat16"
    )
    return replace(model, config=config, texts=(FIRST,))


@pytest.mark.parametrize(
    ("characters", "epochs", "dropout", "batch_size"),
    [
        (3_000, 12, 0.4, 16),
        (30_000, 7, 0.27, 32),
        (100_000, 5, 0.2, 32),
        (3_000_000, 3, 0.09, 32),
        (10**9, 3, 0.05, 32),
    ],
)
def test_shorter_texts_are_seen_more_often_with_more_dropout(
    saved, characters, epochs, dropout, batch_size
):
    config = continued_config(saved, corpus(characters), {})
    assert config.training.epochs == epochs
    assert config.model.dropout == dropout
    assert config.training.batch_size == batch_size


def test_batches_are_smaller_where_an_epoch_has_less_than_forty_steps(saved):
    sizes = [
        continued_config(saved, corpus(chars), {"held_out": 0}).training.batch_size
        for chars in (12_799, 12_800)  # 40 batches of 32 windows of 10
    ]
    assert sizes == [16, 32]


def test_only_the_network_and_its_windows_are_inherited(saved):
    config = continued_config(saved, corpus(), {})
    network = ("layers", "units", "embedding")
    assert [getattr(config.model, name) for name in network] == [2, 16, 8]
    assert config.windows == replace(saved.config.windows, stateful=False)
    usual = Config().training
    for name in ("held_out", "seed", "precision", "schedule", "optimizer"):
        assert getattr(config.training, name) == getattr(usual, name)
    assert config.training.steps is None


def test_a_text_seen_before_is_gone_on_with_as_it_was_left(saved):
    kept = {"dropout": 0.7, "input_dropout": 0.3, "weight_decay": 5.0, "batch_size": 3}
    start = replace(saved, config=saved.config.override(**kept))
    for sha256, expected in ((SEEN, kept), (NEW, {"dropout": 0.2, "batch_size": 32})):
        flat = continued_config(start, corpus(sha256=sha256), {}).flat()
        assert {name: flat[name] for name in expected} == expected


def test_what_is_asked_for_goes_before_the_rules(saved):
    asked = {"learning_rate": 0.5, "dropout": 0.0, "minutes": 2, "seed": 3}
    flat = continued_config(saved, corpus(), asked).flat()
    assert {name: flat[name] for name in asked} == asked
    assert flat["epochs"] is None


@pytest.mark.parametrize(
    ("texts", "rate"),
    [
        ((FIRST,), 1.5e-3),
        ((replace(FIRST, schedule="averaged"),), 1e-3),
        ((FIRST, replace(FIRST, sha256="7" * 64, learning_rate=1e-9)), 1.5e-3),
        # By the rule for two layers, 0.008 · (128 / 16)^0.8.
        ((UNKNOWN_TEXT,), 0.0158),
        ((replace(FIRST, sha256=NEW),), 4e-4),
    ],
    ids=["first", "averaged", "chain", "unknown", "seen"],
)
def test_the_rate_is_that_of_the_first_training(saved, texts, rate):
    config = continued_config(replace(saved, texts=texts), corpus(), {})
    assert config.training.learning_rate == pytest.approx(rate, rel=2e-3)


def test_nothing_is_held_out_that_an_ancestor_was_trained_on(saved):
    again = replace(FIRST, held_out=0.2)
    start = replace(saved, texts=(again, FIRST, replace(FIRST, sha256="7" * 64)))

    def held_out(asked, **fields):
        config = continued_config(start, corpus(**fields), {"held_out": asked})
        return config.training.held_out

    assert held_out(None, sha256=SEEN) == 0.01
    assert held_out(0.0, sha256=SEEN) == 0.0
    assert (held_out(None), held_out(0.3)) == (0.1, 0.3)
    assert held_out(None, sha256=SEEN, kind="lines") == 0
    with pytest.raises(OptionError, match=r"`held_out` must be at most 0\.01"):
        held_out(0.1, sha256=SEEN)
    with pytest.raises(OptionError, match=r"at most 0, but was 0\.05"):
        held_out(0.05, sha256=SEEN, kind="lines")


@pytest.mark.parametrize("name", ["layers", "units", "embedding"])
def test_the_network_stays_as_it_is(saved, name):
    ours = getattr(saved.config.model, name)
    assert continued_config(saved, corpus(), {name: ours}).model.layers == 2
    with pytest.raises(OptionError, match=f"`{name}` must be the saved model's {ours}"):
        continued_config(saved, corpus(), {name: ours + 1})


def test_the_cell_stays_as_it_is_too(saved):
    own = replace(saved.config, model=replace(saved.config.model, cell="gru"))
    of_gru = replace(saved, config=own)
    for overrides in ({}, {"cell": "gru"}):
        assert continued_config(of_gru, corpus(), overrides).model.cell == "gru"
    with pytest.raises(OptionError, match="`cell` must be the saved model's gru"):
        continued_config(of_gru, corpus(), {"cell": "lstm"})


@pytest.mark.parametrize(
    ("characters", "rate"),
    [(3_000, 1.5e-3), (1_600_000, 3e-3), (10**9, 6e-3)],
)
def test_longer_texts_are_gone_on_with_at_a_higher_rate(saved, characters, rate):
    config = continued_config(saved, corpus(characters), {})
    assert config.training.learning_rate == pytest.approx(rate, rel=1e-2)


def test_a_fresh_network_learns_longer_than_one_that_goes_on():
    assert epochs_worth(90_000, ()) == 60
    assert epochs_worth(90_000, (FIRST,)) == 5


def test_a_figure_that_may_be_of_text_seen_before_says_so():
    assert seen_remark(corpus(), (FIRST,)) == ""
    assert "isn't known" in seen_remark(corpus(), (UNKNOWN_TEXT, FIRST))
    assert "other contents" in seen_remark(corpus(name="novels"), (FIRST,))
    assert seen_remark(corpus(name="novels", sha256=SEEN), (FIRST,)) == ""


@pytest.mark.parametrize(
    ("texts", "before", "now", "kind", "seen"),
    [
        ((FIRST,), {}, {"validation": 0.1}, "text", True),
        ((FIRST,), {"validation": 0.1}, {"validation": 0.1}, "text", False),
        ((FIRST,), {"validation": 0.2}, {"validation": 0.1}, "text", False),
        ((FIRST,), {"validation": 0.1}, {"validation": 0.2}, "text", True),
        ((FIRST,), {"validation": 0.1}, {"patience": 3}, "text", False),
        ((FIRST,), {"validation": 0.1}, {"validation": 0.1}, "lines", True),
        ((FIRST, OTHER), {"validation": 0.1}, {"validation": 0.1}, "text", True),
        ((FIRST, OTHER, FIRST), {"validation": 0.1}, {"validation": 0.1}, "text", True),
        ((OTHER,), {}, {"validation": 0.1}, "text", False),
        ((UNKNOWN_TEXT,), {}, {"validation": 0.1}, "text", False),
        ((FIRST,), {}, {}, "text", False),
    ],
)
def test_a_validation_part_that_the_saved_model_was_trained_on_is_told(
    saved, texts, before, now, kind, seen
):
    start = replace(saved, texts=texts, config=saved.config.override(**before))
    text = corpus(sha256=SEEN, kind=kind)
    training = saved.config.override(**now).training
    remark = validation_remark(start, text, training)
    assert remark == [] or "trained on what is now the validation part" in remark[0]
    assert bool(remark) == seen
    alone = replace(text, parts=(Part("a", SEEN, 5), Part("b", NEW, 5)), sha256=NEW)
    given = now and FIRST in texts
    assert bool(validation_remark(start, alone, training)) == bool(given)


def test_a_training_says_that_its_validation_part_is_known(prose, tmp_path):
    tiny = {"layers": 1, "units": 4, "embedding": 4, "seq_length": 8, "steps": 2}
    before = tmp_path / "before.h5"
    run(prose, before, **tiny)
    notes = prepared(prose, tmp_path / "m.h5", init_from=before, patience=1).notes
    assert sum("is now the validation part" in note for note in notes) == 1


def test_a_model_remembers_the_texts_of_all_its_ancestors(prose, names, tmp_path):
    tiny = {"layers": 1, "units": 4, "embedding": 4, "seq_length": 8, "steps": 2}
    files = [tmp_path / f"{name}.h5" for name in ("first", "second", "third", "fourth")]
    run(prose, files[0], **tiny, learning_rate=0.02, held_out=0.25)
    run(names, files[1], init_from=files[0], kind="text", steps=2)
    # It is interrupted, and goes on from its checkpoint.
    run(prose, files[2], init_from=files[1], steps=4, interrupt_after=2)
    run(prose, files[2], resume=True)
    run(prose, files[3], init_from=files[2], steps=1)
    texts = load_model(files[3]).texts
    assert [text.name for text in texts] == ["hour", "names", "hour"]
    assert [text.held_out for text in texts] == [0.25, 0.1, 0.25]
    assert [text.learning_rate for text in texts] == [0.02, 0.005, 0.00133]
    with pytest.raises(OptionError, match=r"`held_out` must be at most 0\.25"):
        prepared(prose, tmp_path / "fifth.h5", init_from=files[2], held_out=0.3)
