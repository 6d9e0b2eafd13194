"""Trainings of networks of other cells than the LSTM, from start to saved model."""

import pytest
from training.helpers import assert_same_end, prepared, run, weights_of

from textgen.saving.model_file import load_trainable
from textgen.saving.summary import inspect_model

TINY = {"layers": 2, "units": 5, "embedding": 3, "seq_length": 16, "batch_size": 4,
        "schedule": "averaged", "dropout": 0.2, "precision": "float32"}  # fmt: skip
pytestmark = pytest.mark.usefixtures("one_step_a_call")


@pytest.mark.parametrize(("cell", "kind"), [("gru", "GRU"), ("rnn", "SimpleRNN")])
def test_a_cell_is_trained_saved_resumed_and_gone_on_from(prose, tmp_path, cell, kind):
    whole, stopped = tmp_path / "whole.h5", tmp_path / "stopped.h5"
    options = TINY | {"cell": cell, "steps": 14}
    run(prose, whole, **options)
    run(prose, stopped, interrupt_after=5, **options)
    run(prose, stopped, resume=True)
    assert_same_end(stopped, whole)

    ready = prepared(prose, whole, **options)
    assert f"; 2×5 {cell.upper()}, batches" in ready.summary
    assert len(weights_of(whole)) == 9  # plain Keras opens it
    inspected = inspect_model(whole)
    assert inspected.summary.layers[2].startswith(f"{cell}_1: {kind}, 5 units, tanh")
    assert f"{kind}(5)" in repr(inspected.model)

    assert load_trainable(whole).config.model.cell == cell
    further = prepared(prose, tmp_path / "next.h5", init_from=whole)
    assert (further.config.model.cell, further.config.model.units) == (cell, 5)
