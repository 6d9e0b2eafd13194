"""Pages of HTML that show a text character by character, each one file.

A page has everything in it: it is opened from the disk, and asks no network for
anything. What comes from a text or a model is data that the page's script makes text
of, so that no markup in it is ever markup of the page; and the page's own policy lets
no other script run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any

import numpy as np

from textgen.evaluation.activations import Activations
from textgen.evaluation.nats import describe
from textgen.evaluation.surprise import Surprise
from textgen.system.terminal import one_line

SHOWN_CHARS = 20_000  # of a text: about a megabyte
UNITS_BYTES = 1 << 21  # of all activations in a page, a byte each
LEAST_SHOWN_CHARS = 1000  # for which units are left out where they are too many
ESCAPED = {ord(x): f"\\u{ord(x):04x}" for x in "<>&\u2028\u2029"}


def surprise_page(found: Surprise, model_name: str, text_name: str, whole: int) -> str:
    """Return a page of what a model expected in a text, or in its beginning.

    The text has ``whole`` characters, of which some may not have been read.
    """
    shown = found.text[:SHOWN_CHARS]
    part = slice(len(shown))
    width = found.likeliest.shape[1]
    data = {
        "text": shown,
        "symbols": found.symbols,
        "nats": _rounded(found.surprisal[part]),
        "entropy": _rounded(found.entropy[part]),
        "width": width,
        "likeliest": found.likeliest[part].ravel().tolist(),
        # In ten-thousandths; a place that wasn't predicted has none.
        "chances": np.rint(np.nan_to_num(found.probabilities[part]) * 1e4)
        .astype(int)
        .ravel()
        .tolist(),
    }
    figures = f"{found.characters:,} characters: {describe(found.nats_per_char)}."
    return _page(
        "Surprise",
        _about(model_name, text_name, len(shown), whole, figures),
        text_name,
        "surprise.js",
        data,
    )


def activations_page(
    found: Activations, model_name: str, text_name: str, whole: int
) -> str:
    """Return a page of a text coloured by units, first those that follow something.

    The text has ``whole`` characters, of which some may not have been read.
    """
    followers = found.followers()
    units = [(layer, unit) for layer, values in enumerate(found.layers)
             for unit in range(values.shape[1])]  # fmt: skip
    figures = (
        f"{len(found.text):,} characters were read. Layers and units count from 0."
    )
    if len(units) > UNITS_BYTES // LEAST_SHOWN_CHARS:
        figures += f" Of {len(units):,} units, those that follow something are here."
        units = sorted({(each.layer, each.unit) for each in followers}) or units[:1]
    most = min(SHOWN_CHARS, UNITS_BYTES // max(1, len(units)))
    shown = found.text[:most]
    values = np.array([found.layers[k][: len(shown), unit] for k, unit in units])
    scales = np.abs(values).max(axis=1, initial=1e-9)
    steps = np.rint(values / scales[:, None] * 127).astype(np.int8)
    row_of = {unit: row for row, unit in enumerate(units)}
    data = {
        "text": shown,
        "units": units,
        "scales": _rounded(scales),
        "values": base64.b64encode(steps.tobytes()).decode(),
        "followers": [
            {
                "feature": each.feature,
                "row": row_of[each.layer, each.unit],
                "found": round(each.found, 3),
                "checked": round(each.checked, 3),
            }
            for each in followers
        ],
    }
    return _page(
        "Activations",
        _about(model_name, text_name, len(shown), whole, figures),
        text_name,
        "activations.js",
        data,
    )


def _about(
    model_name: str, text_name: str, shown: int, whole: int, figures: str
) -> Sequence[str]:
    lines = [f"{model_name} reads {text_name}.", figures]
    if shown < whole:
        lines.append(f"Shown: the first {shown:,} of {whole:,} characters.")
    return lines


def _rounded(figures: np.ndarray) -> list[float | None]:
    """Return figures (N,) as JSON has them, NaN as null."""
    return [None if np.isnan(x) else round(x, 3) for x in figures.tolist()]


def _page(
    title: str, about: Sequence[str], text_name: str, script: str, data: dict[str, Any]
) -> str:
    """Fill in the template; ``data`` are what the script reads."""
    style = read_template("colours.css") + read_template("page.css")
    source = "".join(map(read_template, ("characters.js", "text.js", script)))
    return Template(read_template("page.html")).substitute(
        title=html.escape(title),
        text_name=html.escape(one_line(text_name)),
        about=html.escape(one_line(" ".join(about))),
        style=style,
        style_hash=policy_hash(style),
        script=source,
        script_hash=policy_hash(source),
        data=script_data(data),
    )


def script_data(data: dict[str, Any]) -> str:
    """Return what a page's script reads, as JSON in which nothing can be markup."""
    encoded = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return encoded.translate(ESCAPED)


def read_template(name: str) -> str:
    """Return a file of which pages are made."""
    folder = resources.files("textgen.evaluation") / "templates"
    return (folder / name).read_text(encoding="utf-8")


def policy_hash(source: str) -> str:
    """Return what a page's policy calls the script or style that it lets run."""
    digest = hashlib.sha256(source.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def is_page(beginning: bytes) -> bool:
    """Tell whether a file that begins like this, 1,000 bytes of it, is such a page."""
    return beginning.startswith(read_template("page.html").partition("$")[0].encode())
