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

# Results that may wait to be taken; then the work waits.
MOST_WAITING = 1024
LOOK_AGAIN_S = 0.01


def deal(items: Iterable[T], hands: int) -> list[Iterator[T]]:
    """Deal items to so many iterators in turn: which gets what doesn't depend on time.

    An item is taken when it is asked for, or one after it is. The iterators may be
    used from different threads.
    """
    source, lock = iter(items), threading.Lock()
    held: list[deque[T]] = [deque() for _ in range(hands)]
    turns = itertools.cycle(held)

    def hand(own: deque[T]) -> Iterator[T]:
        while True:
            with lock:
                while not own:
                    try:
                        item = next(source)
                    except StopIteration:
                        return
                    next(turns).append(item)
            yield own.popleft()

    return [hand(own) for own in held]


def merge(works: Sequence[Iterator[Sequence[T]]]) -> Iterator[T]:
    """Yield what is in the lists that several iterators give, in the order it comes.

    Each iterator runs in a thread of its own and ahead of what is taken, by
    `MOST_WAITING` results at most. Closed early, this ends them after the list that
    they are at; an empty list is a chance to be ended.

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
    arguments = [(work, results, ended) for work in works]
    threads = [threading.Thread(target=_run, args=each) for each in arguments]
    for thread in threads:
        thread.start()
    try:
        at_work = len(threads)
        while at_work:
            kind, result = results.get()
            if kind == "result":
                yield result
            elif result is None:
                at_work -= 1
            else:
                raise result
    finally:
        ended.set()
        for thread in threads:
            while thread.is_alive():
                with contextlib.suppress(queue.Empty):
                    results.get_nowait()  # one may wait for room
                thread.join(LOOK_AGAIN_S)


def _run(
    work: Iterator[Sequence], results: queue.Queue, ended: threading.Event
) -> None:
    """Put what a work gives in the queue, and at last what it failed with, or None."""
    failure = None
    try:
        for some in work:
            for result in some:
                results.put(("result", result))
            if ended.is_set():
                break
    except BaseException as error:
        failure = error
    results.put(("end", failure))
