"""What a request must have before it is answered: the right host, origin and token.

A page from elsewhere, opened in a browser on this machine, could otherwise use the
server: by a request, which then has an ``Origin``; or under a name of its own that it
lets point to this machine (DNS rebinding), which then is the ``Host``.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from textgen.errors import shown
from textgen.web.errors import ApiError, error_response
from textgen.web.metrics import Metrics

OPEN_PATHS = ("/healthz", "/")  # need no token; static files neither
OPEN_FOLDER = "/static/"


class Guard:
    """An ASGI application that lets through only who may, and counts responses."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, names: Iterable[str], token: str | None
    ) -> None:
        """Let hosts of these ``names`` through, besides localhost and addresses."""
        self._app, self._metrics = app, metrics
        self._names = {"localhost", *(name.strip().lower() for name in names)} - {""}
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on to the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.responses.labels(message["status"]).inc()
                message["headers"] = [
                    *message["headers"],
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            self._check(scope["path"], Headers(scope=scope))
        except ApiError as error:
            await error_response(error)(scope, receive, counting)
            return
        await self._app(scope, receive, counting)

    def _check(self, path: str, headers: Headers) -> None:
        """Raise an `ApiError` unless a request may be answered."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise ApiError(
                403,
                f"the host {shown(host)} is not known here; `textgen serve "
                "--allow-host NAME` adds one",
                code="unknown_host",
            )
        origin = headers.get("origin")
        if origin is not None and _host_of(origin) != host.lower():
            problem = f"pages from {shown(origin)} may not use this server"
            raise ApiError(403, problem, code="unknown_origin")
        is_open = path in OPEN_PATHS or path.startswith(OPEN_FOLDER)
        if self._token is not None and not is_open:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            is_right = hmac.compare_digest(given.strip().encode("latin-1"), self._token)
            if scheme.lower() != "bearer" or not is_right:
                raise ApiError(
                    401,
                    "this server needs its token: `Authorization: Bearer TOKEN`",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )

    def _is_ours(self, host: str) -> bool:
        """Tell if a ``Host`` is a known name, or an address, which nobody rebinds."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _host_of(origin: str) -> str | None:
    """Return host and port of an origin, or None where it has none, as ``null``."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
