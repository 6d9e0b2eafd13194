"""The validation part: what is cut, what is measured of it, and what it decides."""

import keras
import numpy as np
import pytest
from training.helpers import (
    NAMES,
    PROSE,
    assert_same_arrays,
    assert_same_end,
    make_checkpoint,
    make_row,
    prepared,
    run,
    weights_of,
    written_rows,
)

from textgen.config import Config, TrainingConfig
from textgen.data.corpus import load_corpus
from textgen.errors import CheckpointError, OptionError
from textgen.evaluation.nats import held_out_nats, total_losses
from textgen.saving.model_file import load_model
from textgen.training import recipe, snapshots
from textgen.training.checkpoint import checkpoint_paths, read_checkpoint
from textgen.training.loop import Training
from textgen.training.validation import (
    RISE_WORTH_TELLING,
    EpochMeasure,
    cut_validation,
    outcome,
)

TINY = {"layers": 1, "units": 8, "seq_length": 4, "batch_size": 8, "dropout": 0.3,
        "schedule": "constant"}  # fmt: skip


def cut(corpus, **training):
    """Return training, validation and held-out part of a corpus as strings."""
    config = Config().override(**training)
    split = corpus.split(config.training.held_out)
    parts = (*cut_validation(corpus, split.training, config), split.held_out)
    return [corpus.vocabulary.decode(x) for x in parts]


def test_of_a_text_it_is_the_end_of_the_training_part(prose):
    corpus = load_corpus(prose)
    training, validation, held_out = cut(corpus, held_out=0.25, validation=0.125)
    assert training + validation + held_out == PROSE
    assert (len(training), len(validation), len(held_out)) == (504, 72, 192)
    assert cut(corpus)[1] == ""


def test_of_lines_it_is_what_a_larger_held_out_part_would_have_had_too(names):
    names.write_text(NAMES * 2)  # all copies of a line are on one side
    corpus = load_corpus(names)
    parts = [x.split("\n")[1:-1] for x in cut(corpus, held_out=0.2, validation=0.25)]
    assert sorted(parts[0] + parts[1] + parts[2]) == sorted(NAMES.split() * 2)
    assert [len(part) for part in parts] == [54, 18, 18]
    assert not set(parts[0]) & set(parts[1])
    larger = corpus.split(0.4).held_out
    assert set(corpus.vocabulary.decode(larger).split()) == {*parts[1], *parts[2]}
    assert parts[2] == cut(corpus, held_out=0.2)[2].split("\n")[1:-1]


@pytest.mark.parametrize(
    ("text", "kind", "targets", "share"),
    [
        ("abcdefgh" * 10, "text", "all", 0.01),
        ("abcdefgh" * 10, "text", "last", 0.5),  # 36 characters, windows of 40
        ("ab\ncd\n", "lines", "all", 0.2),
    ],
)
def test_one_too_small_to_be_measured_is_refused(tmp_path, text, kind, targets, share):
    (tmp_path / "short.txt").write_text(text)
    corpus = load_corpus(tmp_path / "short.txt", kind)
    with pytest.raises(OptionError, match=r"`validation` must be enough .* was 0\.\d+"):
        cut(corpus, validation=share, targets=targets, seq_length=40)


def test_a_share_is_usual_where_something_is_chosen():
    assert TrainingConfig().validation is None
    assert TrainingConfig(patience=3).validation == 0.1
    assert TrainingConfig(keep_best=True, validation=0.3).validation == 0.3
    assert TrainingConfig(held_out=0.5, validation=0.25).trained_share == 0.375


def test_the_same_sample_is_measured_after_each_epoch(prose_model):
    model = load_model(prose_model)
    ids = np.random.default_rng(0).integers(0, len(model.vocabulary), 6000)
    measured = EpochMeasure.of(ids, ids[:0], 0)(model)
    assert measured["val_loss"] == held_out_nats(model, ids, 4000)
    total = total_losses(model, ids, 4000)
    assert measured["val_accuracy"] == total.right / total.symbols
    assert EpochMeasure.of(ids[:0], ids[:0], 0)(model) == {}


