"""When one stream takes all cores, and that its numbers stay what they are."""

from types import SimpleNamespace

import numpy as np
import pytest
from fakes import random_network
from threadpoolctl import threadpool_info, threadpool_limits

from textgen.inference import threads
from textgen.inference.decoder import Decoder


def blas_threads():
    """Return the largest number of threads that a BLAS has now."""
    return max(x["num_threads"] for x in threadpool_info() if x["user_api"] == "blas")


@pytest.fixture(autouse=True)
def own_threads():
    """What BLAS has before and after each test."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="module")
def large():
    return random_network((8, 640))


def timed_as(monkeypatch, *seconds):
    """Let the trials' clock say that they took so long, in turn."""
    ticks = iter(np.cumsum([t for s in seconds for t in (0.001, s)]))
    clock = SimpleNamespace(perf_counter=lambda: next(ticks))
    monkeypatch.setattr(threads, "time", clock)


def test_one_core_and_small_networks_are_left_alone(large, monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 1)
    assert threads.take_all_cores(large) == 0
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    assert threads.take_all_cores(random_network((4, 5))) == 0
    assert blas_threads() == 1


@pytest.mark.parametrize(
    ("one_s", "all_s", "chosen"), [(3.0, 2.0, 2), (3.0, 2.9, 1), (2.0, 3.0, 1)]
)
def test_what_is_faster_is_taken(large, monkeypatch, one_s, all_s, chosen):
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    timed_as(monkeypatch, *[one_s, all_s] * threads.TRIALS)
    assert threads.take_all_cores(large) == chosen == blas_threads()


def test_threads_that_change_a_number_are_not_taken(large, monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    timed_as(monkeypatch, *[3.0, 2.0] * threads.TRIALS)

    class Rounding(Decoder):
        def step(self, ids):
            return super().step(ids) + np.float32(blas_threads())

    monkeypatch.setattr(threads, "Decoder", Rounding)
    assert threads.take_all_cores(large) == 1 == blas_threads()
