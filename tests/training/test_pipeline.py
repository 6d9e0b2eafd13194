"""From a corpus to one saved file, end to end on tiny networks."""

import hashlib
import inspect
import json
import os
import platform
import re
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from training.helpers import (
    PROSE,
    assert_same_arrays,
    prepared,
    press_after,
    run,
    spoil,
    weights_of,
)

import textgen
from textgen.config import Config
from textgen.data.corpus import load_corpus
from textgen.errors import ModelFileError, OptionError
from textgen.evaluation.nats import held_out_nats
from textgen.generation.streaming import generate_output
from textgen.modeling import gradients
from textgen.modeling.model import build_model
from textgen.saving.model_file import load_model
from textgen.training import pipeline, session
from textgen.training.checkpoint import read_checkpoint
from textgen.training.held_out import HeldOut
from textgen.training.loop import Training, TrainingError
from textgen.training.pipeline import train
from textgen.training.step import choose_precision
from textgen.training.validation import EpochMeasure

TINY = {"layers": 1, "units": 8, "seq_length": 4, "batch_size": 4}
SAVED = {"seed": 9, "precision": "float32", "dropout": 0.5, "steps": 6, "batch_size": 8}
SAVED_FILES = ["model.checkpoint", "model.h5", "model.log.jsonl"]


def files_beside(output):
    return sorted(path.name for path in output.parent.iterdir())


