import os
import signal
import threading

import pytest

from textgen.interrupt import on_interrupt


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


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


def test_other_threads_are_left_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with on_interrupt(lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
