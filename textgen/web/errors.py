"""Errors of the server, in the form that clients of the completions protocol read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from textgen.errors import shown

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class JSON(Response):
    """A JSON response in ASCII, which has a form for lone surrogates, too."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return as_json(content)


def as_json(content: Any) -> bytes:
    """Return JSON values as text, short and in ASCII."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


class ApiError(HTTPException):
    """A request that can't be answered, and why."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.param, self.code = param, code


def stopping() -> ApiError:
    """Return what a request under way is told once its time is over."""
    return ApiError(503, "the server is stopping", code="stopping")


def error_body(status: int, message: str, param: str | None, code: str | None) -> dict:
    """Return an error as JSON values."""
    usual = "server_error" if status >= 500 else "invalid_request_error"
    kind = TYPES.get(status, usual)
    error = {"message": message, "type": kind, "param": param, "code": code}
    return {"error": error}


def error_response(error: HTTPException) -> JSON:
    """Return the response for an error."""
    param, code = getattr(error, "param", None), getattr(error, "code", None)
    body = error_body(error.status_code, error.detail, param, code)
    return JSON(body, error.status_code, headers=error.headers)


async def on_http_error(request: Request, error: Exception) -> JSON:
    """Answer what Starlette or this package refuses."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404 and not isinstance(error, ApiError):
        error = _unknown_path(request.scope["path"])
    return error_response(error)


def _unknown_path(path: str) -> ApiError:
    """Return the error for another path of OpenAI's, or one that nobody has."""
    return ApiError(
        404,
        f"there is no {shown(path)} here, and no chat: POST a `prompt` to "
        "/v1/completions (in the openai package: client.completions.create); "
        "/v1/models lists the models",
        code="unknown_url",
    )


async def on_defect(request: Request, error: Exception) -> JSON:
    """Answer for a defect of the program, whose traceback goes to standard error."""
    return error_response(ApiError(500, "the server failed; its log says how"))
