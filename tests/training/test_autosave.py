"""When checkpoints are written, with a clock of our own."""

import numpy as np
import pytest

from textgen.errors import OutputError, TrainingError
from textgen.training import checkpoint as autosave
from textgen.training.checkpoint import INTERVAL_S, MOST_SHARE, Autosave, TrainingState


class Scene:
    """A training whose time passes only when told, and a disk that can be full."""

    def __init__(self, monkeypatch, write_s=0.1):
        self.now_s, self.write_s = 0.0, write_s
        self.full = False
        self.weight = 1.0
        self.written, self.said = [], []
        monkeypatch.setattr(autosave.time, "monotonic", lambda: self.now_s)
        self.saves = Autosave(self.state, self.write, self.said.append)

    def state(self):
        arrays = (np.array([self.weight]), np.array([3]))
        return TrainingState(len(self.written), 1.0, None, 1, np.zeros(0), arrays)

    def write(self, state):
        self.now_s += self.write_s
        if self.full:
            raise OutputError("the disk is full")
        self.written.append(self.now_s)

    def pass_time(self, seconds, epoch_ended=False):
        """Look once; return whether a checkpoint was written."""
        before = len(self.written)
        self.now_s += seconds
        self.saves.look(epoch_ended)
        return len(self.written) > before


def test_it_writes_first_of_all_then_at_intervals(monkeypatch):
    scene = Scene(monkeypatch)
    scene.saves.begin()
    assert len(scene.written) == 1
    assert not scene.pass_time(INTERVAL_S - 1)
    assert scene.pass_time(1)
    assert not scene.pass_time(1)


def test_it_writes_at_the_end_of_an_epoch_unless_the_last_is_too_near(monkeypatch):
    scene = Scene(monkeypatch)
    scene.saves.begin()
    near_s = scene.write_s / MOST_SHARE
    assert not scene.pass_time(near_s - 0.5, epoch_ended=True)
    assert not scene.pass_time(1)
    assert scene.pass_time(0, epoch_ended=True)


def test_slow_writes_are_as_rare_as_they_must_be(monkeypatch):
    scene = Scene(monkeypatch, write_s=2.0)
    scene.saves.begin()
    calls, call_s = 4000, 0.5
    written = sum(scene.pass_time(call_s, epoch_ended=True) for _ in range(calls))
    assert written > 5
    assert written * scene.write_s <= MOST_SHARE * calls * call_s


def test_the_first_that_fails_ends_it(monkeypatch):
    scene = Scene(monkeypatch)
    scene.full = True
    with pytest.raises(OutputError, match="full"):
        scene.saves.begin()


def test_a_later_one_that_fails_is_told_and_tried_again(monkeypatch):
    scene = Scene(monkeypatch)
    scene.saves.begin()
    scene.full = True
    assert not scene.pass_time(INTERVAL_S)
    assert scene.said == ["the disk is full; training goes on and will try again"]
    assert "full" in str(scene.saves.failure)
    scene.full = False
    assert scene.pass_time(INTERVAL_S)
    assert scene.saves.failure is None


def test_the_last_one_that_fails_is_kept(monkeypatch):
    scene = Scene(monkeypatch)
    scene.saves.begin()
    scene.full = True
    scene.saves.end()
    assert "full" in str(scene.saves.failure)
    assert scene.saves.last_good.step == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_never_written(monkeypatch, bad):
    scene = Scene(monkeypatch)
    scene.saves.begin()
    scene.weight = bad
    with pytest.raises(TrainingError, match=r"weights must be finite .* at step 1"):
        scene.saves.end()
    assert len(scene.written) == 1
    assert scene.saves.last_good.step == 0
