"""A decoder whose products take one thread or two, whichever is faster at the moment.

OpenBLAS' threads wait for each other in a loop. On an idle machine two of them make a
lone text of a large network half as fast again; beside another program they wait for
its time slices, and are twice as slow. So both are timed on the way, two only while a
core seems to be idle.

The setting is the process's. It is changed only where `textgen.system.process` has
chosen it,
in the main thread, and within a step: between two steps there is one thread, as ever.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable

import numpy as np

from textgen.inference.decoder import Decoder, WindowDecoder
from textgen.inference.weights import Network
from textgen.system import process
from textgen.system.hardware import available_cores, has_idle_core

ONE, TWO = 1, 2
# Below, in a step, OpenBLAS takes one thread in any case, or gains nothing by two.
LEAST_MULTIPLICATIONS = 1 << 19
# Where a product's columns are such a multiple, so that each half is one of 32, two
# threads add up each number as one does.
EVEN_COLUMNS = 64
# Another program's turn on the second core, some 4 to 30 ms, mostly falls into it.
STRETCH_S = 0.015
# Stretches by one thread before two are tried again: doubled each time that fails, up
# to a second. The most of them by two, too, before one is timed again.
FIRST_PATIENCE, MOST_PATIENCE = 1, 64


def with_best_threads(
    decoder: Decoder | WindowDecoder, network: Network, rows: int
) -> Decoder | WindowDecoder | PacedDecoder:
    """Return a decoder that does the same, faster where a second thread helps.

    Args:
        decoder: at the beginning of its texts.
        network: its weights.
        rows: of its products.

    Returns:
        The decoder itself where threads aren't ours to choose, wouldn't help, or might
        change a bit.
    """
    if (
        not _splits_evenly(network)
        or rows * _recurrent_weights(network) < LEAST_MULTIPLICATIONS
        or not process.has_chosen_threads()
        or threading.current_thread() is not threading.main_thread()
        or available_cores() < TWO
    ):
        return decoder
    set_threads = _openblas_setter()
    return decoder if set_threads is None else PacedDecoder(decoder, set_threads)


def _splits_evenly(network: Network) -> bool:
    """Tell whether halves of the LSTM layers' products can have the same bits.

    A difference of the dense layer's would be seen in the logits; of these, a tanh may
    hide it in one step and not in another.
    """
    return network.is_plain_lstm and all(
        4 * layer.units % EVEN_COLUMNS == 0 for layer in network.layers
    )


def _recurrent_weights(network: Network) -> int:
    """Count the weights of plain LSTM layers that a row is multiplied with."""
    first, *deeper = network.layers
    return first.recurrent_kernel.size + sum(
        layer.kernel.size + layer.recurrent_kernel.size for layer in deeper
    )


class PacedDecoder:
    """Steps by one thread or by two, and times which is faster.

    Two are used only if they give the same result to the last bit, so that a seed's
    text doesn't depend on what else the machine does: a step is tried both ways first.
    (For eight rows and more some of OpenBLAS' kernels never do.)
    """

    def __init__(
        self,
        decoder: Decoder | WindowDecoder,
        set_threads: Callable[[int], None],
        clock: Callable[[], float] = time.perf_counter,
        idle: Callable[[], bool] = has_idle_core,
    ):
        """Begin with one thread.

        Args:
            decoder: what is advanced.
            set_threads: sets how many threads products take from now on.
            clock: gives seconds.
            idle: tells whether a trial of two threads may be worth it.
        """
        self._stepper, self._set_threads = decoder, set_threads
        self._clock, self._has_idle_core = clock, idle
        self.streams, self.reset = decoder.streams, decoder.reset
        self._threads = ONE
        self._same_bits: bool | None = None  # not known yet
        self._steps, self._spent_s = 0, 0.0
        self._one_mean_s = 0.0  # of a step by one thread, when last measured
        self._stretches, self._patience = 0, FIRST_PATIENCE
        set_threads(ONE)  # whatever an interrupted step has left

    def step(self, ids: np.ndarray | int) -> np.ndarray:
        """Take each stream one symbol further; as `Decoder.step`."""
        if self._spent_s >= STRETCH_S:
            self._choose(ids)
        started_s = self._clock()
        logits = self._step_by(self._threads, ids)
        self._spent_s += self._clock() - started_s
        self._steps += 1
        return logits

    def _step_by(self, threads: int, ids: np.ndarray | int) -> np.ndarray:
        if threads == ONE:
            return self._stepper.step(ids)
        try:
            self._set_threads(threads)
            return self._stepper.step(ids)
        finally:
            self._set_threads(ONE)

    def _choose(self, ids: np.ndarray | int) -> None:
        """Decide by the stretch that has ended with how many threads the next goes."""
        mean_s = self._spent_s / self._steps
        self._steps, self._spent_s = 0, 0.0
        self._stretches += 1
        if self._threads == ONE:
            self._one_mean_s = mean_s
            if self._stretches >= self._patience and self._may_take_two(ids):
                self._threads, self._stretches = TWO, 0
        elif mean_s >= self._one_mean_s:
            self._threads, self._stretches = ONE, 0
            self._patience = min(2 * self._patience, MOST_PATIENCE)
        else:
            self._patience = FIRST_PATIENCE
            if self._stretches >= MOST_PATIENCE:  # one thread is to be timed again
                self._threads, self._stretches = ONE, 0

    def _may_take_two(self, ids: np.ndarray | int) -> bool:
        if self._same_bits is False or not self._has_idle_core():
            return False
        if self._same_bits is None:
            self._same_bits = self._gives_same_bits(ids)
        return self._same_bits

    def _gives_same_bits(self, ids: np.ndarray | int) -> bool:
        """Tell whether a step from here is the same by two threads as by one."""
        before = self._stepper.state
        results = []
        for threads in (ONE, TWO):
            logits = self._step_by(threads, ids)
            results.append((logits.copy(), *self._stepper.state))
            self._stepper.restore(before)
        return all(map(np.array_equal, *results))


@functools.cache
def _openblas_setter() -> Callable[[int], None] | None:
    """Return what sets how many threads OpenBLAS takes; None if there is none."""
    from threadpoolctl import ThreadpoolController  # late: it takes some milliseconds

    found = ThreadpoolController().select(internal_api="openblas").lib_controllers
    if not found:
        return None

    def set_threads(threads: int) -> None:
        for library in found:  # one, unless a package beside NumPy brings its own
            library.set_num_threads(threads)

    return set_threads
