import threading

import numpy as np
import pytest
from test_stepper import VOCABULARY_SIZE, random_network

from textgen import blas_threads, process
from textgen.blas_threads import (
    LEAST_MULTIPLICATIONS,
    ONE,
    STRETCH_S,
    TWO,
    PacedStepper,
    with_best_threads,
)
from textgen.stepper import Stepper

STEPS_A_STRETCH = 10


class Machine:
    """Stands for a stepper, for OpenBLAS and for the clock: time passes by steps.

    Attributes:
        step_s: seconds of a step by one thread and by two.
        idle: whether a core seems to be.
        taken: the threads of each step that counted.
    """

    streams = 1

    def __init__(self, one: float = 1.0, two: float = 1.0, same_bits: bool = True):
        self.step_s = {ONE: STRETCH_S / STEPS_A_STRETCH * one}
        self.step_s[TWO] = STRETCH_S / STEPS_A_STRETCH * two
        self.threads, self.now_s, self.taken, self.idle = ONE, 0.0, [], True
        self._same_bits, self._total = same_bits, 0

    def set_threads(self, threads: int) -> None:
        self.threads = threads

    def clock(self) -> float:
        return self.now_s

    def step(self, ids: int) -> np.ndarray:
        if ids < 0:
            raise KeyboardInterrupt
        self.now_s += self.step_s[self.threads]
        self.taken.append(self.threads)
        self._total += ids
        wrong = 0 if self._same_bits or self.threads == ONE else 1e-7
        return np.array([[self._total + wrong]], np.float64)

    def reset(self, rows=None) -> None:
        self._total = 0

    @property
    def state(self):
        return (np.array(self._total), np.array(len(self.taken)))

    def restore(self, state) -> None:
        self._total = int(state[0])
        del self.taken[int(state[1]) :]

    def stepper(self) -> PacedStepper:
        return PacedStepper(self, self.set_threads, self.clock, lambda: self.idle)

    def share_by_two(self, stepper: PacedStepper, steps: int) -> float:
        """Step on, checking what comes and what is left; the share by two threads."""
        before = len(self.taken)
        for _ in range(steps):
            expected = self._total + 1
            assert stepper.step(1) == expected
            assert self.threads == ONE
        return np.mean(np.array(self.taken[before:]) == TWO)


def test_two_threads_are_taken_where_they_are_faster():
    machine = Machine(two=0.6)
    stepper = machine.stepper()
    assert machine.share_by_two(stepper, STEPS_A_STRETCH + 1) == 0
    assert machine.share_by_two(stepper, 1000) == 1


def test_where_they_are_slower_they_are_tried_ever_more_rarely():
    machine = Machine(two=2)
    stepper = machine.stepper()
    assert machine.share_by_two(stepper, 20 * STEPS_A_STRETCH) > 0.05
    machine.share_by_two(stepper, 300 * STEPS_A_STRETCH)
    rarely = machine.share_by_two(stepper, 1000 * STEPS_A_STRETCH)
    assert 0 < rarely < 0.02


def test_another_program_that_comes_and_goes_is_noticed():
    machine = Machine(two=0.6)
    stepper = machine.stepper()
    machine.share_by_two(stepper, 100)
    quick, machine.step_s[TWO] = machine.step_s[TWO], machine.step_s[ONE] * 2
    machine.share_by_two(stepper, 2 * STEPS_A_STRETCH)
    assert machine.share_by_two(stepper, 1000 * STEPS_A_STRETCH) < 0.05
    machine.step_s[TWO] = quick
    machine.share_by_two(stepper, 100 * STEPS_A_STRETCH)
    assert machine.share_by_two(stepper, 1000) == 1


def test_two_threads_are_not_tried_while_no_core_is_idle():
    machine = Machine(two=0.6)
    machine.idle = False
    stepper = machine.stepper()
    assert machine.share_by_two(stepper, 1000) == 0
    machine.idle = True
    machine.share_by_two(stepper, 2 * STEPS_A_STRETCH)
    assert machine.share_by_two(stepper, 1000) == 1


def test_two_threads_that_give_other_bits_are_not_taken():
    machine = Machine(two=0.1, same_bits=False)
    assert machine.share_by_two(machine.stepper(), 1000) == 0


def test_bits_are_compared_without_a_trace():
    machine = Machine()
    machine.share_by_two(machine.stepper(), STEPS_A_STRETCH + 1)  # compares, then steps
    assert machine.state == (STEPS_A_STRETCH + 1, STEPS_A_STRETCH + 1)


def test_an_interrupted_step_leaves_one_thread():
    machine = Machine(two=0.5)
    stepper = machine.stepper()
    machine.share_by_two(stepper, 100)
    with pytest.raises(KeyboardInterrupt):
        stepper.step(-1)
    assert (machine.threads, machine.taken[-1]) == (ONE, TWO)


@pytest.mark.parametrize("units", [(512,), (256, 256)])
def test_a_real_stepper_gives_the_same_with_threads_chosen(units):
    set_threads = blas_threads._openblas_setter()
    if set_threads is None:
        pytest.skip("NumPy multiplies by another library than OpenBLAS")
    network = random_network(units)
    now_s = iter(np.arange(10_000) * STRETCH_S)  # each step is a stretch
    paced = PacedStepper(
        Stepper(network, 2), set_threads, lambda: next(now_s), lambda: True
    )
    plain = Stepper(network, 2)
    for ids in np.random.default_rng(0).integers(VOCABULARY_SIZE, size=(50, 2)):
        np.testing.assert_array_equal(paced.step(ids), plain.step(ids))
    paced.reset(rows=[1])
    plain.reset(rows=[1])
    np.testing.assert_array_equal(paced.step(0), plain.step(0))


@pytest.fixture
def ours(monkeypatch):
    """Threads that the program may choose, two cores, and an OpenBLAS."""
    monkeypatch.setattr(process, "_chosen_threads", True)
    monkeypatch.setattr(blas_threads, "available_cores", lambda: 2)
    monkeypatch.setattr(blas_threads, "_openblas_setter", lambda: print)
    return monkeypatch


def test_a_large_network_is_paced(ours):
    assert isinstance(with_best_threads(Machine(), LEAST_MULTIPLICATIONS), PacedStepper)


def test_a_small_network_is_not(ours):
    machine = Machine()
    assert with_best_threads(machine, LEAST_MULTIPLICATIONS - 1) is machine


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (process, "_chosen_threads", False),
        (blas_threads, "available_cores", lambda: 1),
        (blas_threads, "_openblas_setter", lambda: None),
    ],
)
def test_none_is_where_threads_are_not_ours_or_cannot_help(ours, module, name, value):
    ours.setattr(module, name, value)
    machine = Machine()
    assert with_best_threads(machine, LEAST_MULTIPLICATIONS) is machine


def test_none_is_in_another_thread(ours):
    machine, made = Machine(), []
    thread = threading.Thread(
        target=lambda: made.append(with_best_threads(machine, LEAST_MULTIPLICATIONS))
    )
    thread.start()
    thread.join()
    assert made == [machine]
