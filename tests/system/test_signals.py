import os
import signal
import threading

import pytest

from textgen.system.signals import on_interrupt, raised_on_interrupt
from textgen.system.terminal import Terminated


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
