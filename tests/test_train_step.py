"""The compiled step against a plain eager one, and its exact repetition."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from textgen import train_step
from textgen.config import ModelConfig, TrainingConfig
from textgen.errors import OptionError
from textgen.model import build_model
from textgen.train_step import TrainStep, choose_precision, make_optimizer

K, B, T, V = 3, 8, 6, 9
CONFIG = TrainingConfig(learning_rate=0.01, weight_decay=0.1, clip_norm=0.2)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, V, (K, B, T)).astype(np.int32)
    targets = rng.integers(0, V, (K, B, T)).astype(np.int32)
    weights = (rng.random((K, B, T)) < 0.7).astype(np.float32)
    return inputs, targets, weights, np.array([0.01, 0.005, 0.002], np.float32)


def network(dropout=0.0, config=CONFIG):
    shape = ModelConfig(layers=2, units=6, embedding=4, dropout=dropout)
    model = build_model(shape, V, seed=3)
    model.optimizer = make_optimizer(config)
    model.optimizer.build(model.trainable_variables)
    return model


def run(data, *, parts=None, dropout=0.0, first_step=0, calls=(K,), seed=0):
    model = network(dropout)
    step = TrainStep(model, precision="float32", seed=seed, batch_size=B)
    step.parts = parts or step.parts
    losses, done = [], 0
    for count in calls:
        rows = [x[done : done + count] for x in data]
        losses.extend(step(*rows, first_step + done))
        done += count
    return np.array(losses), model.get_weights()


def reference(data):
    """The same steps in eager mode, by Keras' own layers and loss."""
    model = network()
    losses = []
    for inputs, targets, weights, rate in zip(*data, strict=True):
        with tf.GradientTape() as tape:
            nats = keras.losses.sparse_categorical_crossentropy(targets, model(inputs))
            loss = tf.reduce_sum(nats * weights) / weights.sum()
        variables = model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        model.optimizer.learning_rate = rate
        model.optimizer.apply(gradients, variables)
        losses.append(float(loss))
    return np.array(losses), model.get_weights()


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_steps_equal_an_eager_loop(data, parts):
    losses, weights = run(data, parts=parts)
    expected_losses, expected_weights = reference(data)
    np.testing.assert_allclose(losses, expected_losses, atol=1e-5)
    for ours, theirs in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_same_seed_repeats_bit_for_bit_however_calls_are_cut(data):
    losses, weights = run(data, dropout=0.4)
    for calls in [(1, 1, 1), (1, 2), (3,)]:
        again = run(data, dropout=0.4, calls=calls)
        np.testing.assert_array_equal(again[0], losses)
        for one, two in zip(again[1], weights, strict=True):
            np.testing.assert_array_equal(one, two)


def test_dropout_depends_on_seed_and_step(data):
    losses = run(data, dropout=0.4)[0]
    assert (run(data, dropout=0.4, seed=1)[0] != losses).all()
    assert (run(data, dropout=0.4, first_step=1)[0] != losses).all()


TWO_REPLICAS = """
import numpy as np, sys, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
sys.path.insert(0, sys.argv[1])
from test_train_step import B, network
from textgen.train_step import TrainStep
data = np.load(sys.argv[2])
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = network()
step = TrainStep(model, precision="float32", seed=0, batch_size=B, strategy=strategy)
assert step.replicas == 2
losses = step(*data.values(), 0)
np.savez(sys.argv[3], losses, *model.get_weights())
"""


@pytest.mark.slow
def test_two_replicas_agree_with_one(data, tmp_path):
    # Two logical devices must be set before TensorFlow starts: another process.
    before, after = tmp_path / "before.npz", tmp_path / "after.npz"
    np.savez(before, *data)
    here = Path(__file__).parent
    command = [sys.executable, "-c", TWO_REPLICAS, here, before, after]
    subprocess.run(command, check=True, capture_output=True)
    losses, weights = run(data)
    results = list(np.load(after).values())
    np.testing.assert_allclose(results[0], losses, atol=1e-5)
    for ours, theirs in zip(results[1:], weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_batch_that_cannot_be_shared_is_refused(data):
    model = network()
    step = TrainStep(model, precision="float32", seed=0, batch_size=B)
    step.replicas, step.parts = 3, 1
    with pytest.raises(ValueError, match="8 rows can't be shared evenly"):
        step(*data, 0)


def test_biases_are_not_decayed():
    config = TrainingConfig(learning_rate=0.1, weight_decay=0.5, clip_norm=0)
    model = network(config=config)
    before = {v.path: v.numpy() for v in model.trainable_variables}
    zeros = [tf.zeros(v.shape) for v in model.trainable_variables]
    model.optimizer.apply(zeros, model.trainable_variables)
    for variable in model.trainable_variables:
        factor = 1.0 if variable.path.endswith("bias") else 1 - 0.1 * 0.5
        np.testing.assert_allclose(
            variable.numpy(), before[variable.path] * factor, rtol=1e-5
        )


@pytest.mark.parametrize(
    ("system", "flags", "gpus", "expected"),
    [
        ("Linux", "flags : fpu avx512_bf16 sse", [], "bfloat16"),
        ("Linux", "flags : amx_bf16", [], "bfloat16"),
        ("Linux", "flags : fpu avx512f avx2", [], "float32"),
        ("Linux", "flags : fpu avx512_bf16 sse", ["GPU:0"], "float32"),
        ("Linux", None, [], "float32"),
        ("Darwin", "flags : avx512_bf16", [], "float32"),
    ],
)
def test_precision_follows_the_processor(
    system, flags, gpus, expected, tmp_path, monkeypatch
):
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(flags)
    monkeypatch.setattr(train_step, "Path", lambda _: cpuinfo)
    monkeypatch.setattr(train_step.platform, "system", lambda: system)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: gpus)
    assert choose_precision("auto") == expected
    assert choose_precision("float32") == "float32"
    assert choose_precision("bfloat16") == "bfloat16"


def test_an_unknown_precision_is_refused():
    with pytest.raises(OptionError, match="--precision must be one of"):
        TrainingConfig(precision="half")
