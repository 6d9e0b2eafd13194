import os
import signal
import threading

import pytest

from textgen.system.signals import on_interrupt, raised_on_interrupt
from textgen.system.terminal import Terminated


def interrupt(number=signal.SIGINT):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "expected"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)],
)
def test_what_was_received_is_told(number, expected):
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    asked = []
    with on_interrupt(lambda: asked.append(1)) as received:
        assert received == []
        interrupt(number)
        assert asked == [1]
        assert received == [expected]
        for n, handler in before.items():
            assert signal.getsignal(n) is handler, "the second does what is usual"
    assert issubclass(expected, KeyboardInterrupt)


def test_both_may_be_raised():
    for number, expected in ((signal.SIGINT, KeyboardInterrupt), (15, Terminated)):
        with pytest.raises(expected), raised_on_interrupt():
            interrupt(number)


def test_within_what_raises_the_second_is_raised():
    asked = []

    def interrupt_twice():
        with raised_on_interrupt(), on_interrupt(lambda: asked.append(1)):
            interrupt(signal.SIGTERM)
            assert asked == [1]
            interrupt(signal.SIGTERM)

    with pytest.raises(Terminated):
        interrupt_twice()
    assert asked == [1]


def test_first_interrupt_asks_and_second_raises():
    asked = []
    with on_interrupt(lambda: asked.append(1)):
        interrupt()
        assert asked == [1]
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert asked == [1]


def test_handler_is_put_back():
    before = signal.getsignal(signal.SIGINT)
    with on_interrupt(lambda: None):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_set_by_c_code_is_left_alone(monkeypatch):
    python_handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(  # None is how Python shows a handler that isn't its own
        signal, "getsignal", lambda n: None if n == signal.SIGTERM else python_handler
    )
    changed = []
    monkeypatch.setattr(signal, "signal", lambda n, handler: changed.append(n))
    with on_interrupt(lambda: None):
        pass
    assert changed == [signal.SIGINT, signal.SIGINT]


def test_other_threads_are_left_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with on_interrupt(lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
