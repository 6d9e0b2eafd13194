"""The page at `/`: its files, and what it asks the server beside completions.

GET  /static/NAME   its script and style
GET  /v1/page       the models, and what each can be asked for
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from typing import Any, NamedTuple

from textgen.config import CompletionConfig, ServerConfig
from textgen.generation.forms import FORMS
from textgen.saving.trained_model import TrainedModel
from textgen.web.offline import title_of
from textgen.web.poems import why_no_forms

PAGE = "page.html"
FILES = {  # each with the package that has it
    PAGE: ("textgen.web", "static"),
    "page.css": ("textgen.web", "static"),
    "client.js": ("textgen.web", "static"),
    "reading.js": ("textgen.web", "static"),
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
                "title": title_of(model, name),
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
