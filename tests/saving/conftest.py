"""What the tests of model files share: small models, and what their weights predict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textgen.config import Config, ModelConfig, WindowConfig

SYMBOLS = "\nabcdé☃"


class SmallModels:
    """Makes models of random weights, and files of them."""

    symbols = SYMBOLS

    def config(self, layers=1, embedding=3, targets="all", window=5) -> Config:
        return Config(
            ModelConfig(layers, units=6, embedding=embedding, dropout=0.2),
            WindowConfig(window, targets=targets),
        )

    def metadata(self, config: Config, symbols: str = SYMBOLS) -> dict[str, Any]:
        return {
            "format": 2,
            "level": "character",
            "symbols": list(symbols),
            "corpus": {"name": "test", "kind": "text", "sha256": "0" * 64},
            "config": config.to_dict(),
            "training": {"steps": 3, "held_out_nats_per_char": 1.25},
        }

    def network(self, config: Config, size: int = len(SYMBOLS)) -> Any:
        """Return a Keras model of which no weight is special, not even a bias."""
        from textgen.modeling.model import build_model

        model = build_model(config.model, size, targets=config.windows.targets)
        rng = np.random.default_rng(0)
        for weight in model.trainable_variables:
            weight.assign(rng.normal(size=weight.shape, scale=0.7))
        return model

    def save(
        self,
        path: Path,
        config: Config | None = None,
        symbols: str = SYMBOLS,
        **metadata: Any,
    ) -> Any:
        """Write a model file and return the Keras model."""
        from textgen.saving.model_file import save_model

        config = config or self.config()
        model = self.network(config, len(symbols))
        save_model(model, self.metadata(config, symbols) | metadata, path)
        return model


@pytest.fixture(scope="session")
def small() -> SmallModels:
    return SmallModels()


@pytest.fixture(scope="session")
def good_file(small, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("good") / "model.h5"
    small.save(path)
    return path


@pytest.fixture
def good_bytes(good_file) -> bytes:
    return good_file.read_bytes()


@pytest.fixture
def softmax() -> Callable[[np.ndarray], np.ndarray]:
    def probabilities(logits: np.ndarray) -> np.ndarray:
        weights = np.exp(logits.astype(np.float64) - logits.max())
        return weights / weights.sum()

    return probabilities


@pytest.fixture
def refused() -> Callable[..., str]:
    """Return a function that opens a file, which must be refused by a check."""
    from textgen.errors import ModelFileError
    from textgen.saving.model_file import load_model

    def refuse(path: Path, match: str, text: Path | None = None) -> str:
        with pytest.raises(ModelFileError, match=match) as caught:
            load_model(path, text)
        message = str(caught.value)
        assert message.isprintable()
        assert "expected" in message
        assert message.startswith(repr(str(path)))
        assert len(message) < 1000 + len(str(path))
        for limit in ("took more than", "ended the process", "of memory"):
            assert limit not in message, "no limit is to refuse it, but a check"
        return message

    return refuse