def tiny(corpus, output, *say, **options):
    return run(corpus, output, *say, **(TINY | {"steps": 3} | options))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model trained once, and the report of it."""
    folder = tmp_path_factory.mktemp("saved")
    corpus = folder / "hour.txt"
    corpus.write_text(PROSE)
    return run(corpus, folder / "saved.h5", **(TINY | SAVED))


def test_an_averaged_training_saves_the_average(prose, output):
    tiny(prose, output, steps=30, schedule="averaged", learning_rate=0.05)
    state = read_checkpoint(output)[0].state
    count = len(keras.models.load_model(output).weights)
    weights, averages = state.variables[:count], state.variables[-count:]
    for saved, average, weight in zip(
        keras.models.load_model(output).get_weights(), averages, weights, strict=True
    ):
        np.testing.assert_array_equal(saved, average)
        assert not np.allclose(saved, weight, atol=1e-4)


@pytest.mark.parametrize(
    ("corpus", "targets", "embedding"),
    [
        ("sonnets", "all", 0),
        ("dinos", "last", 4),
        ("hour.txt", "last", 0),
        ("names.txt", "all", 4),
    ],
)
def test_train_save_and_complete(prose, names, output, corpus, targets, embedding):
    corpus = {"hour.txt": prose, "names.txt": names}.get(corpus, corpus)
    report = tiny(corpus, output, targets=targets, embedding=embedding, seed=5)
    assert report.path == output
    assert (report.steps, report.interruption, report.previous) == (3, None, None)
    assert files_beside(output) == SAVED_FILES

    model, text = load_model(output), load_corpus(corpus)
    assert (model.vocabulary, model.kind) == (text.vocabulary, text.kind)
    assert (model.windows.targets, model.config.model.embedding) == (targets, embedding)
    assert report.held_out_nats == held_out_nats(model, text.split(0.1).held_out)
    completed = generate_output(output, "ter", length=12, seed=0)
    assert completed.startswith("ter")
    assert len(completed) == 15 if text.kind == "text" else "\n" not in completed


def test_the_record_in_the_file(saved):
    record = load_model(saved.path).metadata
    sha256 = hashlib.sha256(PROSE.encode()).hexdigest()
    corpus = {"name": "hour", "kind": "text", "sha256": sha256, "path": "hour.txt"}
    assert record["corpus"] == corpus
    assert record["symbols"] == sorted(set(PROSE))
    training = record["training"]
    today = datetime.now(UTC).date()  # it may have ended just before midnight
    assert training.pop("date") in (f"{today - timedelta(days=1)}", f"{today}")
    libraries = ("tensorflow", "keras", "numpy")
    assert training.pop("versions") == {
        "textgen": textgen.__version__,
        "python": platform.python_version(),
        **{library: metadata.version(library) for library in libraries},
    }
    assert training.pop("parts") >= 1
    assert len(training.pop("run")) == 16
    assert [row["step"] for row in training.pop("history")] == [6]
    assert training == {
        "steps": saved.steps,
        "weights_of_step": saved.steps,
        "val_loss": saved.val_loss,
        "seconds": round(saved.seconds, 1),
        "held_out_nats_per_char": saved.held_out_nats,
        "interrupted": False,
        "diverged": None,
        "lengthened_at": [],
        "seed": 9,
        "precision": "float32",
    }
    assert saved.steps == 6
    assert saved.seconds > 0


@pytest.mark.parametrize("wanted", ["bfloat16", "auto"])
def test_the_recorded_precision_is_the_one_trained_in(
    prose, output, wanted, monkeypatch
):
    seen = set()
    round_kernels = gradients.round_kernels

    def note(weights, precision):
        seen.add(precision)
        return round_kernels(weights, precision)

    monkeypatch.setattr(gradients, "round_kernels", note)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])
    tiny(prose, output, precision=wanted)
    chosen = choose_precision(wanted)
    assert seen == {chosen}
    model = load_model(output)
    assert model.metadata["training"]["precision"] == chosen
    assert model.config.training.precision == chosen  # what "auto" came to


def test_a_seed_repeats_a_run_and_another_does_not(prose, saved, tmp_path):
    same = tiny(prose, tmp_path / "same.h5", **SAVED)
    other = tiny(prose, tmp_path / "other.h5", **(SAVED | {"seed": 8}))
    one, two, three = (weights_of(r.path) for r in (saved, same, other))
    assert_same_arrays(one, two)
    assert not any(map(np.array_equal, one[:3], three[:3]))


@pytest.mark.parametrize("targets", ["all", "last"])
def test_it_learns(names, output, targets):
    options = {"embedding": 4, "learning_rate": 0.03, "targets": targets}
    untrained, trained = (tiny(names, output, steps=n, **options) for n in (1, 300))
    assert untrained.held_out_nats > 2.3  # of log 13
    assert trained.held_out_nats < 1.2


# Going on from a saved model


def test_going_on_starts_from_the_saved_weights(prose, saved, tmp_path):
    # At a rate of next to nothing, what was saved is what is saved again.
    going_on = {"init_from": saved.path, "learning_rate": 1e-12, "steps": 1}
    second = run(prose, tmp_path / "second.h5", **going_on)
    for a, b in zip(weights_of(saved.path), weights_of(second.path), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-9)


def test_going_on_without_a_corpus_takes_the_text_of_the_model(
    prose, saved, output, monkeypatch
):
    for name in ("sonnets", "dinos"):
        shipped = Path(__file__).parents[2] / "models" / f"{name}-pretrained.h5"
        ready = prepared(None, output, init_from=shipped)
        assert (ready.corpus.name, ready.corpus.named) == (name, True)
    monkeypatch.chdir(prose.parent)
    ready = prepared(None, output, init_from=saved.path)
    assert ready.corpus.sha256 == hashlib.sha256(PROSE.encode()).hexdigest()
    prose.write_text(PROSE + "!")
    with pytest.raises(OptionError, match=r"`corpus` must be given.*'hour'"):
        prepared(None, output, init_from=saved.path)


def test_a_plain_keras_model_is_gone_on_with(prose, tmp_path, output):
    import keras

    symbols = sorted(set(PROSE))
    layers = [
        keras.layers.Embedding(len(symbols), 5),
        keras.layers.LSTM(6, return_sequences=True),
        keras.layers.Dense(len(symbols), activation="softmax"),
    ]
    foreign = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])
    path = tmp_path / "foreign.keras"
    foreign.save(path)
    known = tmp_path / "vocab.json"
    known.write_text(json.dumps(symbols))
    going_on = {"init_from": path, "vocabulary_from": known, "learning_rate": 1e-12}
    run(prose, output, **going_on, steps=1, held_out=0)
    for ours, theirs in zip(weights_of(output), foreign.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)
    assert [text.sha256 is None for text in load_model(output).texts] == [True, False]
    with pytest.raises(OptionError, match="`corpus` must be given"):
        prepared(None, output, **going_on)
    with pytest.raises(OptionError, match="that `init_from` names"):
        prepared(prose, output, vocabulary_from=known)


# Stopping


def test_the_library_form_saves_and_then_raises(prose, output):
    options = TINY | {"steps": 500, "callbacks": [press_after(1)]}
    with pytest.raises(KeyboardInterrupt):
        train(prose, output=output, **options)
    assert load_model(output).metadata["training"]["interrupted"] is True


def test_a_callback_that_stops_at_once_leaves_nothing(prose, output):
    stop = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: setattr(stop.model, "stop_training", True)
    )
    with pytest.raises(TrainingError, match="before the first step"):
        tiny(prose, output, callbacks=[stop])
    assert not output.exists()


def test_a_corpus_whose_name_is_not_utf8(prose, tmp_path):
    odd = Path(os.fsdecode(bytes(tmp_path / "odd") + b"\xe9.txt"))
    odd.write_bytes(prose.read_bytes())
    report = tiny(odd, tmp_path / "model.h5", steps=1)
    assert load_model(report.path).metadata["corpus"]["name"] == odd.stem


def test_a_loss_that_is_no_number_leaves_the_earlier_model(prose, output):
    output.parent.mkdir()
    output.write_bytes(before := b"an earlier model")

    with pytest.raises(TrainingError, match="nothing was saved") as caught:
        tiny(prose, output, callbacks=[spoil(0)], learning_rate=100)
    assert "try `learning_rate` 30 or `precision` float32" in str(caught.value)
    assert output.read_bytes() == before
    assert files_beside(output) == SAVED_FILES[:3]
    assert read_checkpoint(output)[0].state.is_finite


# Time, progress, strategies


def clock_of_our_own(monkeypatch) -> SimpleNamespace:
    """Return what a training takes for the clock; nothing else does."""
    clock = SimpleNamespace(now_s=0.0, monotonic=lambda: clock.now_s)
    for module in (pipeline, session):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.mark.parametrize("validated", [{}, {"validation": 0.1}])
def test_a_budget_of_minutes_is_spent(names, output, monkeypatch, validated):
    """On a clock that only steps and measuring move: other work doesn't count."""
    clock = clock_of_our_own(monkeypatch)
    step_s, briefly_s = 0.1, 0.4

    def after(seconds, result):
        clock.now_s += seconds
        return result

    monkeypatch.setattr(Training, "calibrate", lambda self: after(5, step_s))
    monkeypatch.setattr(HeldOut, "measure", lambda *_: None)
    monkeypatch.setattr(EpochMeasure, "__call__", lambda *_: after(briefly_s, {}))
    lines, other = [], output.with_name("other.h5")
    report = tiny(names, output, lines.append, steps=None, minutes=0.5, **validated)
    alike = prepared(names, output=other, **TINY, steps=1, **validated)
    epoch_steps = alike.windows.steps_per_epoch
    spent_s = report.steps * (step_s + briefly_s / epoch_steps)
    most_s = 30 - (5 + briefly_s) - session.SAVING_S
    left_s = most_s - 30 * session.MEASURING_SHARE
    assert 0.97 * left_s < spent_s <= most_s
    assert load_model(output).metadata["training"]["steps"] == report.steps
    assert f"`steps` {report.steps} `precision`" in lines[-1]


