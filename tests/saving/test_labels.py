"""Labels in a model file: what is read again, and hostile ones, which are refused."""

import json

import numpy as np
import pytest
from model_files import write_own_file

from textgen.data.labels import MOST_LABELS, label_symbol
from textgen.errors import ModelFileError
from textgen.generation.streaming import generate_output
from textgen.saving.metadata import read_metadata
from textgen.saving.model_file import load_model
from textgen.saving.summary import inspect_model

KEATS, SHELLEY = label_symbol(0), label_symbol(1)
SYMBOLS = f"\nabcd{KEATS}{SHELLEY}"
NAMES = ["Keats", "Shelley"]


@pytest.fixture(autouse=True)
def _here(read_here):
    """No file here needs a process of its own to be refused."""


def write(path, symbols=SYMBOLS, kind="lines", **metadata):
    write_own_file(path, symbols, kind, **metadata)
    return path


def test_labels_are_read_again_and_masked(tmp_path):
    counts = {"Keats": 3, "Shelley": 2}
    corpus = {"name": "test", "kind": "lines", "sha256": "0" * 64, "labels": counts}
    path = write(tmp_path / "model.h5", labels=NAMES, corpus=corpus)
    model = load_model(path)
    assert model.vocabulary.labels == tuple(NAMES)
    assert model.label_counts == counts
    logits = model.decoder().step(np.array([5]))[0]
    assert np.isneginf(logits).tolist() == [False] * 5 + [True] * 2
    assert set(generate_output(model, "a", label="Keats")) <= set("\nabcd")
    assert inspect_model(path).model.vocabulary.labels == tuple(NAMES)


def test_a_file_without_labels_has_none_whatever_its_symbols(tmp_path):
    model = load_model(write(tmp_path / "model.h5"))
    assert model.vocabulary.labels == ()
    assert model.network.undrawn is None
    assert KEATS in model.vocabulary


@pytest.mark.parametrize(
    "labels",
    [
        ["Keats"],
        ["Keats", "Keats"],
        ["Keats", ""],
        ["Keats", "a\nb"],
        ["Keats", "x" * 101],
        ["Keats", None],
        ["Keats", 7],
        ["Keats", ["Shelley"]],
        [*NAMES, "Byron"],
        [str(number) for number in range(MOST_LABELS + 2)],
        ["x"] * 100_000,
        "ab",
        7,
        None,
        {"Keats": 1, "Shelley": 2},
        [[[[[[]]]]]],
        {},
    ],
    ids=lambda x: str(x)[:20],
)
def test_labels_that_are_none_are_refused(labels, tmp_path):
    path = write(tmp_path / "model.h5", labels=labels)
    with pytest.raises(ModelFileError) as raised:
        load_model(path)
    assert "\n" not in str(raised.value)


def test_a_file_whose_alphabet_is_labels_only_is_refused(tmp_path):
    path = write(tmp_path / "model.h5", KEATS + SHELLEY, labels=NAMES)
    with pytest.raises(ModelFileError, match="expected metadata") as told:
        load_model(path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("options", [{"kind": "text"}, {"targets": "last"}])
def test_labels_are_of_lines_with_all_targets(options, tmp_path):
    with pytest.raises(ModelFileError, match="labels of lines"):
        load_model(write(tmp_path / "model.h5", labels=NAMES, **options))


@pytest.mark.parametrize(
    "counts", [None, 7, [1, 2], {"Keats": "3"}, {"Keats": -1.5}, {"Byron": 3}]
)
def test_counts_that_are_none_are_left_out(counts, tmp_path):
    corpus = {"name": "test", "kind": "lines", "sha256": "0" * 64, "labels": counts}
    model = load_model(write(tmp_path / "model.h5", labels=NAMES, corpus=corpus))
    assert model.label_counts == {}


def test_as_many_labels_as_there_may_be_fit_into_the_metadata():
    names = [f"{number:0100}" for number in range(MOST_LABELS)]
    symbols = ["\n", *map(label_symbol, range(MOST_LABELS))]
    corpus = {"kind": "lines", "labels": dict.fromkeys(names, 10**9)}
    data = {"format": 2, "symbols": symbols, "labels": names, "corpus": corpus}
    assert read_metadata(json.dumps(data), len(symbols))["labels"] == names
