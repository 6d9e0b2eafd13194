"""The compiled step against a plain eager one, and its exact repetition."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock, Mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from textgen.config import ModelConfig, TrainingConfig
from textgen.data.batches import WindowBatch
from textgen.errors import OptionError
from textgen.modeling.gradients import SEEDS_PER_SHARD, LayerGradients
from textgen.modeling.model import build_model
from textgen.modeling.optimizer import make_optimizer
from textgen.system import hardware
from textgen.training import step as module
from textgen.training.step import TrainStep, choose_precision

K, B, T, V = 3, 8, 6, 9
CLIP = 0.05  # the gradients' norms are 0.17 and more
CONFIG = TrainingConfig(
    learning_rate=0.01, weight_decay=0.1, clip_norm=CLIP, precision="float32", seed=0
)
UNCLIPPED = replace(CONFIG, clip_norm=0)
AVERAGED = replace(UNCLIPPED, schedule="averaged")
CLIPPED_AND_AVERAGED = replace(CONFIG, schedule="averaged")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    ids = [rng.integers(0, V, (K, B, T)).astype(np.int32) for _ in range(2)]
    weights = (rng.random((K, B, T)) < 0.7).astype(np.float32)
    return WindowBatch(*ids, weights), np.array([0.01, 0.005, 0.002], np.float32)


def network(dropout=0.0):
    shape = ModelConfig(layers=2, units=6, embedding=4, dropout=dropout)
    return build_model(shape, V, seed=3)


def run(data, *, shards=None, dropout=0.0, first_step=0, seed=0, config=CONFIG):
    model = network(dropout)
    step = TrainStep(model, replace(config, seed=seed), B)
    step.num_shards = shards or step.num_shards
    batches, rates = data
    return step([batches], rates, first_step), model.get_weights()


def reference(data):
    """The same steps in eager mode, by Keras' own layers and loss, clipped here."""
    model = network()
    model.optimizer = make_optimizer(UNCLIPPED, model.trainable_variables)
    losses = []
    batches, rates = data
    for inputs, targets, weights, rate in zip(*batches, rates, strict=True):
        with tf.GradientTape() as tape:
            nats = keras.losses.sparse_categorical_crossentropy(targets, model(inputs))
            loss = tf.reduce_sum(nats * weights) / weights.sum()
        variables = model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        gradients = [tf.convert_to_tensor(x) for x in gradients]
        clipped, norm = tf.clip_by_global_norm(gradients, CLIP)
        assert norm > CLIP
        model.optimizer.learning_rate = rate
        model.optimizer.apply(clipped, variables)
        losses.append(float(loss))
    return np.array(losses), model.get_weights()


def assert_close(ones, others, atol=0.0):
    for one, other in zip(ones, others, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_steps_equal_an_eager_loop_with_clipping(data, shards):
    losses, weights = run(data, shards=shards)
    expected_losses, expected_weights = reference(data)
    assert_close(losses, expected_losses, 1e-5)
    assert_close(weights, expected_weights, 1e-5)


def test_a_batch_in_which_nothing_counts_has_loss_zero(data):
    batches, rates = data
    losses, after = run((batches._replace(weights=0 * batches.weights), rates))
    np.testing.assert_array_equal(losses, np.zeros(K))
    assert all(np.isfinite(x).all() for x in after)


def test_stacks_are_taken_one_after_the_other_each_by_its_own_length(data):
    batches, rates = data
    first, others = (WindowBatch(*(x[part] for x in batches)) for part in ([0], [1, 2]))
    stacks = [WindowBatch(*(x[:, :, :4] for x in first)), others]
    factors = np.array([1, 0, 0.5], np.float32)
    together, apart = (TrainStep(network(0.4), AVERAGED, B) for _ in range(2))
    losses = together(stacks, rates, 0, factors)
    begun = apart(stacks[:1], rates[:1], 0, factors[:1])
    assert_close(losses, [*begun, *apart(stacks[1:], rates[1:], 1, factors[1:])])
    assert_close(together.variables, apart.variables)


def test_the_average_begins_as_the_weights_are():
    model = network()
    model.set_weights([2 * x + 1 for x in model.get_weights()])
    average = TrainStep(model, AVERAGED, B).result
    assert average is not model
    assert_close(average.get_weights(), model.get_weights())


def test_dropout_depends_on_seed_and_step(data):
    losses = run(data, dropout=0.4)[0]
    assert (run(data, dropout=0.4, seed=1)[0] != losses).all()
    assert (run(data, dropout=0.4, first_step=1)[0] != losses).all()


def test_any_seed_gives_dropout_to_every_shard(data):
    step = TrainStep(network(0.5), CONFIG, B)
    step._seed_word = 2**31 - 1  # the largest: sums of it go round
    step.num_shards = 2
    batches, rates = data
    assert np.isfinite(step([batches], rates, 0)).all()


def test_on_a_gpu_keras_layers_compute_whole_batches(monkeypatch, data):
    gpu = [tf.config.PhysicalDevice("GPU:0", "GPU")]
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: gpu)
    model = network()
    step = TrainStep(model, CONFIG, B)
    assert isinstance(step._gradients, LayerGradients)
    step.num_shards = 2  # as a training that began on two cores
    assert step.num_shards == 1
    batches, rates = data
    losses = step([batches], rates, 0)
    expected_losses, expected_weights = run(data)
    assert_close(losses, expected_losses, 2e-6)
    assert_close(model.get_weights(), expected_weights, 2e-6)
    assert choose_precision("auto") == "float32"
    with pytest.raises(OptionError, match="GPU"):
        choose_precision("bfloat16")


