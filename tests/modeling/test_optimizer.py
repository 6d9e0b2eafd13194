"""The optimizer's one operation a variable against Keras."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from textgen.config import ModelConfig, TrainingConfig
from textgen.modeling.model import build_model
from textgen.modeling.optimizer import _FastAdam, make_optimizer

CONFIG = TrainingConfig(learning_rate=0.01, weight_decay=0.1, clip_norm=0.2)
PLAIN_KERAS = {
    "adam": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.2),
    "adamw": lambda: keras.optimizers.AdamW(
        0.01, global_clipnorm=0.2, weight_decay=0.1, beta_2=0.99
    ),
}


def network(config=CONFIG):
    model = build_model(ModelConfig(layers=2, units=6, embedding=4), 9, seed=3)
    model.optimizer = make_optimizer(config, model.trainable_variables)
    return model


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_a_rate_may_be_a_whole_number(kind):
    config = TrainingConfig(optimizer=kind, learning_rate=1)
    assert float(network(config).optimizer.learning_rate) == 1


def moved(self, variable):
    raise AttributeError("_momentums")


def exchanged(self, variable):
    return self._momentums[0], self._velocities[0]


@pytest.mark.parametrize("found", [moved, exchanged])
def test_another_keras_takes_its_own_update(found, monkeypatch):
    """One that keeps the moments elsewhere, or in another order."""
    monkeypatch.setattr(_FastAdam, "_moments", found)
    with pytest.warns(UserWarning, match="slower"):
        other = network()
    monkeypatch.undo()
    usual = network()
    assert isinstance(usual.optimizer, _FastAdam)
    assert not isinstance(other.optimizer, _FastAdam)
    for model in (usual, other):
        ones = [tf.ones(v.shape) for v in model.trainable_variables]
        model.optimizer.apply(ones, model.trainable_variables)
    for one, two in zip(usual.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_weights_and_moments_are_those_of_keras(kind):
    ours, theirs = (network(replace(CONFIG, optimizer=kind)) for _ in range(2))
    theirs.optimizer = PLAIN_KERAS[kind]()
    if kind == "adamw":
        theirs.optimizer.exclude_from_weight_decay(var_names=["bias"])
    theirs.optimizer.build(theirs.trainable_variables)
    rng = np.random.default_rng(1)
    for rate in (0.01, 0.01, 0.004):
        shapes = [v.shape for v in ours.trainable_variables]
        gradients = [tf.constant(rng.normal(0, 1, s), tf.float32) for s in shapes]
        for model in (ours, theirs):
            model.optimizer.learning_rate = rate
            model.optimizer.apply(gradients, model.trainable_variables)
    pairs = zip(ours.optimizer.variables, theirs.optimizer.variables, strict=True)
    for one, other in pairs:
        one, other = one.numpy(), other.numpy()
        # TensorFlow takes 1 − β₂ of float32 numbers: 1.3e-5 off at 0.999.
        assert np.abs(one - other).max() <= 2e-5 * np.abs(other).max()
    for one, other in zip(ours.weights, theirs.weights, strict=True):  # steps of 0.01
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=0, atol=1e-6)
