"""Work side by side in threads."""

import itertools
import subprocess
import sys
import threading
import time

import pytest

from textgen.generation import lanes
from textgen.generation.lanes import MOST_WAITING, deal, merge


@pytest.fixture(autouse=True)
def _time_for_a_busy_machine(monkeypatch):
    """However long they take, threads are waited for, and so can be counted."""
    monkeypatch.setattr(lanes, "CLOSING_S", 60)


def lists(items):
    return ([item] for item in items)


def test_items_are_dealt_in_turn_whichever_hand_asks_first():
    first, second, third = deal(range(8), 3)
    assert list(third) == [2, 5]
    assert list(first) == [0, 3, 6]
    assert list(second) == [1, 4, 7]


def test_no_more_is_taken_than_the_hand_that_asks_needs():
    source = iter(range(100))
    first, second = deal(source, 2)
    assert (next(first), next(second), next(second)) == (0, 1, 3)
    assert next(source) == 4


def test_hands_may_be_emptied_from_several_threads():
    def slow():
        for number in range(60):
            time.sleep(1e-3)
            yield number

    hands = deal(slow(), 3)
    received = [[], [], []]
    threads = [
        threading.Thread(target=into.extend, args=(hand,))
        for into, hand in zip(received, hands, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert received == [list(range(n, 60, 3)) for n in range(3)]


def test_merged_is_everything_and_each_in_its_order():
    merged = list(merge([lists(range(0, 5000, 2)), lists(range(1, 5000, 2))]))
    assert sorted(merged) == list(range(5000))
    assert [n for n in merged if n % 2] == list(range(1, 5000, 2))


def test_empty_lists_take_no_room_among_those_that_wait():
    far = threading.Event()

    def mostly_empty():
        for _ in range(2 * MOST_WAITING):
            yield []
        far.set()
        yield [1]

    merged = merge([mostly_empty(), iter([[2]])])
    first = next(merged)
    assert far.wait(timeout=10)
    assert {first, *merged} == {1, 2}


def test_works_run_at_the_same_time():
    """Each waits for the other: one after the other they would wait forever."""
    meeting = threading.Barrier(2, timeout=10)

    def work(name):
        meeting.wait()
        yield [name]
        meeting.wait()

    assert sorted(merge([work("a"), work("b")])) == ["a", "b"]


def test_a_single_work_needs_no_thread():
    def work():
        yield []
        yield [threading.current_thread()]

    assert list(merge([work()])) == [threading.current_thread()]
    assert list(merge([])) == []


def test_a_failure_is_raised_and_ends_the_others():
    before = threading.active_count()

    def failing():
        yield [1]
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        list(merge([failing(), lists(itertools.count())]))
    assert threading.active_count() == before


@pytest.mark.parametrize("waiting_s", [0, 0.3])  # 0.3: both wait for room by then
def test_closed_early_it_leaves_no_thread_and_takes_no_time(waiting_s):
    before = threading.active_count()
    merged = merge([iter(lambda: [1] * 128, None), iter(lambda: [2] * 128, None)])
    next(merged)
    time.sleep(waiting_s)
    began = time.monotonic()
    merged.close()
    assert time.monotonic() - began < 30  # a thread that stays is waited for longer
    assert threading.active_count() == before


def test_threads_that_can_not_be_started_leave_none(monkeypatch):
    before, start = threading.active_count(), threading.Thread.start

    def only_the_first(thread):
        if threading.active_count() > before:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", only_the_first)
    with pytest.raises(RuntimeError, match="can't start"):
        list(merge([lists(itertools.count()), lists(itertools.count())]))
    assert threading.active_count() == before


LEFT_OPEN = """
import itertools, sys
from textgen.generation.lanes import merge
merged = merge([([n] for n in itertools.count()) for _ in range(2)])
for number in merged:
    raise ZeroDivisionError
"""


def test_a_program_that_fails_meanwhile_ends():
    """The traceback keeps the iterator alive, and it the threads."""
    ended = subprocess.run(
        [sys.executable, "-c", LEFT_OPEN], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert ended.stderr.endswith("ZeroDivisionError\n")


def test_work_does_not_run_far_ahead_of_what_is_taken():
    done = []

    def work():
        for number in itertools.count():
            done.append(number)
            yield [number]

    merged = merge([work(), work()])
    next(merged)
    deadline = time.monotonic() + 10
    while len(done) < MOST_WAITING and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    merged.close()
    assert MOST_WAITING <= len(done) <= MOST_WAITING + 4