@pytest.mark.parametrize(
    ("trained_on", "validation", "held_out"),
    [(10**3, 4000, 1000), (10**6, 10_000, 2000), (10**9, 100_000, 200_000)],
)
def test_the_sample_grows_with_what_is_trained_on(trained_on, validation, held_out):
    some, none = np.zeros(9), np.zeros(0)
    measure = EpochMeasure.of(some, some, trained_on)
    assert (measure.name, measure.max_symbols) == ("validation", validation)
    measure = EpochMeasure.of(none, some, trained_on)
    assert (measure.name, measure.max_symbols) == ("quick held-out", held_out)


def test_too_little_to_measure_is_no_figure_rather_than_nan(window_model):
    model, none = load_model(window_model), np.zeros(0, np.uint8)
    window = np.zeros(model.windows.seq_length, np.uint8)
    assert EpochMeasure.of(none, window, 100)(model) == {}


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ([2.0, 1.5, 1.6, 1.7], "lowest at epoch 2, 1.500, and higher at the end, 1.7"),
        ([1.5, 1.8, 1.6], "lowest at epoch 1, 1.500, and higher at the end, 1.600"),
        ([1.5, 1.501 * RISE_WORTH_TELLING], "higher at the end"),
        ([1.5, 1.499 * RISE_WORTH_TELLING], None),
        ([2.0, 1.5], None),
        ([2.0], None),
        ([], None),
    ],
)
def test_a_figure_that_rose_is_told_with_the_epoch_before_it_did(figures, told):
    rows = tuple(make_row(epoch, figure) for epoch, figure in enumerate(figures, 1))
    end = make_checkpoint(history=rows, config=Config())
    saved = rows[-1] if rows else None
    lines = outcome(end, saved, "quick held-out")
    assert told in lines[0] if told else lines == []
    assert all(line.startswith("the quick held-out figure ") for line in lines)
    assert outcome(end, None, "quick held-out") == []  # a callback restored others


def test_a_budget_knows_what_is_not_trained_on(monkeypatch, prose):
    seen = []
    size_for = recipe.size_for
    monkeypatch.setattr(
        recipe, "size_for", lambda *given: seen.append(given[0]) or size_for(*given)
    )
    for options in ({}, {"patience": 2}, {"validation": 0.5, "held_out": 0.2}):
        recipe.choose_config(load_corpus(prose), None, None, {"minutes": 1} | options)
    assert seen == [round(768 * share) for share in (0.9, 0.81, 0.4)]


# What is chosen


@pytest.fixture
def figures(monkeypatch):
    """Return a function that sets what is measured after each epoch of 20 steps."""
    monkeypatch.setattr(Training, "calibrate", lambda loop: 0.001)

    def set_figures(*values):
        def measure(part, model):
            return {"val_loss": next(given)}

        given = iter(values)
        monkeypatch.setattr(EpochMeasure, "__call__", measure)

    return set_figures


@pytest.fixture
def weights_seen():
    """A callback that notes the weights of each epoch's end."""
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: callback.seen.append(
            callback.model.get_weights()
        )
    )
    callback.seen = []
    return callback


def test_patience_ends_a_training_whose_figure_rises(
    prose, output, figures, weights_seen
):
    figures(3.0, 2.0, 2.0, 2.5, 1.0)
    lines = []
    report = run(
        prose, output, lines.append, [weights_seen], epochs=9, patience=2, **TINY
    )
    assert [row.val_loss for row in report.history] == [3.0, 2.0, 2.0, 2.5]
    assert (report.steps, report.val_loss, report.interruption) == (80, 2.5, None)
    assert report.held_out_nats > 0
    (told,) = (line for line in lines if "ended early" in line)
    assert "the last 2 epochs is better than that of step 40, 2.000" in told
    assert "saved" not in told
    assert_same_arrays(weights_of(output), weights_seen.seen[3])
    assert load_model(output).record["weights_of_step"] == 80
    # It is finished, and goes on with more patience only.
    ready = prepared(prose, output, resume=True)
    assert ready.finished
    assert "greater `patience`" in ready.notes[-1]
    assert prepared(prose, output, resume=True, epochs=11).finished
    assert prepared(prose, output, epochs=2, **TINY).notes == ()
    figures(2.1, 2.2)
    assert run(prose, output, resume=True, patience=4).steps == 120
    for path in checkpoint_paths(output):
        path.unlink(missing_ok=True)
    for more in ({}, {"epochs": 11}):  # which would have ended here, too
        ready = prepared(prose, output, resume=True, **more)
        assert ready.finished
        assert "none of its last 4 epochs was better than before" in ready.notes[-1]
        assert ready.notes[-1].endswith("for more go on from it with `init_from`")
    with pytest.raises(CheckpointError, match="its checkpoint is gone"):
        prepared(prose, output, resume=True, patience=9)


