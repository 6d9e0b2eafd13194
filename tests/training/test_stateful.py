"""Trainings that carry the state from window to window."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from training.helpers import assert_same_end, assert_same_state, prepared, run
from training.together import tf_config

from textgen.config import Config
from textgen.data.windows import make_windows
from textgen.errors import OptionError
from textgen.modeling.gradients import LayerGradients
from textgen.modeling.model import build_model, recurrent_layers
from textgen.training.loop import Training
from textgen.training.pipeline import train

V, T, B = 9, 5, 4
IDS = np.random.default_rng(0).integers(0, V, 90).astype(np.uint8)


def training(cell="lstm", ids=IDS, rate=0.01, characters=None, **options):
    config = Config().override(
        layers=2, units=6, embedding=4, cell=cell, seq_length=T, batch_size=B,
        learning_rate=rate, warmup_steps=0, schedule="constant", precision="float32",
        stateful=True, **options,
    )  # fmt: skip
    windows = make_windows(ids, "text", config.windows, B, 0, characters=characters)
    return Training(build_model(config.model, V, seed=2), windows, config.training)


# If there are more characters than symbols, the embedding is looked up by itself.
@pytest.mark.parametrize(("shards", "characters"), [(1, None), (2, 2 * len(IDS))])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_losses_are_those_of_the_streams_read_without_a_break(cell, shards, characters):
    """At a rate so small that the weights stay, by Keras' whole model."""
    loop = training(cell, rate=1e-12, characters=characters, weight_decay=0.0)
    loop._step.num_shards = shards
    steps, each = loop.windows.steps_per_epoch, loop.windows.characters_per_symbol
    for epoch in (0, 1):  # each begins from zero state
        loop.run((epoch + 1) * steps)
        batches = [loop.windows.batch(epoch, step) for step in range(steps)]
        streams = np.hstack([batch.inputs for batch in batches])
        targets = np.hstack([batch.targets for batch in batches])
        picked = tf.gather(loop.model(streams), targets, batch_dims=2)
        nats = -np.log(picked).reshape(B, steps, T).mean(axis=(0, 2)) / each
        np.testing.assert_allclose(loop._epoch_losses, nats, rtol=1e-5)
        # From zero state each window would be another.
        alone = tf.gather(
            loop.model(batches[1].inputs), batches[1].targets, batch_dims=2
        )
        assert abs(-np.log(alone).mean() / each - nats[1]) > 1e-5


def test_several_steps_in_a_call_and_any_state_gone_on_from_end_the_same():
    straight, others = training(dropout=0.3), training(dropout=0.3)
    straight.run(7)
    others._steps_per_call = 3
    others.run(5)
    resumed = training(dropout=0.3)
    resumed.restore(others.state())
    resumed.run(7)
    assert_same_state(resumed.state(), straight.state())
    states = [x for layer in resumed._step._carried for x in layer]
    assert len(states) == 4
    assert all(np.abs(x.numpy()).max() > 0 for x in states)


def test_calibrating_leaves_the_states_as_they_were():
    loop, calibrated = training(), training()
    calibrated.calibrate()
    assert_same_state(loop.state(), calibrated.state())


def test_a_stopped_training_ends_as_the_undisturbed_one(
    prose, tmp_path, one_step_a_call
):
    whole, stopped = tmp_path / "whole.h5", tmp_path / "stopped.h5"
    options = {"layers": 1, "units": 5, "embedding": 3, "seq_length": 16,
               "batch_size": 4, "schedule": "averaged", "steps": 18,
               "stateful": True}  # fmt: skip
    run(prose, whole, **options)
    run(prose, stopped, interrupt_after=4, **options)
    run(prose, stopped, resume=True)
    assert_same_end(stopped, whole)
    assert prepared(prose, whole, resume=True).config.windows.stateful
    # What goes on from a model begins afresh in this, too.
    further = prepared(prose, tmp_path / "next.h5", init_from=whole)
    assert not further.config.windows.stateful


def test_streams_of_words_are_carried_on(prose, output):
    options = {"layers": 1, "units": 5, "embedding": 3, "seq_length": 6,
               "batch_size": 4, "stateful": True, "level": "word"}  # fmt: skip
    ready = prepared(prose, output, steps=3, **options)
    first, second = (ready.windows.batch(0, step) for step in (0, 1))
    np.testing.assert_array_equal(second.inputs[:, 0], first.targets[:, -1])
    assert ready.windows.characters_per_symbol > 1.5
    report = run(prose, output, steps=3, **options)
    assert report.held_out_nats > 0


@pytest.mark.parametrize("minutes", [None, 5])
def test_a_text_is_read_so_unless_it_cannot_be_or_is_declined(
    prose, tmp_path, output, minutes
):
    text = Path(prose).read_text()
    long = tmp_path / "long.txt"
    long.write_text(text * (50_000 // len(text) + 1))
    options = {"from_scratch": True, "minutes": minutes}
    if minutes is None:
        options = {"steps": 3}
    for usual in ({}, {"seq_length": 32, "stride": 32}):
        ready = prepared(long, output, **{"stateful": None} | options | usual)
        assert ready.config.windows.stateful is True, usual
    for other in (
        {"stateful": False},
        {"targets": "last"},
        {"stride": 5},
        {"distribute": "mirrored"},
        {"kind": "lines"},
    ):
        ready = prepared(long, output, **{"stateful": None} | options | other)
        assert ready.config.windows.stateful is False, other


def test_keras_own_layers_carry_the_states_on_as_well(monkeypatch):
    ours = training()
    gpu = [tf.config.PhysicalDevice("GPU:0", "GPU")]
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: gpu)
    theirs = training()
    assert isinstance(theirs._step._gradients, LayerGradients)
    for loop in (ours, theirs):
        loop.run(3)
    pairs = zip(ours._step.variables, theirs._step.variables, strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-5)
    assert np.abs(theirs._step._carried[1][1].numpy()).max() > 1e-3
    layers = recurrent_layers(theirs.model)
    assert not any(layer.return_state for layer in layers)


@pytest.mark.parametrize("index", [0, 1])
def test_each_machine_refuses_by_itself_and_waits_for_none(
    index, prose, output, monkeypatch
):
    monkeypatch.setenv("TF_CONFIG", tf_config(["localhost:1", "localhost:2"], index))
    monkeypatch.setattr("textgen.training.worker.join", None)
    monkeypatch.setattr("textgen.training.pipeline.peers_of", None)
    with pytest.raises(OptionError, match="`stateful` or `distribute`, not both"):
        train(prose, output=output, stateful=True, distribute="multiworker")


def test_several_devices_are_refused(prose, names, output):
    with pytest.raises(OptionError, match="`stateful` or `distribute`, not both"):
        prepared(prose, output, stateful=True, distribute="mirrored")
    with pytest.raises(OptionError, match="each of `kind` lines"):
        prepared(names, output, stateful=True, kind="lines")
