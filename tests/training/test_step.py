"""The compiled step against a plain eager one, and its exact repetition."""

import itertools
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from textgen.config import ModelConfig, TrainingConfig
from textgen.errors import OptionError
from textgen.modeling import forward
from textgen.modeling.gradients import LayerGradients
from textgen.modeling.model import build_model
from textgen.modeling.optimizer import make_optimizer
from textgen.system import hardware as processor
from textgen.training import step as train_step
from textgen.training.step import TrainStep, choose_precision

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
    model.optimizer = make_optimizer(config, model.trainable_variables)
    return model


def run(data, *, shards=None, dropout=0.0, first_step=0, calls=(K,), seed=0):
    model = network(dropout)
    step = TrainStep(model, precision="float32", seed=seed, batch_size=B)
    step.num_shards = shards or step.num_shards
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


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_steps_equal_an_eager_loop(data, shards):
    losses, weights = run(data, shards=shards)
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


def test_a_batch_in_which_nothing_counts_has_loss_zero(data):
    inputs, targets, weights, rates = data
    losses, after = run((inputs, targets, 0 * weights, rates))
    np.testing.assert_array_equal(losses, np.zeros(K))
    assert all(np.isfinite(x).all() for x in after)


def test_dropout_depends_on_seed_and_step(data):
    losses = run(data, dropout=0.4)[0]
    assert (run(data, dropout=0.4, seed=1)[0] != losses).all()
    assert (run(data, dropout=0.4, first_step=1)[0] != losses).all()


