"""Ctrl-C, SIGTERM, SIGHUP in a training: the first asks it to stop, a second ends it.

A shell, a batch system or a container sends SIGTERM where a person presses Ctrl-C. When
a terminal goes away, the system and the shell each send SIGHUP, perhaps after SIGTERM:
that never counts as the second. Under ``nohup`` it is ignored, and stays so.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from textgen.system.terminal import HungUp, Terminated

SIGNALS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
HANG_UP = getattr(signal, "SIGHUP", None)  # None on Windows
if HANG_UP is not None:
    SIGNALS[HANG_UP] = HungUp


@contextlib.contextmanager
def on_interrupt(
    request_stop: Callable[[], None],
) -> Iterator[list[type[KeyboardInterrupt]]]:
    """Call ``request_stop`` at the first of `SIGNALS` instead of what is usual.

    The list that is yielded is empty until then, and holds the exception that stands
    for the signal afterwards. A second signal does what is usual: without other
    handlers SIGINT raises `KeyboardInterrupt` and SIGTERM ends the process; SIGHUP is
    ignored. Nothing changes outside the main thread, where Python takes no signal
    handlers, for an ignored SIGHUP, or for a signal whose handler was set by C code,
    since Python couldn't put that back.
    """
    received: list[type[KeyboardInterrupt]] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    usual = {n: handler for n, handler in handlers.items() if handler is not None}
    if HANG_UP is not None and usual.get(HANG_UP) == signal.SIG_IGN:
        del usual[HANG_UP]

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def handle(number: int, frame: object) -> None:
        restore()
        if HANG_UP in usual:
            signal.signal(HANG_UP, signal.SIG_IGN)
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
    """Let SIGTERM and SIGHUP raise what stands for them, as SIGINT does."""

    def raise_now() -> None:
        raise received[0]

    with on_interrupt(raise_now) as received:
        yield


@contextlib.contextmanager
def hang_up_ignored() -> Iterator[None]:
    """Let nothing come of a terminal that goes away, while what it asks for is done."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    usual = signal.getsignal(HANG_UP) if HANG_UP and in_main_thread else None
    if HANG_UP is None or usual is None:
        yield
        return
    signal.signal(HANG_UP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(HANG_UP, usual)
