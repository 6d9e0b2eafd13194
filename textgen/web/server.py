"""The server as a process: the socket, slow clients, and how it ends.

Uvicorn speaks HTTP. What it doesn't bound is bounded here: the time for the head of a
request to come in, and for a client to take what it is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from textgen.config import ServerConfig
from textgen.errors import OptionError
from textgen.saving.trained_model import TrainedModel
from textgen.system.signals import on_interrupt
from textgen.system.terminal import say
from textgen.web.app import App

HEAD_SECONDS = 10  # in which a request's line and headers must have come
TAKING_SECONDS = 30  # in which a client must take what was sent
GRACE_SECONDS = 30  # for requests under way to end in, once the server is stopped
IDLE_SECONDS = 15  # that a connection stays open without a request
TOLD_SECONDS = 5  # for clients to take that the server stops
MAX_HEAD_BYTES = 16 << 10
MAX_CONNECTIONS = 2048


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 with clients that keep their time."""

    _head_timer: asyncio.TimerHandle | None = None
    _taking_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # all that isn't taken is noticed
        # Asyncio does it only for sockets that were made in another way.
        own = transport.get_extra_info("socket")
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Take what has come; it may be a part of a head only."""
        super().data_received(data)
        self._watch_head()

    def _watch_head(self) -> None:
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        elif not is_answering and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up_head)

    def _give_up_head(self) -> None:
        self._head_timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def pause_writing(self) -> None:
        """Wait for a client that takes nothing for now, but not for long."""
        super().pause_writing()
        if self._taking_timer is None:
            give_up = self.transport.abort
            self._taking_timer = self.loop.call_later(TAKING_SECONDS, give_up)

    def resume_writing(self) -> None:
        """Go on: all was taken."""
        super().resume_writing()
        if self._taking_timer is not None:
            self._taking_timer.cancel()
            self._taking_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a client that has gone."""
        for timer in (self._head_timer, self._taking_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)


class Server(uvicorn.Server):
    """Says where it is once it answers; leaves signals to `serve`."""

    def __init__(self, settings: uvicorn.Config, app: App) -> None:
        super().__init__(settings)
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signals."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        for each in sockets or []:
            say(f"serving at {_address(each)} (Ctrl-C stops it)")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the requests under way end, but not for longer than they have."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(GRACE_SECONDS, self._app.give_up)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()

    def give_up(self) -> None:
        """End all requests under way."""
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._app.give_up)


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; an `OptionError` says why there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        problem = f"can't listen at `host` {host!r}, `port` {port}: {reason}"
        raise OptionError(problem, "give another, or port 0 for any") from None


def make_server(models: Mapping[str, TrainedModel], config: ServerConfig) -> Server:
    """Return the server; its ``run`` answers until ``should_exit`` is set."""
    app = App(models, config)
    settings = uvicorn.Config(
        app,
        loop="asyncio",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS + TOLD_SECONDS,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    return Server(settings, app)


def serve(
    models: Mapping[str, TrainedModel], config: ServerConfig, listening: socket.socket
) -> None:
    """Answer requests until a signal comes, then end what is under way.

    A second signal ends that, too, and raises what stands for it.
    """
    server = make_server(models, config)

    def stop() -> None:
        server.should_exit = True
        say(f"stopping: what is under way has {GRACE_SECONDS} s to end")

    with on_interrupt(server.give_up) as second:
        with on_interrupt(stop):
            server.run(sockets=[listening])
        if second:
            raise second[0]
