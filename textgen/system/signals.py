"""Ctrl-C and SIGTERM during a training: the first asks it to stop, the second ends it.

A shell, a batch system or a container sends SIGTERM where a person presses Ctrl-C.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from textgen.system.terminal import Terminated

SIGNALS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


@contextlib.contextmanager
def on_interrupt(
    request_stop: Callable[[], None],
) -> Iterator[list[type[KeyboardInterrupt]]]:
    """Call ``request_stop`` at the first SIGINT or SIGTERM instead of what is usual.

    The list that is yielded is empty until then, and holds the exception that stands
    for the signal afterwards. A second signal does what is usual: without other
    handlers SIGINT raises `KeyboardInterrupt` and SIGTERM ends the process. Nothing
    changes outside the main thread, where Python takes no signal handlers, or for a
    signal whose handler was set by C code, since Python couldn't put that back.
    """
    received: list[type[KeyboardInterrupt]] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    usual = {n: handler for n, handler in handlers.items() if handler is not None}

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def handle(number: int, frame: object) -> None:
        restore()
        received.append(SIGNALS[signal.Signals(number)])
        request_stop()

    for number in usual:
        signal.signal(number, handle)
    try:
        yield received
    finally:
        restore()


@contextlib.contextmanager
def raised_on_interrupt() -> Iterator[None]:
    """Let SIGTERM raise `Terminated`, as SIGINT raises `KeyboardInterrupt`."""

    def raise_now() -> None:
        raise received[0]

    with on_interrupt(raise_now) as received:
        yield
