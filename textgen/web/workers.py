"""Threads for work of the server that isn't the engine's: poems, and words' prompts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from textgen.web.errors import ApiError

THREADS = 2
MOST_UNDER_WAY = 16  # requests, those that wait for a thread included
RETRY_AFTER_S = 10
T = TypeVar("T")


class Workers:
    """A few threads, so that the event loop never waits. Belongs to that loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "textgen-web")
        self._under_way = 0

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for a request; an `ApiError` says that there is none."""
        if self._under_way >= MOST_UNDER_WAY:
            raise ApiError(
                429,
                f"too much is under way: try again in {RETRY_AFTER_S} s",
                code="queue_full",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            )
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def run(self, work: Callable[[], T]) -> T:
        """Return what ``work`` gives in one of the threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, work)

    def close(self) -> None:
        """Begin nothing any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
