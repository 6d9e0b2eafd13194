"""The server as an ASGI application.

POST /v1/completions    complete prompts; see `textgen.web.protocol`
GET  /v1/models         the models there are; /v1/models/NAME for one
POST /v1/forms          a poem of a form; see `textgen.web.poems`
GET  /                  the page; see `textgen.web.page` for it and what it asks
GET  /healthz           whether it is alive
GET  /metrics           counters, as Prometheus reads them
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, Protocol, TypeVar

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from textgen.config import ServerConfig
from textgen.generation.healing import Openings
from textgen.generation.streaming import openings_of
from textgen.saving.trained_model import TrainedModel
from textgen.web.bodies import CLIENT_GONE, Bodies
from textgen.web.completions import Completions, Service
from textgen.web.errors import (
    JSON,
    ApiError,
    as_json,
    error_body,
    on_defect,
    on_http_error,
    stopping,
)
from textgen.web.guard import Guard
from textgen.web.metrics import Metrics
from textgen.web.page import FILES, HEADERS, PAGE, page_facts, static_file
from textgen.web.poems import Poem, read_poem_request
from textgen.web.protocol import Wanted, find_model, read_request
from textgen.web.workers import Workers

T = TypeVar("T")


class App:
    """The application; its lifespan starts and ends the engine."""

    _service: Service
    _workers: Workers

    def __init__(
        self, models: Mapping[str, TrainedModel], config: ServerConfig
    ) -> None:
        """Answer by these models."""
        self._models, self._config, self._metrics = models, config, Metrics()
        self._poems = set[Poem]()  # under way
        self._bodies = Bodies()
        routes = [
            Route("/v1/completions", self._complete, methods=["POST"]),
            Route("/v1/models", self._list_models),
            Route("/v1/models/{name:path}", self._show_model),
            Route("/v1/forms", self._write_poem, methods=["POST"]),
            Route("/v1/page", self._tell_page),
            Route("/", self._show_page),
            Route("/static/{name}", self._show_file),
            Route("/healthz", self._tell_health),
            Route("/metrics", self._tell_metrics),
        ]
        handlers: Any = {HTTPException: on_http_error, Exception: on_defect}
        app = Starlette(
            routes=routes, exception_handlers=handlers, lifespan=self._lifespan
        )
        names = [config.host, *(config.allow_host or "").split(",")]
        self._guarded = Guard(app, self._metrics, names, config.token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or begin and end the lifespan."""
        with contextlib.suppress(asyncio.CancelledError):  # only as the server ends
            await self._guarded(scope, receive, send)

    def give_up(self) -> None:
        """End all requests under way: they are told that the server stops."""
        self._bodies.give_up()
        self._service.give_up()
        for poem in self._poems:
            poem.give_up(stopping())

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._service = Service(self._models, self._metrics)
        self._workers = Workers()
        try:
            yield
        finally:
            self._workers.close()
            await self._service.close()

    async def _complete(self, request: Request) -> Response:
        config = self._config
        body = await self._bodies.read(request)
        wanted = read_request(body, self._models, config)
        openings = await self._read_prompts(wanted)
        completions = Completions(self._service, wanted, openings)
        if wanted.stream:
            return _EventStream(completions, config.request_seconds)
        try:
            whole = await _unless_gone(
                completions.whole(), request.receive, config.request_seconds
            )
        except ClientDisconnect:
            return Response(status_code=CLIENT_GONE)
        finally:
            completions.cancel()
        return JSON(whole)

    async def _read_prompts(self, wanted: Wanted) -> list[Openings]:
        """Return how the completions of each prompt may begin."""
        model = self._models[wanted.model]
        texts = [prompt.fitted.text for prompt in wanted.prompts]
        label = wanted.config.label
        read = functools.partial(openings_of, model, strict=True, label=label)
        if model.vocabulary.level == "character":  # whose network reads nothing yet
            return [read(text) for text in texts]
        with self._workers.place():
            return [
                await self._workers.run(functools.partial(read, text)) for text in texts
            ]

    async def _write_poem(self, request: Request) -> Response:
        config = self._config
        body = await self._bodies.read(request)
        wanted = read_poem_request(body, self._models, config.max_prompt)
        poem = Poem(self._workers, self._models[wanted.model], wanted, self._poems)
        with contextlib.ExitStack() as leaving:
            leaving.callback(poem.cancel)
            await poem.begin()
            if wanted.stream:
                leaving.pop_all()  # the stream cancels it at its end
                return _EventStream(poem, config.request_seconds)
            whole = _unless_gone(poem.whole(), request.receive, config.request_seconds)
            try:
                return JSON(await whole)
            except ClientDisconnect:
                return Response(status_code=CLIENT_GONE)

    async def _tell_page(self, request: Request) -> Response:
        return JSON(page_facts(self._models, self._config))

    async def _show_page(self, request: Request) -> Response:
        return _file(PAGE)

    async def _show_file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FILES or name == PAGE:
            raise HTTPException(404)
        return _file(name)

    async def _list_models(self, request: Request) -> Response:
        data = [_model_card(name, model) for name, model in self._models.items()]
        return JSON({"object": "list", "data": data})

    async def _show_model(self, request: Request) -> Response:
        name = find_model(request.path_params["name"], self._models)
        return JSON(_model_card(name, self._models[name]))

    async def _tell_health(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _tell_metrics(self, request: Request) -> Response:
        return Response(
            self._service.metrics_text(), media_type=CONTENT_TYPE_PLAIN_0_0_4
        )


def _file(name: str) -> Response:
    content, media_type = static_file(name)
    return Response(content, media_type=media_type, headers=HEADERS)


def _model_card(name: str, model: TrainedModel) -> dict[str, Any]:
    """Return what the protocol tells of a model, and what is worth knowing of ours."""
    corpus = model.metadata.get("corpus", {})
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "textgen",
        "kind": model.kind,
        "corpus": corpus.get("name"),
        "level": model.vocabulary.level,
        "symbols": "".join(
            x for x in model.vocabulary.alphabet.symbols if x in model.vocabulary
        ),
        "labels": model.vocabulary.labels,
        "held_out_nats_per_char": model.record.get("held_out_nats_per_char"),
    }


