"""Iterators of work side by side, each in a thread of its own.

NumPy lets go of Python's lock while it multiplies, so that two halves of a batch take
little more time than one, where there is a second core.

    >>> hands = deal("abcd", 2)
    >>> sorted(merge([([letter] for letter in hand) for hand in hands]))
    ['a', 'b', 'c', 'd']
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

# Lists that may wait to be taken; then the work waits.
MOST_WAITING = 64
LOOK_AGAIN_S = 0.1
CLOSING_S = 1.0


def deal(items: Iterable[T], hands: int) -> list[Iterator[T]]:
    """Deal items to so many iterators in turn: which gets what doesn't depend on time.

    An item is taken when it is asked for, or one after it is. The iterators may be
    used from different threads.
    """
    held: list[deque[T]] = [deque() for _ in range(hands)]
    dealt, lock = zip(itertools.cycle(held), items, strict=False), threading.Lock()

    def hand(own: deque[T]) -> Iterator[T]:
        while True:
            with lock:
                while not own:
                    pair = next(dealt, None)
                    if pair is None:
                        return
                    whose, item = pair
                    whose.append(item)
            yield own.popleft()

    return [hand(own) for own in held]


def merge(works: Sequence[Iterator[Sequence[T]]]) -> Iterator[T]:
    """Yield what is in the lists that several iterators give, in the order it comes.

    Each iterator runs in a thread of its own and ahead of what is taken, by
    `MOST_WAITING` lists at most. Closed early, this ends them after the list that they
    are at; an empty list is a chance to be ended. The threads keep no process alive.

    Args:
        works: a single one runs in the caller's thread.

    Raises:
        Exception: what one of them raises.
    """
    if len(works) == 1:
        yield from itertools.chain.from_iterable(works[0])
        return
    results: queue.Queue = queue.Queue(MOST_WAITING)
    ended = threading.Event()
    started = []
    try:
        for work in works:
            arguments = work, results, ended
            thread = threading.Thread(target=_run, args=arguments, daemon=True)
            thread.start()
            started.append(thread)
        at_work = len(works)
        while at_work:
            try:  # for so long: on Windows no Ctrl-C ends a wait
                some, failure = results.get(timeout=LOOK_AGAIN_S)
            except queue.Empty:
                continue
            if failure is not None:
                raise failure
            if some is None:
                at_work -= 1
            else:
                yield from some
    finally:
        ended.set()
        for thread in started:
            thread.join(CLOSING_S)


def _run(
    work: Iterator[Sequence], results: queue.Queue, ended: threading.Event
) -> None:
    """Put a work's lists in the queue, and at last None and what it failed with."""

    def put(some: Sequence | None, failure: BaseException | None = None) -> None:
        while not ended.is_set():
            with contextlib.suppress(queue.Full):
                results.put((some, failure), timeout=LOOK_AGAIN_S)
                return

    try:
        for some in work:
            if some:
                put(some)
            if ended.is_set():
                return
    except BaseException as error:
        put(None, error)
    else:
        put(None)
