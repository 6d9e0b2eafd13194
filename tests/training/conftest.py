"""Texts to train on and a place for the model, for the tests of training."""

import math

import pytest
from training.helpers import NAMES, PROSE


@pytest.fixture
def prose(tmp_path):
    """A file of 768 characters."""
    path = tmp_path / "hour.txt"
    path.write_text(PROSE)
    return path


@pytest.fixture
def names(tmp_path):
    """A file of 45 names."""
    path = tmp_path / "names.txt"
    path.write_text(NAMES)
    return path


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out" / "model.h5"


@pytest.fixture
def one_step_a_call(monkeypatch):
    """A callback then hits any step, not the end of a call of some length."""
    from textgen.training import checkpoint
    from textgen.training.loop import Training

    monkeypatch.setattr(Training, "calibrate", lambda loop: 0.001)
    # Some tests count saves: none is to come because a machine is slow.
    monkeypatch.setattr(checkpoint, "INTERVAL_S", math.inf)
