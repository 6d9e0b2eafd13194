"""Windows of streams, whose state is carried on; all others are in test_windows.py."""

import numpy as np
import pytest

from textgen.config import WindowConfig
from textgen.data.windows import make_windows
from textgen.errors import CorpusError, OptionError

IDS = np.arange(1000, dtype=np.uint16)  # each symbol tells its place


def streams(ids=IDS, window=7, batch_size=4, seed=0):
    config = WindowConfig(window, stateful=True)
    return make_windows(ids, "text", config, batch_size, seed)


def epoch_of(windows, epoch):
    steps = range(windows.steps_per_epoch)
    return [windows.batch(epoch, step) for step in steps]


@pytest.mark.parametrize("size", [8, 9, 15, 16, 40, 63, 997, 1000])
@pytest.mark.parametrize("batch_size", [1, 4, 6])
def test_each_row_goes_on_where_it_ended_and_little_is_left_out(size, batch_size):
    windows = streams(IDS[:size], batch_size=batch_size)
    rows = windows.batch_size
    for epoch in range(3):
        batches = epoch_of(windows, epoch)
        inputs = np.hstack([batch.inputs for batch in batches])
        targets = np.hstack([batch.targets for batch in batches])
        assert all((batch.weights == 1).all() for batch in batches)
        np.testing.assert_array_equal(targets, inputs + 1)
        # One row after the other is one run of the text.
        run = inputs.ravel()
        np.testing.assert_array_equal(run, run[0] + np.arange(run.size))
        assert targets.max() < size
        assert size - run.size <= 7 * (rows + 1)


def test_every_symbol_is_seen_in_time_and_windows_begin_elsewhere():
    windows = streams(batch_size=6)
    firsts = {int(windows.batch(epoch, 0).inputs[0, 0]) for epoch in range(60)}
    assert len(firsts) > 7
    seen = set()
    for epoch in range(60):
        for batch in epoch_of(windows, epoch):
            seen |= set(batch.inputs.ravel().tolist())
    assert min(seen) == 0
    assert max(seen) >= 997
    assert [streams(seed=s).batch(0, 0).inputs[0, 0] for s in (5, 5)] == [
        streams(seed=5).batch(0, 0).inputs[0, 0]
    ] * 2


def test_stacked_batches_are_the_same(monkeypatch):
    windows = streams()
    (stack,) = windows.stacked_batches(1, 2, 3)
    for place, batch in enumerate(epoch_of(windows, 1)[2:5]):
        np.testing.assert_array_equal(stack.inputs[place], batch.inputs)
        np.testing.assert_array_equal(stack.targets[place], batch.targets)


def test_what_has_no_state_to_carry_is_refused():
    with pytest.raises(OptionError, match="`stateful` is for `targets` all"):
        WindowConfig(targets="last", stateful=True)
    with pytest.raises(OptionError, match="`stride` must be `seq_length` 9 with"):
        WindowConfig(9, stride=3, stateful=True)
    assert WindowConfig(9, stride=9, stateful=True).stateful
    ids = np.array([0, 1, 2, 0], np.uint8)
    config = WindowConfig(3, stateful=True)
    with pytest.raises(OptionError, match="each of `kind` lines begins from zero"):
        make_windows(ids, "lines", config, 2, 0, end_id=0)
    with pytest.raises(CorpusError, match="at least 8 symbols"):
        streams(IDS[:7])
