"""The bodies of requests while they come in: how large, how slow, and until when."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from textgen.web.errors import ApiError, stopping

MAX_BODY_BYTES = 64 << 10
BODY_SECONDS = 10  # in which it must have come
CLIENT_GONE = 499  # nobody reads it; the counters tell it
CLOSE = {"Connection": "close"}  # where the rest of a body isn't read


class Bodies:
    """Reads the bodies of requests. Belongs to an event loop."""

    def __init__(self) -> None:
        """Read none yet."""
        self._waits = set[asyncio.Timeout]()  # of those that are still to come
        self._is_stopping = False

    async def read(self, request: Request) -> bytes:
        """Return a JSON request's body, if it is short enough and comes in time."""
        kind = request.headers.get("content-type", "").partition(";")[0]
        if kind.strip().lower() != "application/json":
            problem = "the `Content-Type` must be application/json"
            raise ApiError(415, problem, headers=CLOSE)
        try:
            async with asyncio.timeout(BODY_SECONDS) as wait:
                self._waits.add(wait)
                try:
                    return await _whole(request)
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            if self._is_stopping:
                raise stopping() from None
            problem = f"the body must come within {BODY_SECONDS} s"
            raise ApiError(408, problem, headers=CLOSE) from None
        except ClientDisconnect:
            raise ApiError(CLIENT_GONE, "the client has gone") from None

    def give_up(self) -> None:
        """Wait for no more of them: their clients are told that the server stops."""
        self._is_stopping = True
        for wait in self._waits:
            wait.reschedule(asyncio.get_running_loop().time())


async def _whole(request: Request) -> bytes:
    too_large = ApiError(
        413, f"the body must have at most {MAX_BODY_BYTES:,} bytes", headers=CLOSE
    )
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise too_large
    return bytes(body)
