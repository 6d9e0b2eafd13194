"""Requests drawn together: as one batch or, of many, in two halves with a thread each.

Which half works on a request follows from its number alone, so that what is drawn
doesn't depend on how fast the threads are.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from itertools import chain, islice

from textgen.generation.batch_decoder import (
    BatchDecoder,
    Ended,
    PromptReader,
    Request,
)
from textgen.saving.trained_model import TrainedModel

# A large batch is cut into two halves, each with a thread of its own, since NumPy
# releases Python's lock while it computes. There are two on every machine, so that the
# last bits of the logits don't depend on the number of cores. Smaller halves would lose
# more time in waiting for the lock than they gain.
HALVES = 2
LEAST_HALF = 64
STEPS_AT_ONCE = 16  # of a half: one task for its thread
TASKS_AHEAD = 4  # of each half that are queued, so that its thread never has to wait


def threads_for(batch_size: int) -> int:
    """Return how many threads share a batch."""
    return HALVES if batch_size >= HALVES * LEAST_HALF else 1


def drawn_in_batch(
    model: TrainedModel, requests: Iterator[Request], batch_size: int
) -> Iterator[Ended]:
    """Yield the requests in the order in which they end, with the ids drawn.

    So many are worked on together as ``batch_size``. They may be endless, and are taken
    when there is room.
    """
    threads = threads_for(batch_size)
    closed = threading.Event()
    prompts = PromptReader(model, closed)
    steps = [
        _steps(BatchDecoder(model, batch_size // threads, prompts), own, closed)
        for own in _split(requests, threads)
    ]
    if threads == 1:
        yield from chain.from_iterable(steps[0])
        return
    # Imported only now, since one completion alone shouldn't wait for it.
    from concurrent.futures import Future, ThreadPoolExecutor

    # A pool of one thread for each half: a half's tasks must follow one another.
    pools = [ThreadPoolExecutor(1) for _ in steps]

    def submit(half: int) -> tuple[int, Future[list[list[Ended]]]]:
        return half, pools[half].submit(list, islice(steps[half], STEPS_AT_ONCE))

    try:
        tasks = deque(submit(half) for half in [*range(threads)] * TASKS_AHEAD)
        while tasks:
            half, task = tasks.popleft()
            if taken := task.result():
                tasks.append(submit(half))
                yield from chain.from_iterable(taken)
    finally:
        closed.set()
        for pool in pools:
            pool.shutdown(cancel_futures=True)


def _steps(
    decoder: BatchDecoder, requests: Iterator[Request], closed: threading.Event
) -> Iterator[list[Ended]]:
    """Yield what ends at each step, until all requests have ended or ``closed`` is set.

    Without that, Ctrl-C would have to wait until a thread has taken all of its steps.
    """
    while not closed.is_set() and decoder.fill(requests):
        yield decoder.step()


def _split(requests: Iterator[Request], parts: int) -> list[Iterator[Request]]:
    """Split requests by their index modulo ``parts``, for a thread each.

    Which thread works on a request then doesn't depend on how fast the threads are.
    """
    waiting: list[deque[Request]] = [deque() for _ in range(parts)]
    lock = threading.Lock()

    def part(own: deque[Request]) -> Iterator[Request]:
        while True:
            with lock:
                while not own:
                    request = next(requests, None)
                    if request is None:
                        return
                    waiting[request.index % parts].append(request)
            yield own.popleft()

    return [part(own) for own in waiting]
