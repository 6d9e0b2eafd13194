import os
import signal
import threading

import pytest

from textgen.system.signals import (
    HANG_UP,
    SIGNALS,
    hang_up_ignored,
    on_interrupt,
    raised_on_interrupt,
)
from textgen.system.terminal import HungUp, Terminated

needs_hang_up = pytest.mark.skipif(HANG_UP is None, reason="POSIX only")


def test_a_handler_set_by_c_code_is_left_alone(monkeypatch):
    python_handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(  # None is how Python shows a handler that isn't its own
        signal, "getsignal", lambda n: None if n == signal.SIGTERM else python_handler
    )
    changed = []
    monkeypatch.setattr(signal, "signal", lambda n, handler: changed.append(n))
    with on_interrupt(lambda: None):
        pass
    others = [number for number in SIGNALS if number != signal.SIGTERM]
    assert changed == others * 2


def test_other_threads_are_left_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with on_interrupt(lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)],
)
def test_the_first_asks_and_is_told_and_the_second_raises(number, expected):
    asked, before = [], signal.getsignal(number)
    with raised_on_interrupt():  # for SIGTERM, which would end the process
        usual = signal.getsignal(number)
        with on_interrupt(lambda: asked.append(1)) as received:
            assert (asked, received) == ([], [])
            assert signal.getsignal(number) is not usual
            os.kill(os.getpid(), number)
            assert (asked, received) == ([1], [expected])
            assert signal.getsignal(number) is usual
            with pytest.raises(expected):
                os.kill(os.getpid(), number)
        with on_interrupt(lambda: asked.append(2)):
            pass
        assert signal.getsignal(number) is not None
    assert signal.getsignal(number) is before
    assert asked == [1]


@needs_hang_up
@pytest.mark.parametrize("first", [HANG_UP, signal.SIGTERM])
def test_a_terminal_that_goes_away_is_never_the_second_signal(first):
    """The system and the shell both say it, and some say SIGTERM before."""
    asked = []
    with raised_on_interrupt(), on_interrupt(lambda: asked.append(1)) as received:
        for number in (first, HANG_UP, HANG_UP):
            os.kill(os.getpid(), number)
        assert (asked, received) == ([1], [SIGNALS[first]])
    assert signal.getsignal(HANG_UP) == signal.SIG_DFL
    with raised_on_interrupt():
        with pytest.raises(HungUp):
            os.kill(os.getpid(), HANG_UP)
        os.kill(os.getpid(), HANG_UP)  # would end the process
    assert signal.getsignal(HANG_UP) == signal.SIG_DFL


@needs_hang_up
def test_under_nohup_a_terminal_that_goes_away_is_ignored():
    signal.signal(HANG_UP, signal.SIG_IGN)
    try:
        with raised_on_interrupt(), on_interrupt(pytest.fail) as received:
            os.kill(os.getpid(), HANG_UP)
            with hang_up_ignored():
                os.kill(os.getpid(), HANG_UP)
            os.kill(os.getpid(), HANG_UP)
            assert received == []
        assert signal.getsignal(HANG_UP) == signal.SIG_IGN
    finally:
        signal.signal(HANG_UP, signal.SIG_DFL)


@needs_hang_up
def test_a_save_is_not_given_up_for_a_terminal_that_goes_away():
    with raised_on_interrupt():
        with hang_up_ignored():
            os.kill(os.getpid(), HANG_UP)
        with pytest.raises(HungUp):
            os.kill(os.getpid(), HANG_UP)
    with on_interrupt(lambda: None):
        thread = threading.Thread(target=hang_up_ignored().__enter__)
        thread.start()
        thread.join()
        assert callable(signal.getsignal(HANG_UP))
