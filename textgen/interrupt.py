"""Ctrl-C during a training: the first asks it to stop, the second ends the process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def on_interrupt(request_stop: Callable[[], None]) -> Iterator[None]:
    """Call ``request_stop`` at the first SIGINT instead of raising.

    A second SIGINT raises `KeyboardInterrupt` as usual. Outside the main thread,
    where Python takes no signal handlers, nothing changes.

    Args:
        request_stop: sets whatever the interrupted work looks at between its steps.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, usual)
        request_stop()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