def test_the_least_budget_that_is_named_is_enough(names, output, monkeypatch):
    clock_of_our_own(monkeypatch)
    monkeypatch.setattr(Training, "calibrate", lambda self: 1.0)
    with pytest.raises(OptionError) as caught:
        tiny(names, output, steps=None, minutes=0.001)
    assert not output.exists()
    least = float(re.search(r"at least (\d+\.\d\d) for", str(caught.value))[1])
    assert tiny(names, output, steps=None, minutes=least).steps == 1
    with pytest.raises(OptionError):
        tiny(names, output, steps=None, minutes=least - 0.01)


@pytest.mark.parametrize("step_s", [0.01, 0.1, 1.0])
def test_measuring_takes_a_small_share_of_a_budget(prose, output, monkeypatch, step_s):
    """Where a symbol takes as long as in training."""
    clock_of_our_own(monkeypatch)
    monkeypatch.setattr(Training, "calibrate", lambda self: step_s)
    measured = []
    monkeypatch.setattr(HeldOut, "measure", lambda self, _: measured.append(self))
    tiny(prose, output, steps=None, minutes=0.5, held_out=0.5)
    whole = prepared(prose, output=output, **TINY, held_out=0.5)
    symbol_s = step_s / whole.windows.characters_per_step
    affordable = max(1, int(session.MEASURING_SHARE * 30 / symbol_s))
    assert measured[0].symbols == min(affordable, whole.held_out.symbols)