class _UnderWay(Protocol):
    """What makes an answer piece by piece."""

    def events(self) -> AsyncIterator[dict[str, Any]]: ...

    def cancel(self) -> None: ...


class _EventStream(Response):
    """An answer as server-sent events, which end with ``[DONE]``."""

    media_type = "text/event-stream"

    def __init__(self, answer: _UnderWay, seconds: float) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._answer, self._seconds = answer, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await _unless_gone(self._send_all(send), receive, self._seconds)
        except ClientDisconnect:
            pass
        except ApiError as error:  # the response has begun: an event tells it
            param, code = error.param, error.code
            body = error_body(error.status_code, error.detail, param, code)
            await self._send(send, as_json(body), more=False)
        finally:
            self._answer.cancel()

    async def _send_all(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200}
        await send({**start, "headers": self.raw_headers})
        async for event in self._answer.events():
            await self._send(send, as_json(event))
        await self._send(send, b"[DONE]", more=False)

    async def _send(self, send: Send, data: bytes, more: bool = True) -> None:
        body = b"data: %b\n\n" % data
        await send({"type": "http.response.body", "body": body, "more_body": more})


async def _unless_gone(work: Awaitable[T], receive: Receive, seconds: float) -> T:
    """Return what ``work`` gives; give it up if the client goes, or the time is over.

    Raises:
        ClientDisconnect: if the client has gone.
        ApiError: if it takes too long.
    """
    doing = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait(
            (doing, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if doing.done():
            return doing.result()
        if gone.done():
            raise ClientDisconnect
        raise ApiError(
            504,
            f"it took more than {seconds:g} s: ask for less, or raise the server's "
            "`--request-seconds`",
            code="timeout",
            headers={"X-Should-Retry": "false"},
        )
    finally:
        doing.cancel()
        gone.cancel()
        await asyncio.gather(doing, gone, return_exceptions=True)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
