"""The page at `/`: its files, and what it asks the server beside completions.

GET  /static/NAME     its script and style
GET  /v1/page         the models, and what each can be asked for
GET  /v1/cards/NAME   a model's card and learning curve
POST /v1/novelty      which of some lines stand in a model's own text
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, NamedTuple

from textgen.config import CompletionConfig, ServerConfig
from textgen.errors import OptionError, TextgenError, shown
from textgen.evaluation.card import card
from textgen.evaluation.curve import read_history
from textgen.generation.forms import FORMS
from textgen.generation.novel import known_to
from textgen.saving.summary import inspect_model
from textgen.saving.trained_model import TrainedModel
from textgen.web.errors import ApiError
from textgen.web.poems import why_no_forms
from textgen.web.protocol import check_names, find_model, read_object, refusal

PAGE = "page.html"
FILES = {  # each with the package that has it
    PAGE: ("textgen.web", "static"),
    "page.css": ("textgen.web", "static"),
    "client.js": ("textgen.web", "static"),
    "reading.js": ("textgen.web", "static"),
    "card.js": ("textgen.web", "static"),
    "page.js": ("textgen.web", "static"),
    "colours.css": ("textgen.evaluation", "templates"),
    "characters.js": ("textgen.evaluation", "templates"),
}
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
# Nothing but what this server sends; no script or style within the page's own markup.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
MOST_LINES = 256  # that are looked for at once
MOST_POINTS = 500  # of a curve


class StaticFile(NamedTuple):
    """A file of the page."""

    content: bytes
    media_type: str


@functools.cache
def static_file(name: str) -> StaticFile:
    """Return a file of the page, whose name is one of `FILES`."""
    package, folder = FILES[name]
    content = (resources.files(package) / folder / name).read_bytes()
    return StaticFile(content, TYPES[name.rpartition(".")[2]])


def page_facts(
    models: Mapping[str, TrainedModel], config: ServerConfig
) -> dict[str, Any]:
    """Return what the page has to know before anything is asked for."""
    return {
        "max_prompt": config.max_prompt,
        "max_length": config.max_length,
        "length": min(CompletionConfig.length, config.max_length),
        "temperature": CompletionConfig.temperature,
        "forms": list(FORMS),
        "models": [
            {
                "id": name,
                "level": model.vocabulary.level,
                "lines": model.makes_lines,
                "end": _end_symbol(model),
                "no_forms": why_no_forms(model),
            }
            for name, model in models.items()
        ],
    }


def _end_symbol(model: TrainedModel) -> str | None:
    return None if model.end_id is None else model.vocabulary.symbols[model.end_id]


def card_of(name: str, model: TrainedModel) -> dict[str, Any]:
    """Return a model's card in lines of text, without its place, and its curve."""
    lines: dict[str, list[str]] = {}
    if model.path is not None:
        try:
            lines = card(inspect_model(model.path), width=1)
        except TextgenError:
            raise ApiError(404, "the model's file can't be read any more") from None
        lines["file"] = [f"{model.path.name}{model.remark}", *lines["file"][1:]]
        del lines["curve"]
    points = read_history(model.record)
    step = -(-len(points) // MOST_POINTS) or 1
    return {
        "model": name,
        "card": [[label, each] for label, each in lines.items() if each],
        "curve": points[::-1][::step][::-1],
    }


def read_novelty_request(
    body: bytes, models: Mapping[str, TrainedModel]
) -> tuple[str, list[str]]:
    """Return the model's name and the lines of a request; `ApiError` if it is wrong."""
    given = read_object(body)
    try:
        check_names(given, ("model", "lines"), "novelty")
        name = find_model(given.get("model", next(iter(models))), models)
        if not models[name].makes_lines:
            raise OptionError("`model` must be one of lines, such as names")
        lines = given.get("lines")
        if not isinstance(lines, list) or not all(isinstance(x, str) for x in lines):
            raise OptionError(f"`lines` must be a list of texts, not {shown(lines)}")
        if len(lines) > MOST_LINES:
            raise OptionError(f"`lines` must be {MOST_LINES} at most, not {len(lines)}")
        return name, lines
    except TextgenError as error:
        raise refusal(error, given) from None


class Novelty:
    """Tells which lines stand in the texts of models, each of which is read once."""

    def __init__(self, models: Mapping[str, TrainedModel]) -> None:
        self._models = models
        self._known: dict[str, Callable[[str, str], bool] | str] = {}

    def of(self, name: str, lines: list[str]) -> dict[str, Any]:
        """Return for each line whether it is new, or why that can't be told."""
        if name not in self._known:
            try:
                self._known[name] = known_to(self._models[name])
            except TextgenError as error:
                self._known[name] = str(error)
        known = self._known[name]
        if isinstance(known, str):
            return {"novel": [None] * len(lines), "reason": known}
        return {"novel": [not known("", line) for line in lines], "reason": None}