def test_the_best_weights_are_kept(prose, output, figures, weights_seen, monkeypatch):
    monkeypatch.setattr(snapshots, "MOST_SHARE", 1e9)
    figures(3.0, 2.0, 2.5, 2.4)
    lines, options = [], TINY | {"keep_best": True, "save_every": 1e-9}
    report = run(prose, output, lines.append, [weights_seen], steps=70, **options)
    assert (report.steps, report.val_loss) == (70, 2.0)
    assert "the best validation figure is that of step 40, 2.000, whose" in lines[-1]
    assert_same_arrays(weights_of(output), weights_seen.seen[1])
    model = load_model(output)
    record = model.record
    assert (record["steps"], record["weights_of_step"], record["val_loss"]) == (
        70, 40, 2.0,
    )  # fmt: skip
    held_out = load_corpus(prose).split(0.1).held_out
    assert report.held_out_nats == held_out_nats(model, held_out)
    # So has a snapshot that was made last.
    snapshot = load_model(sorted(output.parent.glob("*.step-70.h5"))[0])
    assert (snapshot.record["weights_of_step"], snapshot.record["val_loss"]) == (40, 2)
    assert_same_arrays(weights_of(snapshot.path), weights_seen.seen[1])
    # What goes on is the training as it was, not the weights that were saved.
    state = read_checkpoint(output)[0].state
    last = weights_seen.seen[3]
    assert_same_arrays(state.variables[: len(last)], last)


def test_with_both_what_is_saved_is_the_best(prose, output, figures, weights_seen):
    figures(2.0, 3.0)
    averaged, lines = TINY | {"schedule": "averaged", "warmup_steps": 0}, []
    chosen = {"patience": 1, "keep_best": True}
    run(prose, output, lines.append, epochs=9, **averaged, **chosen)
    assert lines[-1].endswith("step 20, 2.000, whose weights are saved")
    alone = output.with_name("alone.h5")
    figures(2.0)
    run(prose, alone, steps=20, validation=0.1, **averaged)
    assert_same_arrays(weights_of(output), weights_of(alone))


@pytest.mark.parametrize("stop", [25, 41, 79])
def test_killed_and_resumed_it_chooses_the_same(prose, output, figures, stop):
    whole, given = output.with_name("whole.h5"), (3.0, 2.0, 2.5, 2.4, 9.0)
    options = TINY | {"epochs": 9, "patience": 2, "keep_best": True}
    figures(*given)
    run(prose, whole, **options)
    figures(*given)
    stopped = run(prose, output, interrupt_after=stop, **options)
    best = min(stopped.history, key=lambda row: row.val_loss)
    assert load_model(output).record["weights_of_step"] == best.step
    report = run(prose, output, resume=True)
    assert report.steps == 80
    assert_same_end(output, whole)
    assert_same_arrays(weights_of(output), weights_of(whole))


def test_killed_before_it_was_saved_it_ends_where_it_had_ended(prose, output, figures):
    figures(2.0, 3.0)
    options = TINY | {"epochs": 9, "patience": 1, "keep_best": True}
    run(prose, output, **options)
    saved = weights_of(output)
    output.unlink()
    report = run(prose, output, resume=True)
    assert (report.steps, report.val_loss) == (40, 2.0)
    assert_same_arrays(weights_of(output), saved)
    assert len(written_rows(output)) == 2


def test_without_a_choice_the_figure_is_only_shown(prose, output, figures, capsys):
    figures(3.0, 2.0)
    report = run(prose, output, show=True, validation=0.2, steps=36, **TINY)
    assert (report.steps, report.val_loss) == (36, 2.0)
    shown = capsys.readouterr().err
    assert "validation 2.000" in shown
    assert "held-out" not in shown
    assert read_checkpoint(output)[0].best_weights == ()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"patience": 1}, "patience"),
        ({"keep_best": True}, "keep_best"),
        ({"validation": 0.2}, "validation"),
    ],
)
def test_what_a_resumed_training_may_not_change(prose, output, changed, named):
    run(prose, output, steps=2, patience=2, **TINY)
    with pytest.raises(CheckpointError, match=f"`{named}` must be what this training"):
        prepared(prose, output, resume=True, steps=4, **changed)