# Several replicas


TWO_REPLICAS = """
import numpy as np, sys, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
sys.path.insert(0, sys.argv[1])
from training.test_step import B, CLIPPED_AND_AVERAGED, network
from textgen.data.batches import WindowBatch
from textgen.training.step import TrainStep
*batches, rates = np.load(sys.argv[2]).values()
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for shards in sys.argv[4:]:
    with strategy.scope():
        model = network(dropout=0.4)
    step = TrainStep(model, CLIPPED_AND_AVERAGED, B, strategy)
    assert step.replicas == 2
    step.num_shards = int(shards)
    losses = step([WindowBatch(*batches)], rates, 0, np.array([1, 0, 1], np.float32))
    results = losses, *model.get_weights(), *step.result.get_weights()
    np.savez(f"{sys.argv[3]}/{shards}.npz", *results)
"""


@pytest.mark.slow
def test_two_replicas_agree_with_one_though_their_rows_differ(data, tmp_path):
    # Two logical devices must be set before TensorFlow starts: another process.
    before = tmp_path / "before.npz"
    batches, rates = data
    weights = batches.weights.copy()
    weights[:, B // 2 :] *= 0.2  # so that each half's gradient has another norm
    batches = batches._replace(weights=weights)
    np.savez(before, *batches, rates)
    here = Path(__file__).parents[1]
    command = [sys.executable, "-c", TWO_REPLICAS, here, before, tmp_path, "2", "4"]
    subprocess.run(command, check=True, capture_output=True)
    for shards in (2, 4):
        losses, weights = run((batches, rates), shards=shards, dropout=0.4)
        results = list(np.load(tmp_path / f"{shards}.npz").values())
        # After a last factor of 1 the average is the weights.
        assert_close(results, [losses, *weights, *weights], 1e-5)


def of_three_replicas(model, batch_size):
    return TrainStep(model, CONFIG, batch_size, MagicMock(num_replicas_in_sync=3))


@pytest.mark.parametrize(
    ("cores", "batch_size", "shards"),
    [(2, 24, 6), (2, 33, 3), (4, 51, 3), (4, 45, 9), (4, 48, 12), (4, 6, 3), (2, 8, 0)],
)
def test_replicas_share_a_batch_evenly(monkeypatch, cores, batch_size, shards):
    monkeypatch.setattr(module, "available_cores", lambda: cores)
    if shards:
        assert of_three_replicas(network(), batch_size).num_shards == shards
    else:
        with pytest.raises(OptionError, match="3 replicas"):
            of_three_replicas(network(), batch_size)


def test_shards_as_before_are_shared_by_other_replicas_if_they_can(monkeypatch):
    monkeypatch.setattr(module, "available_cores", lambda: 2)
    step = of_three_replicas(network(), 24)
    for wanted, cut in ((12, 12), (3, 3), (2, 3), (9, 3), (0, 3)):
        step.num_shards = wanted
        assert step.num_shards == cut


def test_the_shards_of_all_replicas_draw_masks_of_their_own(monkeypatch, data):
    gradients = Mock(num_shards=2, return_value=(tf.constant(0.0), [tf.zeros(1)]))
    model = network()
    step = of_three_replicas(model, 6)
    step._gradients = gradients
    monkeypatch.setattr(model.optimizer, "apply", Mock())
    batch = WindowBatch(*(x[0, :6] for x in data[0]))
    for replica in range(3):
        context = Mock(replica_id_in_sync_group=tf.constant(replica))
        context.all_reduce = lambda how, values: values
        get = Mock(return_value=context)
        monkeypatch.setattr(tf.distribute, "get_replica_context", get)
        step._replica_step(batch, tf.constant(0.1), tf.constant(5))
    seeds = [int(call.args[1][0]) for call in gradients.mock_calls]
    assert np.diff(seeds).tolist() == [2 * SEEDS_PER_SHARD] * 2


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
    monkeypatch.setattr(hardware, "CPU_INFO", cpuinfo)
    monkeypatch.setattr(hardware.platform, "system", lambda: system)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda _: gpus)
    assert choose_precision("auto") == expected
    assert choose_precision("float32") == "float32"
    if not gpus:
        assert choose_precision("bfloat16") == "bfloat16"