def test_a_text_learned_by_heart_is_told_of_also_when_resumed(
    prose, output, monkeypatch
):
    figures = iter([2.0, 1.5, 1.6, 1.7, 1.8, 1.4, 1.9])
    monkeypatch.setattr(
        EpochMeasure, "__call__", lambda *_: {"val_loss": next(figures)}
    )
    lines = []
    steps = {"steps": None, "batch_size": 64}
    tiny(prose, output, **steps, epochs=4, say=lines.append)
    (told,) = (line for line in lines if "shorter training" in line)
    assert "lowest at epoch 2, 1.500, and higher at the end, 1.700" in told
    lines.clear()
    tiny(prose, output, **steps, epochs=7, resume=True, say=lines.append)
    assert next(figures, None) is None
    (told,) = (line for line in lines if "shorter training" in line)
    assert "lowest at epoch 6, 1.400, and higher at the end, 1.900" in told


def test_the_library_tells_what_there_is_to_tell_if_it_may_show(prose, output, capsys):
    options = TINY | {"steps": 3, "output": output, "resume": True}
    options["keep_checkpoint"] = True
    assert train(prose, **options, show=True) == output
    out, told = capsys.readouterr()
    assert out == ""
    lines = told.splitlines()
    beginnings = ["there is no checkpoint ", "hour: 768 characters, ", "compiling the "]
    beginnings += ["3 steps, about ", "step 3/3  epoch 1/1  loss "]
    assert all(map(str.startswith, lines, beginnings))
    assert "held-out " in lines[4]
    assert set("".join(lines[5:])) <= set(PROSE)
    assert len("\n".join(lines[5:])) > 100
    before = {path: path.read_bytes() for path in output.parent.iterdir()}
    train(prose, **options, show=True)
    assert "finished, all its 3 steps are in" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in output.parent.iterdir()} == before
    train(prose, **options | {"steps": 4})
    assert capsys.readouterr() == ("", "")


def test_at_the_end_a_line_tells_what_the_model_copies(
    prose, output, capsys, monkeypatch
):
    monkeypatch.setattr("textgen.evaluation.novelty.LEAST_S", 0)
    train(prose, **TINY | {"steps": 2, "output": output}, show=True)
    (line,) = re.findall("(?m)^novelty: .*", capsys.readouterr().err)
    assert re.search(r"\d% of all stretches of 16 .* the longest copy has \d", line)


def test_what_is_saved_has_the_dropout_seeds_of_its_training(prose, output):
    tiny(prose, output, seed=5, dropout=0.5)
    model = keras.models.load_model(output)
    expected = build_model(load_model(output).config.model, 2, seed=5)
    seeds = [getattr(layer, "seed", None) for layer in model.layers]
    assert seeds == [getattr(layer, "seed", None) for layer in expected.layers]
    assert len({seed for seed in seeds if seed is not None}) == 2


def test_a_strategy_trains_the_same(prose, saved, output):
    one = tf.distribute.OneDeviceStrategy("/cpu:0")
    report = tiny(prose, output, strategy=one, **SAVED)
    for a, b in zip(weights_of(saved.path), weights_of(report.path), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


# Refused before anything is trained


def test_unknown_options_are_refused(prose, output):
    with pytest.raises(TypeError, match="did you mean `units`"):
        train(prose, output=output, unitz=3)
    with pytest.raises(OptionError, match="`kind` must be one of lines, text"):
        tiny(prose, output, kind="odd")


def test_every_setting_is_a_keyword_of_train():
    parameters = inspect.signature(train).parameters.values()
    keywords = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert keywords >= set(Config().flat())


def test_a_network_that_can_not_be_saved_is_found_before_the_first_step(
    prose, output, monkeypatch
):
    """A newer Keras may add a setting that changes what a layer does."""
    get_config = keras.layers.LSTM.get_config
    monkeypatch.setattr(
        keras.layers.LSTM, "get_config", lambda layer: get_config(layer) | {"new": 5}
    )
    steps = []
    hook = keras.callbacks.LambdaCallback(on_train_begin=steps.append)
    with pytest.raises(ModelFileError, match="new"):
        tiny(prose, output, schedule="cosine", callbacks=[hook])
    assert steps == []
    assert files_beside(output) == []
