"""Texts to train on and a place for the model, for the tests of training."""

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
