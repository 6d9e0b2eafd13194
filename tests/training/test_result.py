"""What `textgen.train` returns: a path to who needs one, and what there is to ask."""

import copy
import os
import pickle
from pathlib import Path

import pytest
from training.helpers import make_row

import textgen
from textgen.saving.model_file import load_model
from textgen.training.pipeline import train
from textgen.training.result import TrainingResult

TINY = {"layers": 1, "units": 8, "seq_length": 4, "batch_size": 8, "steps": 30}


@pytest.fixture
def result(prose_model):
    rows = [make_row(1, 2.5, sample="s"), make_row(2, 2.25)]
    return TrainingResult(prose_model, rows, 2.25, 1.5)


def test_it_is_taken_for_its_path(result, prose_model):
    assert isinstance(result, os.PathLike)
    assert (os.fspath(result), str(result)) == (str(prose_model), str(prose_model))
    assert Path(result) == prose_model
    assert f"{result}" == str(prose_model)
    with open(result, "rb") as file:
        assert file.read() == result.read_bytes() == prose_model.read_bytes()
    assert repr(load_model(result)) == repr(load_model(prose_model))
    assert (result.name, result.parent) == (prose_model.name, prose_model.parent)
    assert result.parent / "x" == prose_model.parent / "x"
    assert result / "x" == prose_model / "x"
    assert "folder" / result == Path("folder") / result == prose_model
    assert result == prose_model
    assert prose_model == result
    assert result == copy.copy(result) == pickle.loads(pickle.dumps(result))
    assert result != prose_model.with_suffix(".other")
    assert {result: 1}[prose_model] == 1
    with pytest.raises(AttributeError, match="epochs"):
        result.epochs  # noqa: B018


def test_it_is_told_in_a_line(result, prose_model):
    facts = "20 steps, val_loss 2.250, held out 1.500"
    assert repr(result) == f"<TrainingResult {str(prose_model)!r}, {facts}>"
    bare = TrainingResult(Path("m.h5"), [], None, None)
    assert repr(bare) == "<TrainingResult 'm.h5'>"


def test_its_model_is_opened_once_when_it_is_asked_for(result, prose_model):
    assert result.model is result.model
    assert result.model.path == prose_model
    missing = TrainingResult(Path("missing.h5"), [], None, None)
    with pytest.raises(textgen.ModelFileError):
        missing.model  # noqa: B018


def test_a_training_returns_its_history_and_so_does_one_that_is_finished(prose, output):
    result = train(prose, output=output, **TINY)
    assert isinstance(result, textgen.TrainingResult)
    assert result == output
    assert [row["epoch"] for row in result.history] == [1, 2]
    assert list(result.history[0]) == [
        "epoch", "step", "seconds", "loss", "val_loss", "learning_rate",
        "characters_per_s", "sample", "val_accuracy",
    ]  # fmt: skip
    assert result.val_loss == result.history[-1]["val_loss"]
    record = result.model.record
    assert result.held_out_nats_per_char == record["held_out_nats_per_char"] > 0
    # Once it is finished, all but the samples is known from the file.
    again = train(prose, output=output, resume=True)
    for row in result.history:
        row["sample"] = ""
    assert vars(again) == {k: v for k, v in vars(result).items() if k != "model"}