def test_the_path_of_keras_layers_equals_the_fast_one(data):
    """It is for GPUs, but runs anywhere; the gradient's norm is clipped hard."""
    model = network()
    step = TrainStep(model, precision="float32", seed=0, batch_size=B)
    step._gradients = LayerGradients(model)
    losses = step(*data, 0)
    expected_losses, expected_weights = run(data)
    np.testing.assert_allclose(losses, expected_losses, atol=2e-6)
    for ours, theirs in zip(model.get_weights(), expected_weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_the_average_follows_the_weights(data):
    """Step by step against NumPy; a share of 0 leaves it, one of 1 begins anew."""
    model, average = network(), network()
    options = {"precision": "float32", "seed": 0, "batch_size": B}
    step = TrainStep(model, average=average, **options)
    shares = np.array([1, 0, 0.25], np.float32)
    step(*data, 0, shares)
    single, seen = network(), []
    alone = TrainStep(single, **options)
    for k in range(K):
        alone(*(x[k : k + 1] for x in data), k)
        seen.append(single.get_weights())
    assert_same_weights(model.get_weights(), seen[2])
    expected = [0.75 * a + 0.25 * c for a, c in zip(seen[0], seen[2], strict=True)]
    for ours, theirs in zip(average.get_weights(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
    step(*data, K)
    for ours, theirs in zip(average.get_weights(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def assert_same_weights(ones, others):
    for one, other in zip(ones, others, strict=True):
        np.testing.assert_array_equal(one, other)


TWO_REPLICAS = """
import numpy as np, sys, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
sys.path.insert(0, sys.argv[1])
from training.test_step import B, network
from textgen.training.step import TrainStep
data = np.load(sys.argv[2])
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model, average = network(), network()
options = {"seed": 0, "batch_size": B, "strategy": strategy, "average": average}
step = TrainStep(model, precision="float32", **options)
assert step.replicas == 2
losses = step(*data.values(), 0, np.array([1, 0, 1], np.float32))
np.savez(sys.argv[3], losses, *model.get_weights(), *average.get_weights())
"""


@pytest.mark.slow
def test_two_replicas_agree_with_one(data, tmp_path):
    # Two logical devices must be set before TensorFlow starts: another process.
    before, after = tmp_path / "before.npz", tmp_path / "after.npz"
    np.savez(before, *data)
    here = Path(__file__).parents[1]
    command = [sys.executable, "-c", TWO_REPLICAS, here, before, after]
    subprocess.run(command, check=True, capture_output=True)
    losses, weights = run(data)
    results = list(np.load(after).values())
    np.testing.assert_allclose(results[0], losses, atol=1e-5)
    # After a last share of 1 the average is the weights.
    for ours, theirs in zip(results[1:], [*weights, *weights], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


class ThreeReplicas:
    num_replicas_in_sync = 3


def test_a_batch_that_replicas_cannot_share_is_refused():
    options = {"precision": "float32", "seed": 0, "strategy": ThreeReplicas()}
    with pytest.raises(OptionError, match="multiple of the 3 replicas, but was 8"):
        TrainStep(network(), batch_size=8, **options)


@pytest.mark.parametrize(
    ("cores", "batch_size", "shards"),
    [(2, 24, 2), (2, 33, 1), (4, 51, 1), (4, 45, 3), (4, 48, 4), (4, 6, 1)],
)
def test_replicas_cut_their_rows_evenly(monkeypatch, cores, batch_size, shards):
    monkeypatch.setattr(train_step, "available_cores", lambda: cores)
    options = {"precision": "float32", "seed": 0, "strategy": ThreeReplicas()}
    assert TrainStep(network(), batch_size=batch_size, **options).num_shards == shards


def test_any_seed_gives_dropout_to_every_shard(data):
    step = TrainStep(network(0.5), precision="float32", seed=0, batch_size=B)
    step._seed_word = 2**31 - 1  # the largest: sums of it go round
    step.num_shards = 2
    assert np.isfinite(step(*data, 0)).all()


def test_on_a_gpu_keras_layers_compute_whole_batches(monkeypatch, data):
    gpu = [tf.config.PhysicalDevice("GPU:0", "GPU")]
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: gpu)
    calls = []
    by_layers = LayerGradients.__call__

    def note(self, *arguments):
        calls.append(self)
        return by_layers(self, *arguments)

    monkeypatch.setattr(LayerGradients, "__call__", note)
    step = TrainStep(network(), precision="float32", seed=0, batch_size=B)
    step.num_shards = 2  # as a training that began on two cores
    assert step.num_shards == 1
    step(*data, 0)
    assert len(calls) == 1  # traced once, for all K steps
    assert choose_precision("auto") == "float32"
    with pytest.raises(OptionError, match="GPU"):
        choose_precision("bfloat16")


def test_shards_of_a_batch_and_layers_draw_masks_of_their_own(monkeypatch, data):
    masks, seeds = [], []

    def note(x, rate, seed):
        seeds.append(tuple(seed.numpy()))
        masks.append(drop(tf.ones_like(x), rate, seed))
        return x * masks[-1]

    drop = forward.drop
    monkeypatch.setattr(forward, "drop", note)
    step = TrainStep(network(0.5), precision="float32", seed=0, batch_size=B)
    step.num_shards = 2
    step._gradients._rates = (0.5, 0.5, 0.5)
    monkeypatch.setattr(step._gradients, "_shard", step._gradients._shard_gradients)
    step._replica_step(*(x[0] for x in data), tf.constant(0))
    assert len(set(seeds)) == len(masks) == 6  # two shards' input and two layers
    for one, other in itertools.combinations(masks, 2):  # the input's are broadcast
        assert np.mean(one.numpy() == other.numpy()) < 0.7


def test_shards_of_one_shape_are_traced_once(data):
    step = TrainStep(network(), precision="float32", seed=0, batch_size=B)
    for shards, shapes in [(2, 1), (3, 3)]:  # 4 + 4 rows; 2 + 3 + 3, so 2, 3 and the 4
        step.num_shards = shards
        step(*data, 0)
        assert step._gradients._shard.experimental_get_tracing_count() == shapes


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
    monkeypatch.setattr(processor, "CPU_INFO", cpuinfo)
    monkeypatch.setattr(processor.platform, "system", lambda: system)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda _: gpus)
    assert choose_precision("auto") == expected
    assert choose_precision("float32") == "float32"
    if not gpus:
        assert choose_precision("bfloat16") == "bfloat16"
