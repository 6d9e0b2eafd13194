"""What the tests of the network share."""

from collections.abc import Callable

import keras
import numpy as np
import pytest

from textgen.config import ModelConfig
from textgen.modeling.model import build_model


@pytest.fixture(scope="session")
def random_model() -> Callable[..., keras.Model]:
    """Return a function that makes a network of which no variable is zero."""

    def make(layers: int, embedding: int, symbols: int, **options):
        config = ModelConfig(layers=layers, units=8, embedding=embedding, **options)
        model = build_model(config, symbols, seed=1)
        rng = np.random.default_rng(5)
        for variable in model.trainable_variables:
            variable.assign(rng.normal(0, 0.4, variable.shape))
        return model

    return make
