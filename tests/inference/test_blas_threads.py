import dataclasses
import threading

import numpy as np
import pytest
import threadpoolctl
from inference.test_decoder import VOCABULARY_SIZE, random_network

from textgen.config import WindowConfig
from textgen.inference import blas_threads
from textgen.inference.blas_threads import (
    MOST_PATIENCE,
    ONE,
    STRETCH_S,
    TWO,
    PacedDecoder,
    with_best_threads,
)
from textgen.inference.decoder import Decoder
from textgen.saving.model_file import load_model
from textgen.system import process

STEPS_A_STRETCH = 10


class Machine:
    """Stands for a decoder, for OpenBLAS and for the clock: time passes by steps.

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
        self.tried = 0  # steps by two threads, those of comparisons among them
        self._same_bits, self._total = same_bits, 0

    def set_threads(self, threads: int) -> None:
        self.threads = threads

    def clock(self) -> float:
        return self.now_s

    def step(self, ids: int) -> np.ndarray:
        if ids < 0:
            raise KeyboardInterrupt
        self.now_s += self.step_s[self.threads]
        self.tried += self.threads == TWO
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

    def decoder(self) -> PacedDecoder:
        return PacedDecoder(self, self.set_threads, self.clock, lambda: self.idle)

    def share_by_two(self, decoder: PacedDecoder, steps: int) -> float:
        """Step on, checking what comes and what is left; the share by two threads."""
        before = len(self.taken)
        for _ in range(steps):
            expected = self._total + 1
            assert decoder.step(1) == expected
            assert self.threads == ONE
        return np.mean(np.array(self.taken[before:]) == TWO)


def test_two_threads_are_taken_where_they_are_faster():
    machine = Machine(two=0.6)
    decoder = machine.decoder()
    assert machine.share_by_two(decoder, STEPS_A_STRETCH + 1) == 0
    assert machine.share_by_two(decoder, 1000) > 0.95


def test_where_they_are_slower_they_are_tried_ever_more_rarely():
    machine = Machine(two=2)
    decoder = machine.decoder()
    assert machine.share_by_two(decoder, 20 * STEPS_A_STRETCH) > 0.05
    machine.share_by_two(decoder, 300 * STEPS_A_STRETCH)
    rarely = machine.share_by_two(decoder, 1000 * STEPS_A_STRETCH)
    assert 0 < rarely < 0.02


def test_another_program_that_comes_and_goes_is_noticed():
    machine = Machine(two=0.6)
    decoder = machine.decoder()
    machine.share_by_two(decoder, 100)
    quick, machine.step_s[TWO] = machine.step_s[TWO], machine.step_s[ONE] * 2
    machine.share_by_two(decoder, 2 * STEPS_A_STRETCH)
    assert machine.share_by_two(decoder, 1000 * STEPS_A_STRETCH) < 0.05
    machine.step_s[TWO] = quick
    machine.share_by_two(decoder, 100 * STEPS_A_STRETCH)
    assert machine.share_by_two(decoder, 1000) > 0.95


def test_after_a_success_a_failure_is_soon_tried_again():
    machine = Machine(two=2)
    decoder = machine.decoder()
    machine.share_by_two(decoder, 500 * STEPS_A_STRETCH)  # patience has grown
    machine.step_s[TWO] /= 4
    machine.share_by_two(decoder, 100 * STEPS_A_STRETCH)
    machine.step_s[TWO] *= 4
    machine.share_by_two(decoder, 3 * STEPS_A_STRETCH)  # back to one
    machine.step_s[TWO] /= 4
    assert machine.share_by_two(decoder, 10 * STEPS_A_STRETCH) > 0.5


def test_a_slow_beginning_by_one_thread_is_not_believed_for_ever():
    machine = Machine(one=3, two=2)
    decoder = machine.decoder()
    machine.share_by_two(decoder, 2 * STEPS_A_STRETCH)
    machine.step_s[ONE] /= 3
    machine.share_by_two(decoder, MOST_PATIENCE * 2 * STEPS_A_STRETCH)
    assert machine.share_by_two(decoder, 1000 * STEPS_A_STRETCH) < 0.05


def test_a_little_faster_is_enough():
    machine = Machine(two=0.9)
    decoder = machine.decoder()
    machine.share_by_two(decoder, 2 * STEPS_A_STRETCH)
    assert machine.share_by_two(decoder, 1000 * STEPS_A_STRETCH) > 0.95


def test_two_threads_are_not_tried_while_no_core_is_idle():
    machine = Machine(two=0.6)
    machine.idle = False
    decoder = machine.decoder()
    assert machine.share_by_two(decoder, 1000) == 0
    assert machine.tried == 0
    machine.idle = True
    machine.share_by_two(decoder, 2 * STEPS_A_STRETCH)
    assert machine.share_by_two(decoder, 1000) > 0.95


def test_two_threads_that_give_other_bits_are_not_taken():
    machine = Machine(two=0.1, same_bits=False)
    assert machine.share_by_two(machine.decoder(), 1000) == 0


def test_bits_are_compared_without_a_trace():
    machine = Machine()
    machine.share_by_two(machine.decoder(), STEPS_A_STRETCH + 1)  # compares, then steps
    assert machine.state == (STEPS_A_STRETCH + 1, STEPS_A_STRETCH + 1)


def test_an_interrupted_step_leaves_one_thread():
    machine = Machine(two=0.5)
    decoder = machine.decoder()
    machine.share_by_two(decoder, 100)
    with pytest.raises(KeyboardInterrupt):
        decoder.step(-1)
    assert (machine.threads, machine.taken[-1]) == (ONE, TWO)


@pytest.mark.parametrize("units", [(512,), (224, 224)])
def test_a_real_stepper_gives_the_same_with_threads_chosen(units):
    set_threads = blas_threads._openblas_setter()
    if set_threads is None:
        pytest.skip("NumPy multiplies by another library than OpenBLAS")
    asked, now_s = [ONE], [0.0]

    def note_and_set(threads):
        asked.append(threads)
        set_threads(threads)

    def clock():  # a step takes more than a stretch, but less by two threads
        now_s[0] += STRETCH_S * (3 - asked[-1])
        return now_s[0]

    network = random_network(units)
    paced = PacedDecoder(Decoder(network), note_and_set, clock, lambda: True)
    plain = Decoder(network)
    for ids in np.random.default_rng(0).integers(VOCABULARY_SIZE, size=(50, 1)):
        np.testing.assert_array_equal(paced.step(ids), plain.step(ids))
    assert asked[-1] == ONE
    assert TWO in asked
    assert paced.streams == 1
    paced.reset(rows=[0])
    plain.reset(rows=[0])
    np.testing.assert_array_equal(paced.step(0), plain.step(0))


def test_openblas_is_found_where_numpy_was_built_with_it():
    build = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    if "openblas" not in build:
        pytest.skip(f"NumPy was built with {build}")
    set_threads = blas_threads._openblas_setter()
    before = openblas_threads()
    try:
        for threads in (TWO, ONE):
            set_threads(threads)
            assert openblas_threads() == threads
    finally:
        set_threads(before)


def openblas_threads() -> int:
    (library,) = (
        x for x in threadpoolctl.threadpool_info() if x["internal_api"] == "openblas"
    )
    return library["num_threads"]


@pytest.fixture
def ours(monkeypatch):
    """Threads that the program may choose, two cores, and an OpenBLAS."""
    monkeypatch.setattr(process, "_chosen_threads", True)
    monkeypatch.setattr(blas_threads, "available_cores", lambda: 2)
    monkeypatch.setattr(blas_threads, "_openblas_setter", lambda: print)
    return monkeypatch


def is_paced(units, rows=1, **changes) -> bool:
    machine = Machine()
    network = dataclasses.replace(random_network(units), **changes)
    chosen = with_best_threads(machine, network, rows)
    assert isinstance(chosen, PacedDecoder) or chosen is machine
    return isinstance(chosen, PacedDecoder)


@pytest.mark.parametrize(
    ("units", "rows", "paced"),
    [
        ((128, 128), 1, False),  # 3 · 4 · 128², 197 thousand
        ((128, 128), 2, False),
        ((128, 128), 3, True),  # above 2¹⁹
        ((352,), 1, False),  # 4 · 352², 496 thousand
        ((368,), 1, True),  # 542 thousand
        ((208, 208), 1, False),  # 519 thousand
        ((224, 224), 1, True),
        ((420,), 1, False),  # doesn't fall into even halves
        ((300, 300), 1, False),
        ((400, 300), 64, False),
    ],
)
def test_what_is_large_and_falls_into_even_halves_is_paced(ours, units, rows, paced):
    assert is_paced(units, rows) == paced


def test_networks_of_other_programs_are_not_paced(ours):
    assert not is_paced((512,), masked=np.zeros(VOCABULARY_SIZE, bool))


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
    assert not is_paced((512,))


def test_none_is_in_another_thread(ours):
    made = []
    thread = threading.Thread(target=lambda: made.append(is_paced((512,))))
    thread.start()
    thread.join()
    assert made == [False]


def test_a_models_stepper_is_paced_by_its_rows(ours, prose_model):
    small = load_model(prose_model)
    large = dataclasses.replace(small, network=random_network((224, 224)))
    assert isinstance(large.decoder(), PacedDecoder)
    middle = dataclasses.replace(small, network=random_network((128, 128)))
    assert not isinstance(middle.decoder(), PacedDecoder)
    assert isinstance(middle.decoder(64), PacedDecoder)
    windows = WindowConfig(seq_length=40, targets="last")
    config = dataclasses.replace(middle.config, windows=windows)
    of_windows = dataclasses.replace(middle, config=config)
    assert isinstance(of_windows.decoder(), PacedDecoder)
